"""Tests of a system identity that was turned off and on again: its old entry is an orphan, distinct from the new identity."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import kqlmi
from kqlmi.apply import apply_plan
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ApplyError, ConnectionFailedError
from kqlmi.history import StepRecord
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.plan import edits
from kqlmi.notebook.panel.panel import Panel
from kqlmi.session import Session
from tests.notebook.conftest import Notebook, notebook

__all__ = ["notebook"]

SAMPLES = Scope.database("Samples")
READ = "externaldata (x: string) [h'https://a.blob.core.windows.net/c/x.csv;managed_identity=system']"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples", "Other"], identities=["system", "loader"]) as started:
        with kqlmi.connect(started.url, token=started.token, history=False) as admin:
            admin.apply(admin.grant("system", "ExternalDataRequest", databases=["Samples"]))
        again = kqlmi.local.Identity(started.name, is_system=True)
        started._state.change(lambda world: replace(world, identities=(again, *started.identities[1:])))
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(
        cluster.url, token=cluster.token, name="here", resource_id=cluster.resource_id, arm_options=cluster.arm_options
    ) as opened:
        yield opened


def before(cluster: LocalCluster) -> str:
    """Return the object ID of the former system identity."""
    policy = cluster._state.database("Samples").policy
    return next(entry.identity.object_id for entry in policy or () if entry.identity.object_id != now(cluster))


def now(cluster: LocalCluster) -> str:
    return cluster.identities[0].object_id


def test_access_and_check_report_that_the_cluster_will_refuse_it(cluster: LocalCluster, session: Session) -> None:
    for name, says in [
        ("system", f"grants to an earlier system identity ({before(cluster)}) have no effect"),
        (before(cluster), "earlier"),
    ]:
        found = session.access(name, "ExternalDataRequest", database="Samples")
        assert found.allowed is False
        assert says in found.reason
    [verdict] = session.check(READ, "Samples")
    assert verdict.access.allowed is False
    assert "an earlier system identity" in verdict.access.reason


def test_the_cluster_does_refuse_it_and_granting_the_new_one_fixes_it(cluster: LocalCluster, session: Session) -> None:
    plan = session.grant("system", "ExternalDataRequest", databases=["Samples"])
    assert [(one.kind, one.identity) for one in plan.changes] == [("grant", SYSTEM)]
    assert session.apply(plan).outcome == "applied"
    assert session.access("system", "ExternalDataRequest", database="Samples").allowed
    assert not session.grant("system", "ExternalDataRequest", databases=["Samples"]).steps
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert policy.grants == {(before(cluster), "ExternalDataRequest"), (SYSTEM, "ExternalDataRequest")}


def test_undo_reverts_the_grant_of_the_new_one(session: Session) -> None:
    session.apply(session.grant("system", "ExternalDataRequest", databases=["Samples"]))
    plan = session.undo_plan()
    assert [(one.kind, one.identity) for one in plan.changes] == [("revoke", SYSTEM)]
    # Like any command that repeats an orphan, it is refused, and succeeds without the orphan.
    with pytest.raises(ApplyError, match="not assigned") as caught:
        session.apply(plan)
    session.apply(session.without(plan, edits.named_in(plan, caught.value.message)))
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert policy.entries == ()


@pytest.mark.parametrize("lands", [True, False])
def test_a_change_that_was_left_open_is_settled_by_the_entry_of_the_new_identity(
    session: Session, *, lands: bool
) -> None:
    plan = session.grant("system", "ExternalDataRequest", databases=["Samples"])
    [step] = plan.steps
    assert session.history
    request = "kqlmi;of-the-change"
    opened = session.recorder.log(
        "plan", [StepRecord(step.scope, step.command, step.before, step.after, client_request_id=request)]
    )
    opened.begin()
    if lands:
        session.connection.execute(step.command, "Samples", client_request_id=request)
    [settled] = session.settle(deadline=0)
    assert settled.outcome == ("applied" if lands else "not applied")


def test_the_dead_entry_is_dropped_by_its_object_id_and_the_new_one_stays(
    cluster: LocalCluster, session: Session
) -> None:
    session.apply(session.grant("system", "ExternalDataRequest", databases=["Samples"]))
    dead = before(cluster)
    plan = session.revoke(dead, "ExternalDataRequest", databases=["Samples"])
    assert [(one.kind, one.identity) for one in plan.changes] == [("revoke", dead)]
    session.apply(plan)
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert [entry.object_id for entry in policy.entries] == [now(cluster)]


def test_the_audit_drops_the_dead_entry_alone(cluster: LocalCluster, session: Session) -> None:
    session.apply(session.grant("system", "ExternalDataRequest", databases=["Samples"]))
    found = session.audit()
    [orphan] = [one for one in found.findings if one.rule == "orphan"]
    assert orphan.identity == before(cluster)
    session.apply(found.plans[orphan.id])
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert policy.grants == {(SYSTEM, "ExternalDataRequest")}


def test_the_panel_has_a_row_for_each_and_a_tick_grants_the_new_one(cluster: LocalCluster, session: Session) -> None:
    panel = Panel(session, SAMPLES)
    while panel.read_more():
        pass
    badges = {one: badge for one, _, badge in panel.identities}
    assert (badges[SYSTEM], badges[before(cluster)]) == ("assigned", "orphan")
    assert panel.theirs == []
    panel.tick(SYSTEM, "ExternalDataRequest")
    assert [(one.kind, one.identity) for one in panel.plan.changes] == [("grant", SYSTEM)]
    panel.apply()
    assert not panel.plan.steps


def test_the_line_of_a_notebook_offers_to_drop_the_dead_one(
    cluster: LocalCluster, session: Session, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.shell.magics_manager.registry["KqlMagics"].sessions.add(session)
    frame = notebook.run("%kqlmi access")
    assert frame.empty
    notebook.run("%kqlmi grant system ExternalDataRequest --database Samples")
    shown = capsys.readouterr().out
    assert "Nothing to do" not in shown
    [line] = re.findall(r"To remove it: (%kqlmi revoke .*)", shown)
    notebook.run(re.findall(r"To apply it: (%kqlmi apply \w+)", shown)[0])
    notebook.run(line)
    [apply] = re.findall(r"To apply it: (%kqlmi apply \w+ --revoke)", capsys.readouterr().out)
    notebook.run(apply)
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert [entry.object_id for entry in policy.entries] == [now(cluster)]
    assert notebook.run("%kqlmi access").display_name.tolist() == [cluster.name] * 1


class Losing:
    """A connection whose writes fail, either before or after they reach the cluster."""

    def __init__(self, connection: Connection, *, lands: bool) -> None:
        self.connection, self.lands = connection, lands

    def execute(self, text: str, database: str | None = None, **options: Any) -> Table:
        if not text.startswith(".alter"):
            return self.connection.execute(text, database, **options)
        if self.lands:
            self.connection.execute(text, database, **options)
        raise ConnectionFailedError("The connection broke.", sent=True)

    def close(self) -> None:
        self.connection.close()


@pytest.mark.parametrize("lands", [True, False])
def test_a_lost_answer_is_resolved_by_the_entry_of_the_new_identity(session: Session, *, lands: bool) -> None:
    plan = session.grant("system", "ExternalDataRequest", databases=["Samples"])
    connection = Losing(session.connection, lands=lands)
    if lands:
        assert apply_plan(connection, plan, deadline=1).outcome == "applied"
    else:
        with pytest.raises(ApplyError) as caught:
            apply_plan(connection, plan, deadline=1)
        assert caught.value.outcome in {"not applied", "unknown"}


def test_a_session_without_azure_takes_both_for_the_system_identity(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as session:
        assert session.access("system", "ExternalDataRequest", database="Samples").allowed
