"""Tests that a saved plan uses the cluster's current names and grants, not those in the file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import ApplyError, InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope
from kqlmi.model.plan import planfile
from kqlmi.model.plan.plan import plan_id
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Policy
from kqlmi.session import Session

LOADER, EXPORTER, STRANGER = (f"{place}1111111-2222-3333-4444-555555555555" for place in "123")
SAMPLES = Scope.database("Samples")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    identities = [kqlmi.local.Identity("loader", LOADER), kqlmi.local.Identity("exporter", EXPORTER)]
    with kqlmi.local.start(databases=["Samples", "Sales"], identities=identities) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token, history=False, name="here") as opened:
        opened.run(".delete database Samples policy managed_identity")
        opened.apply(opened.grant(LOADER, "ExternalTable", databases=["Samples"]))
        opened.apply(opened.grant(EXPORTER, "All", cluster=True))
        yield opened


def saved(plan: PolicyPlan, **values: object) -> str:
    """Save a plan with some values replaced, and with the matching ID."""
    document = json.loads(planfile.to_json(plan)) | values
    content = {name: document[name] for name in plan.content}
    return json.dumps(document | {"id": plan_id(jsontext.dump(content))})


def test_the_names_of_a_saved_plan_are_those_of_the_cluster(session: Session) -> None:
    plan = session.grant(LOADER, "SqlRequest", databases=["Samples"])
    assert session.saved_plan(saved(plan, names={})).names == {LOADER: "loader"}
    assert session.saved_plan(saved(plan)).names == {LOADER: "loader"}


def test_a_name_that_cannot_be_verified_is_omitted(session: Session) -> None:
    plan = session.plan({SAMPLES: Policy.empty().grant(LOADER, "ExternalTable").grant(STRANGER, "All")})
    assert session.saved_plan(saved(plan, names={STRANGER: "auditor"})).names == {}


@pytest.mark.parametrize(
    ("names", "culprit"),
    [({LOADER: "auditor"}, "its name is 'loader'"), ({STRANGER: "exporter"}, f"is the name of {EXPORTER}")],
)
def test_a_name_that_the_cluster_contradicts_is_refused(session: Session, names: dict[str, str], culprit: str) -> None:
    wanted = Policy.empty().grant(LOADER, "ExternalTable", "SqlRequest").grant(STRANGER, "All")
    text = saved(session.plan({SAMPLES: wanted}), names=names)
    with pytest.raises(InputError, match=culprit):
        session.saved_plan(text)


def test_a_change_is_called_redundant_only_if_the_cluster_still_covers_it(session: Session) -> None:
    both = [Scope.cluster(), SAMPLES]
    current = session.read(both).snapshot
    wanted = current.with_policy(SAMPLES, Policy.empty().grant(LOADER, "ExternalTable").grant(EXPORTER, "AzureAI"))
    text = planfile.to_json(session.plan(wanted.policies))
    assert session.saved_plan(text).changes[0].effect == "redundant"
    session.apply(session.revoke(EXPORTER, "All", cluster=True))
    with pytest.raises(InputError, match=f"no longer grants All to {EXPORTER}"):
        session.saved_plan(text)


def test_a_plan_for_another_cluster_is_refused(session: Session) -> None:
    text = saved(session.grant(LOADER, "SqlRequest", databases=["Samples"]), cluster="elsewhere")
    with pytest.raises(InputError, match="made for elsewhere"):
        session.saved_plan(text)


def noted(value: str) -> str:
    return (
        ".alter database Samples policy managed_identity"
        f' ```[{{"ObjectId":"{LOADER}","AllowedUsages":"ExternalTable","Note":{json.dumps(value)}}}]```'
    )


@pytest.mark.parametrize("usage", ["SqlRequest", ""])
def test_a_plan_is_refused_if_a_property_was_written_since(session: Session, usage: str) -> None:
    session.run(noted("old"))
    grant, revoke = session.grant(LOADER, "SqlRequest", databases=["Samples"]), session.plan({SAMPLES: Policy.empty()})
    session.run(noted("new"))
    with pytest.raises(ApplyError, match=rf"\+ {LOADER} property Note, - {LOADER} property Note") as caught:
        session.apply(grant if usage else revoke)
    assert caught.value.outcome == "not applied"
    assert '"new"' in str(session.policy(SAMPLES))


def test_a_property_that_a_wanted_policy_does_not_name_is_kept_and_shown(session: Session) -> None:
    session.run(noted("keep"))
    assert session.plan({SAMPLES: Policy.empty().grant(LOADER, "ExternalTable")}).steps == ()
    session.apply(session.grant(LOADER, "SqlRequest", databases=["Samples"]))
    plan = session.plan({SAMPLES: Policy.empty().grant(LOADER, "SqlRequest")})
    assert '"Note": "keep"' in str(plan)
    session.apply(plan)
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert policy.properties == {(LOADER, "Note", '"keep"')}
    assert policy.grants == {(LOADER, "SqlRequest")}


def test_a_removed_or_changed_property_is_shown_and_counts_as_a_revoke(session: Session) -> None:
    session.run(noted("old"))
    removed = session.plan({SAMPLES: Policy.empty()})
    assert f'- loader ({LOADER}) property Note: "old"' in str(removed)
    changed = session.plan({SAMPLES: Policy.parse(noted("new").split("```")[1])})
    assert f'+ loader ({LOADER}) property Note: "new"' in str(changed)
    assert [step.verb for step in changed.steps] == ["alter"]
    assert changed.revokes
    assert changed.changes == ()
    session.apply(changed)
    assert "new" in str(session.policy(SAMPLES))


def test_a_saved_plan_undoes_only_the_entry_that_it_is_the_inverse_of(
    cluster: LocalCluster, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del session
    monkeypatch.setenv("KQLMI_STATE", str(tmp_path))
    with kqlmi.connect(cluster.url, token=cluster.token, name="here") as recorded:
        first, second = (
            recorded.apply(recorded.grant(LOADER, usage, databases=["Samples"])).entry
            for usage in ("AzureAI", "SqlRequest")
        )
        plan = recorded.undo_plan(second)
        assert recorded.saved_plan(saved(plan)).undoes == second
        for other in (first, "20200101", ""):
            assert recorded.saved_plan(saved(plan, undoes=other)).undoes == ""
