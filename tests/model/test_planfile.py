import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.model import planfile
from kqlmi.model.entities import Scope
from kqlmi.model.plan import Plan, make_plan
from kqlmi.model.policy import Policy, Snapshot
from tests.model.test_commands import HOSTILE
from tests.model.test_policy import LOADER, POLICIES

MAYBE = st.none() | POLICIES


def plan_of(before: Policy | None, after: Policy | None, name: str = "Samples") -> Plan:
    scope = Scope.database(name)
    return make_plan(Snapshot({scope: before}), Snapshot({scope: after}), cluster="local")


@given(MAYBE, MAYBE, HOSTILE)
def test_a_saved_plan_reads_back_as_the_same_plan(before: Policy | None, after: Policy | None, name: str) -> None:
    plan = plan_of(before, after, name)
    text = planfile.to_json(plan)
    assert text.isascii()
    assert planfile.from_json(text) == plan
    assert planfile.from_json(text).id == plan.id


SAVED = planfile.to_json(plan_of(None, Policy.empty().grant(LOADER, "All")))


def test_the_documented_properties_are_there() -> None:
    document = json.loads(SAVED)
    assert list(document) == ["kqlmi", "id", "cluster", "summary", "undoes", "names", "unchanged", "steps"]
    assert list(document["steps"][0]) == ["scope", "verb", "command", "before", "after", "changes"]
    assert document["steps"][0]["changes"] == [
        {"kind": "grant", "identity": LOADER, "usage": "All", "effect": "effective"}
    ]


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("", "not a whole saved plan"),
        ("{", "not a whole saved plan"),
        ("[]", "not a whole saved plan"),
        (SAVED[:-20], "not a whole saved plan"),
        (SAVED.replace('"kqlmi": 1', '"kqlmi": 2'), "format 2"),
        (SAVED.replace("alter-merge database", "alter database"), "changed after it was saved"),
        (SAVED.replace('"cluster": "local"', '"cluster": "prod"'), "changed after it was saved"),
    ],
)
def test_a_plan_that_is_not_whole_or_was_changed_is_refused(text: str, culprit: str) -> None:
    with pytest.raises(InputError, match=culprit):
        planfile.from_json(text)


def test_markdown_holds_the_commands_in_fences_that_they_cannot_close() -> None:
    text = planfile.to_markdown(plan_of(None, Policy.empty().grant(LOADER, "All"), "a`b|<c>"))
    assert "### Plan " in text
    assert "1 to grant" in text
    assert "````kql\n.alter-merge database ['a`b|<c>']" in text
    assert "**database a\\`b\\|\\<c\\>**" in text


def test_a_script_holds_the_commands_apart_by_blank_lines() -> None:
    text = planfile.to_kql(plan_of(Policy.empty().grant(LOADER, "All"), None))
    assert text.endswith("\n\n.delete database ['Samples'] policy managed_identity\n")
    assert text.startswith("// Plan ")
