"""Tests of enable: what it gives is followed to the letter, each gate is read again, and then the workflow runs."""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.templates import FORMS
from kqlmi.session import Enablement, Session
from tests.local.flows.conftest import CONTAINER, CONTRIBUTOR, READER, World
from tests.local.flows.supported import RECEIVER, impersonating_table
from tests.local.flows.test_templates import CASES, app_service, run, session, to_the_endpoint, written_for
from tests.printed_lines import run_printed_line

__all__ = ["app_service", "session"]  # fixtures

ARTIFACT = f"{CONTAINER}/a.txt"
ABOUT: dict[str, dict[str, str]] = {
    "external_table.storage": {"uri": f"{CONTAINER}/in"},
    "continuous_export": {"uri": CONTAINER},
    "externaldata": {"uri": f"{CONTAINER}/in/a.csv"},
    "export.to_storage": {"uri": f"{CONTAINER}/out"},
    "ingest.into": {"uri": f"{CONTAINER}/in/a.csv", "table": "R"},
    "ingest.queued_cmd": {"uri": f"{CONTAINER}/in", "table": "R"},
    "ingest.sdk_queued": {"uri": f"{CONTAINER}/in/a.csv", "table": "R"},
    "python.external_artifacts": {"uri": ARTIFACT},
    "dataconnection.eventhub": {},
}
WRITES = {"continuous_export", "export.to_storage"}


def enabled(here: World, session: Session, flow: str, *, probe: bool = False) -> Enablement:
    about = dict(ABOUT[flow])
    if flow.startswith("dataconnection"):
        about["hub"] = here.cluster.hub("namespace", "hub").resource_id
    return session.enable(flow, identity="mine", database="samples", probe=probe, **about)


def followed(here: World, session: Session, found: Enablement) -> None:
    """Apply every plan and run every line."""
    for plan in found.plans:
        session.apply(plan)
    for gate in found.gates:
        for line in gate.fixes:
            run_printed_line(here.cluster, session, line)


def states(found: Enablement, state: str) -> list[str]:
    return [one.kind for one in found.gates if one.state == state]


def unassign(here: World, session: Session, _flow: str) -> None:
    del here
    session.apply(session.unassign("mine"))


def revoke(here: World, _session: Session, _flow: str) -> None:
    here.revoke("cluster")
    here.client.mgmt(".delete database Samples policy managed_identity")


def forbid(here: World, _session: Session, _flow: str) -> None:
    here.client.mgmt(".delete cluster policy callout")


def disable(here: World, _session: Session, _flow: str) -> None:
    here.client.mgmt(".disable plugin python")


def drop_viewer(here: World, _session: Session, _flow: str) -> None:
    here.client.mgmt(f".drop database Samples viewers ('aadapp={here.mine}')")


def take_role(here: World, _session: Session, flow: str) -> None:
    if flow.startswith("dataconnection"):
        here.cluster.unassign_role(here.mine, here.cluster.hub("namespace", "hub").resource_id, RECEIVER)
    else:
        here.cluster.unassign_role(here.mine, CONTAINER, CONTRIBUTOR if flow in WRITES else READER)


CLOSES: dict[str, Callable[[World, Session, str], None]] = {
    "assignment": unassign,
    "grant": revoke,
    "azure role": take_role,
    "callout": forbid,
    "plugin": disable,
    "database role": drop_viewer,
}


@pytest.mark.parametrize("flow", ABOUT)
def test_a_workflow_runs_after_every_line_and_each_closed_gate_is_found(
    here: World, session: Session, request: pytest.FixtureRequest, tmp_path: Path, flow: str
) -> None:
    here.put("a.txt", "from storage\n")
    case = CASES[flow]
    if flow == "continuous_export":
        impersonating_table(here)
    if flow == "ingest.sdk_queued":
        request.getfixturevalue("app_service")
    unassign(here, session, flow)

    found = enabled(here, session, flow)
    closed = {"assignment", "grant", "azure role", "plugin", "database role"} & {one.kind for one in found.gates}
    closed |= {"callout"} if flow.startswith("python") else set()
    assert set(states(found, "not done")) == closed
    assert not states(found, "not checked")
    assert [type(one).__name__ for one in found.plans] == ["AssignmentPlan", "PolicyPlan"]
    assert not found.requests
    followed(here, session, found)
    assert enabled(here, session, flow).is_open
    assert enabled(here, session, flow).plans == ()
    assert "All gates are open." in str(enabled(here, session, flow))

    for kind, close in CLOSES.items():
        if kind in closed:
            close(here, session, flow)
            found = enabled(here, session, flow)
            assert states(found, "not done") == [kind]
            followed(here, session, found)
            assert enabled(here, session, flow).is_open

    template = written_for(here, session, flow)
    where = to_the_endpoint(here, session, template)
    try:
        answer = run(here, where, template, tmp_path)
        assert (case.effect(here) if case.effect else answer) == case.rows
    finally:
        where.close()


