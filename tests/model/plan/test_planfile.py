import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope
from kqlmi.model.plan import planfile
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.impact import Impact
from kqlmi.model.plan.plan import plan_id
from kqlmi.model.plan.planfile import Live
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Policy, Snapshot
from tests.model.policy.test_commands import HOSTILE
from tests.model.policy.test_policy import EXPORTER, LOADER, POLICIES

MAYBE = st.none() | POLICIES


def plan_of(before: Policy | None, after: Policy | None, name: str = "Samples") -> PolicyPlan:
    scope = Scope.database(name)
    return make_plan(Snapshot({scope: before}), Snapshot({scope: after}), cluster="local")


@given(MAYBE, MAYBE, HOSTILE)
def test_a_saved_plan_reads_back_as_the_same_plan(before: Policy | None, after: Policy | None, name: str) -> None:
    plan = plan_of(before, after, name)
    text = planfile.to_json(plan)
    assert text.isascii()
    assert planfile.from_json(text) == plan
    assert planfile.from_json(text).id == plan.id


SCOPES = st.sampled_from([Scope.cluster(), *map(Scope.database, ("A", "B", "C"))])


@given(st.dictionaries(SCOPES, st.tuples(MAYBE, MAYBE), min_size=2), st.booleans())
def test_a_saved_plan_over_several_scopes_is_rebuilt_as_the_same_plan(
    policies: dict[Scope, tuple[Policy | None, Policy | None]], exactly: bool  # noqa: FBT001
) -> None:  # fmt: skip
    current = Snapshot({scope: before for scope, (before, _) in policies.items()})
    desired = Snapshot({scope: after for scope, (_, after) in policies.items()})
    plan = make_plan(current, desired, cluster="local", exactly=exactly, undoes="20260101")
    assert planfile.from_json(planfile.to_json(plan)) == plan


SAVED = planfile.to_json(plan_of(None, Policy.empty().grant(LOADER, "All")))


def test_the_documented_properties_are_there() -> None:
    document = json.loads(SAVED)
    content = ["cluster", "unchanged", "covering", "steps"]
    assert list(document) == ["kqlmi", "id", "summary", "undoes", "names", "live", *content]
    assert list(document["steps"][0]) == ["scope", "verb", "command", "before", "after", "changes"]
    assert document["steps"][0]["changes"] == [
        {"kind": "grant", "identity": LOADER, "usage": "All", "effect": "effective"}
    ]
    assert len(document["id"]) == 64


def test_live_information_is_in_every_form_and_not_in_the_id() -> None:
    plan = plan_of(Policy.empty().grant(LOADER, "All"), None)
    live = Live(("Beware.",), Impact(unknown=("why",)))
    for name, form in planfile.FORMATS.items():
        assert "Beware" in form(plan, live), name
        assert "Cannot be determined: why" in form(plan, live), name
    assert planfile.from_json(planfile.to_json(plan, live)).id == plan.id
    assert "No use was found that would stop" in planfile.to_markdown(plan, Live((), Impact()))


# The cluster makes the database's grants redundant; each step contains a grant and a revoke.
REVIEWED = make_plan(
    Snapshot({Scope.cluster(): Policy.empty().grant(LOADER, "All"), **dict.fromkeys(map(Scope.database, "AB"))}),
    Snapshot(
        {
            Scope.cluster(): Policy.empty().grant(LOADER, "All"),
            **dict.fromkeys(map(Scope.database, "AB"), Policy.empty().grant(LOADER, "AzureAI").grant(EXPORTER, "All")),
        }
    ),
    cluster="local",
)
HIDDEN = {"kind": "revoke", "identity": EXPORTER, "usage": "SqlRequest", "effect": "effective"}
OTHERS = [{"ObjectId": EXPORTER, "AllowedUsages": "SqlRequest"}]
Change = Callable[[dict[str, Any]], object]