def test_a_grant_is_the_narrowest(here: World, session: Session) -> None:
    [plan] = enabled(here, session, "externaldata").plans
    assert [str(one.scope) for one in plan.steps] == ["database Samples"]  # type: ignore[attr-defined]
    [plan] = enabled(here, session, "python.external_artifacts").plans
    assert [str(one.scope) for one in plan.steps] == ["cluster"]  # type: ignore[attr-defined]
    assert {one.usage for one in plan.changes} == {"SandboxArtifacts"}  # type: ignore[attr-defined]


def test_a_callout_that_a_rule_denies_is_not_opened_by_another_rule(here: World, session: Session) -> None:
    rules = [{"CalloutType": "external_data", "CalloutUriRegex": "acct", "CanCall": False}]
    here.client.mgmt(f".alter-merge cluster policy callout '{json.dumps(rules)}'")
    [gate] = [one for one in enabled(here, session, "externaldata").gates if one.kind == "callout"]
    assert (gate.state, gate.fixes) == ("not done", ())
    assert "the rule acct denies it" in gate.sentence


@pytest.mark.parametrize("flow", ["externaldata", "ingest.into", "ingest.queued_cmd", "ingest.sdk_queued"])
def test_a_probe_is_made_only_when_asked_for_and_proves_its_own_usage(here: World, session: Session, flow: str) -> None:
    followed(here, session, enabled(here, session, flow))
    assert not [one for one in enabled(here, session, flow).gates if one.kind == "probe"]
    assert enabled(here, session, flow, probe=True).is_open
    other = "ingest.into" if flow == "externaldata" else "externaldata"
    [probe] = [one for one in enabled(here, session, other, probe=True).gates if one.kind == "probe"]
    assert probe.state == "not done"
    assert "may not be used for" in probe.sentence
    take_role(here, session, flow)
    [probe] = [one for one in enabled(here, session, flow, probe=True).gates if one.kind == "probe"]
    assert probe.state == "not done"
    assert here.rows("R | count") == [[0]]


def test_what_cannot_be_probed_is_refused(here: World, session: Session) -> None:
    with pytest.raises(InputError, match="Continuous export cannot be probed"):
        enabled(here, session, "continuous_export", probe=True)
    with pytest.raises(InputError, match=r"cannot be probed\. Pass --uri"):
        session.enable("externaldata", identity="mine", database="Samples", probe=True)


@pytest.mark.parametrize("flow", FORMS)
def test_without_an_address_nothing_on_the_target_is_called_open(session: Session, flow: str) -> None:
    found = session.enable(flow, identity="mine")
    assert found.is_open is False
    assert "azure role" in states(found, "not checked")
    assert "callout" not in states(found, "done")
    assert {"assignment", "kusto role"} <= set(states(found, "done"))


@pytest.fixture
def analyst(here: World) -> Iterator[Session]:
    with kqlmi.connect(
        here.cluster.url, token=here.cluster.token_for("viewer", database="Samples"), name="here"
    ) as one:
        yield one


def test_a_caller_without_rights_gets_the_request_and_not_the_grant(here: World, analyst: Session) -> None:
    found = analyst.enable("python.external_artifacts", identity=here.mine, database="Samples", uri=ARTIFACT)
    assert found.plans == ()
    assert ".alter-merge cluster policy managed_identity" in found.requests[0]
    reasons = {one.kind: one.sentence.rpartition(": ")[2] for one in found.gates if one.state == "not checked"}
    assert "--resource-id" in reasons["assignment"]
    assert "The caller lacks a Kusto role" in reasons["callout"]
    assert {one.kind: one.state for one in found.gates}["kusto role"] == "done"
    found = analyst.enable("continuous_export", identity=here.mine, database="Samples", uri=CONTAINER)
    [request] = found.requests
    assert "it needs AllDatabasesAdmin" in request
    assert ".alter-merge database ['Samples'] policy managed_identity" in request
    [role] = [one for one in found.gates if one.kind == "kusto role"]
    assert role.state == "not done"
    [line] = role.fixes
    assert line.startswith("%%kqlmi --on=here\n.add database ['Samples'] admins ('aadapp=")
    assert request in str(found)


def test_the_roles_of_the_caller_on_a_table_suffice(here: World, session: Session) -> None:
    with kqlmi.connect(
        here.cluster.url, token=here.cluster.token_for("viewer", database="Samples"), name="here"
    ) as one:
        about = {"identity": here.mine, "database": "Samples", "table": "R"}
        [role] = [gate for gate in one.enable("ingest.into", **about).gates if gate.kind == "kusto role"]  # type: ignore[arg-type]
        [line] = role.fixes
        assert line.partition("\n")[0] == "%%kqlmi --database=Samples --on=here"
        session.run(line.partition("\n")[2])
        [role] = [gate for gate in one.enable("ingest.into", **about).gates if gate.kind == "kusto role"]  # type: ignore[arg-type]
        assert role.state == "done"


@pytest.mark.parametrize("role", local.cluster.ARM_ROLES)
def test_without_the_right_to_assign_the_request_is_given(here: World, session: Session, role: str) -> None:
    unassign(here, session, "")
    cluster = here.cluster
    with kqlmi.connect(
        cluster.url,
        token=cluster.token,
        name="here",
        resource_id=cluster.resource_id,
        arm_options=cluster.arm_options_for(role),
    ) as one:
        found = one.enable("ingest.into", identity=here.mine, database="Samples", uri=CONTAINER)
        gates = {gate.kind: gate for gate in found.gates}
        assert [type(plan).__name__ for plan in found.plans] == ["PolicyPlan"]
        if role == "none":
            assert gates["assignment"].state == gates["azure role"].state == gates["network"].state == "not checked"
            assert "requires the role Reader" in gates["azure role"].sentence
            return
        assert gates["assignment"].state == "not done"
        words = shlex.split(found.requests[0].partition("\n\n")[2])
        sent = json.loads(words[-1])["identity"]
        assert words[:4] == ["az", "rest", "--method", "patch"]
        # What is assigned must stay assigned.
        assert sent["type"] == "SystemAssigned, UserAssigned"
        assert [one.rpartition("/")[2] for one in sent["userAssignedIdentities"]] == ["store", "mine"]


def test_an_unknown_identity_and_option_are_refused(session: Session) -> None:
    with pytest.raises(InputError, match="nobody"):
        session.enable("externaldata", identity="nobody")
    with pytest.raises(InputError, match="externaldata has no option --script here"):
        session.enable("externaldata", identity="mine", script="x")
    with pytest.raises(InputError, match="must not contain a query string or credentials"):
        session.enable("externaldata", identity="mine", uri=f"{CONTAINER}?sig=abc")


HOSTILE = "a'b\"c] | x\\"


def test_hostile_names_change_no_line(tmp_path: Path) -> None:
    with local.start(databases=[HOSTILE], identities=["system", "x\x1b[31m'y"]) as cluster:
        cluster.add_storage(CONTAINER, tmp_path)
        viewer = cluster.token_for("viewer", database=HOSTILE)
        _every_line_is_safe(cluster, viewer)


def _every_line_is_safe(cluster: LocalCluster, viewer: str) -> None:
    mine = cluster.identities[1].object_id
    with kqlmi.connect(
        cluster.url,
        token=cluster.token,
        name="here",
        resource_id=cluster.resource_id,
        arm_options=cluster.arm_options,
    ) as one:
        found = one.enable("continuous_export", identity=mine, database=HOSTILE, uri=CONTAINER)
        assert "\x1b" not in str(found)
        [plan] = found.plans
        one.apply(plan)
        for line in (line for gate in found.gates for line in gate.fixes):
            run_printed_line(cluster, one, line)
        assert one.enable("continuous_export", identity=mine, database=HOSTILE, uri=CONTAINER).is_open
    with kqlmi.connect(cluster.url, token=viewer, name="here") as one:
        found = one.enable("ingest.into", identity=mine, database=HOSTILE, table=HOSTILE)
        assert found.requests
        assert "\x1b" not in str(found)