def step(at: int, **values: Any) -> Change:
    return lambda document: document["steps"][at].update(values)


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (step(0, before=OTHERS), "command of the database A"),
        (step(0, before=[*OTHERS, {"ObjectId": LOADER, "AllowedUsages": "AzureAI"}]), "command of the database A"),
        (step(0, after=[{"ObjectId": EXPORTER, "AllowedUsages": "All"}]), "command of the database A"),
        (step(1, command=".delete database B policy managed_identity"), "command of the database B"),
        (step(1, command=".drop database B"), "command of the database B"),
        (step(1, scope="C"), "command of the database C"),
        (step(1, scope=None), "changes of the database A"),
        (step(1, verb="alter"), "scope of the database B"),
        (step(1, changes=[]), "changes of the database B"),
        (lambda document: document["steps"][0]["changes"].append(HIDDEN), "changes of the database A"),
        (lambda document: document["steps"][0]["changes"][0].update(effect="effective"), "changes of the database A"),
        (lambda document: document["steps"][0]["changes"][1].update(effect="redundant"), "changes of the database A"),
        (lambda document: document["steps"][0].update(note="trust me"), "note of the database A"),
        (lambda document: document["steps"].pop(), "unchanged|summary"),
        (lambda document: document["steps"].reverse(), None),
        (lambda document: document["steps"].append(document["steps"][0]), "steps"),
        (lambda document: document.update(summary="0 to grant, 0 to revoke"), "summary"),
        (lambda document: document.update(unchanged=7), "unchanged"),
        (lambda document: document.update(covering=[[LOADER, "All"], [EXPORTER, "All"]]), "changes of the database A"),
        (lambda document: document.update(covering=[[LOADER, "All"], [LOADER, "SqlRequest"]]), "covering"),
        (lambda document: document.update(more=1), "more"),
        (lambda document: document.update(id=document["id"][:12]), "id"),
    ],
)
def test_a_manipulated_plan_is_refused_even_with_a_matching_id(change: Change, culprit: str | None) -> None:
    document = json.loads(planfile.to_json(REVIEWED))
    assert planfile.from_json(json.dumps(document)) == REVIEWED
    change(document)
    if len(document["id"]) == 64:
        # Anyone who changes a plan can recompute its ID.
        content = {name: document[name] for name in ("cluster", "unchanged", "covering", "steps")}
        document["id"] = plan_id(jsontext.dump(content))
    if culprit is None:
        assert planfile.from_json(json.dumps(document)).changes != REVIEWED.changes
        return
    with pytest.raises(InputError, match=rf"changed after it was saved: ({culprit}) does not match"):
        planfile.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("", "not a complete saved plan"),
        ("{", "not a complete saved plan"),
        ("[]", "not a complete saved plan"),
        (SAVED[:-20], "not a complete saved plan"),
        (SAVED.replace('"kqlmi": 1', '"kqlmi": 2'), "format 2"),
        (SAVED.replace("alter-merge database", "alter database"), "changed after it was saved"),
        (SAVED.replace('"cluster": "local"', '"cluster": "prod"'), "changed after it was saved"),
    ],
)
def test_an_incomplete_or_changed_plan_is_refused(text: str, culprit: str) -> None:
    with pytest.raises(InputError, match=culprit):
        planfile.from_json(text)


def test_markdown_contains_the_commands_in_fences_that_they_cannot_close() -> None:
    text = planfile.to_markdown(plan_of(None, Policy.empty().grant(LOADER, "All"), "a`b|<c>"))
    assert "### Plan " in text
    assert "1 to grant" in text
    assert "````kql\n.alter-merge database ['a`b|<c>']" in text
    assert "**database a\\`b\\|\\<c\\>**" in text


def test_a_script_separates_the_commands_by_blank_lines() -> None:
    text = planfile.to_kql(plan_of(Policy.empty().grant(LOADER, "All"), None))
    assert text.endswith("\n\n.delete database ['Samples'] policy managed_identity\n")
    assert text.startswith("// Plan ")
