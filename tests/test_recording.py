"""Changes are recorded while they are made, and can be taken back."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import ApplyError, InputError, ServiceError
from kqlmi.history import History, HistoryError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model import commands
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Policy
from kqlmi.session import Session

FIRST, SECOND, CLUSTER = Scope.database("First"), Scope.database("Second"), Scope.cluster()


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["First", "Second"], identities=["loader", "system"]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token) as opened:
        yield opened


@pytest.fixture
def loader(cluster: LocalCluster) -> str:
    return cluster.identities[0].object_id


def grants(session: Session, scope: Scope) -> frozenset[tuple[str, str]]:
    policy = session.policy(scope)
    return policy.grants if policy else frozenset()


def test_an_applied_plan_is_recorded_whole(session: Session, loader: str) -> None:
    plan = session.plan({FIRST: Policy.empty().grant(loader, "ExternalTable")})
    session.apply(plan)
    [entry] = session.recorded().entries
    [step] = entry.steps
    assert (entry.outcome, entry.source, step.outcome, step.command) == (
        "applied",
        "plan",
        "applied",
        plan.steps[0].command,
    )
    assert step.before is None
    assert step.after is not None
    assert step.after.entries[0].display_name == "loader"
    assert step.client_request_id in session.run(".show journal").column("ClientRequestId")
    assert entry.principal.startswith("aadapp=")


def test_an_undo_restores_what_was_before_and_a_second_one_is_no_redo(session: Session, loader: str) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "ExternalTable")}))
    session.apply(
        session.plan({FIRST: Policy.empty().grant(loader, "SqlRequest"), SECOND: Policy.empty().grant(loader, "All")})
    )
    session.undo()
    assert grants(session, FIRST) == {(loader, "ExternalTable")}
    assert session.policy(SECOND) is None
    session.undo()
    assert session.policy(FIRST) is None
    with pytest.raises(InputError, match="nothing to undo"):
        session.undo()


@pytest.mark.parametrize("before", [None, Policy.empty()])
def test_no_policy_and_an_empty_one_are_restored_apart(session: Session, before: Policy | None) -> None:
    if before is not None:
        session.run(commands.alter(FIRST, before))
    session.apply(session.plan({FIRST: Policy.empty().grant("system", "All")}))
    session.undo()
    assert session.policy(FIRST) == before


def test_an_empty_policy_that_was_deleted_comes_back(session: Session) -> None:
    session.run(commands.alter(FIRST, Policy.empty()))
    session.run(commands.delete(FIRST))
    session.undo()
    assert session.policy(FIRST) == Policy.empty()


@pytest.mark.parametrize("verb", ["alter", "alter-merge", "delete"])
@pytest.mark.parametrize("target", ["database First", "database ['first']", "cluster"])
def test_a_command_of_a_cell_is_taken_back_too(session: Session, loader: str, verb: str, target: str) -> None:
    scope = CLUSTER if target == "cluster" else FIRST
    session.apply(session.plan({scope: Policy.empty().grant(loader, "ExternalTable")}))
    before = session.policy(scope)
    payload = "" if verb == "delete" else """ '[{"ObjectId":"system","AllowedUsages":"SqlRequest"}]'"""
    session.run(f"// mine\n.{verb} {target} policy managed_identity{payload}")
    assert session.policy(scope) != before
    entry = session.recorded().entries[-1]
    assert (entry.source, entry.outcome) == ("cell", "applied")
    session.undo()
    assert grants(session, scope) == (before.grants if before else frozenset())


def test_a_refused_command_of_a_cell_is_recorded_as_not_applied(session: Session) -> None:
    with pytest.raises(ServiceError):
        session.run(".alter database First policy managed_identity 'nonsense'")
    assert session.recorded().entries[-1].outcome == "not applied"
    with pytest.raises(InputError, match="nothing to undo"):
        session.undo()


@pytest.mark.parametrize("seconds", [9999, 0])
def test_a_time_that_no_server_takes_leaves_no_entry(session: Session, loader: str, seconds: float) -> None:
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    with pytest.raises(InputError, match=f"{seconds} seconds"):
        session.run(plan.steps[0].command, timeout=seconds)
    with pytest.raises(InputError, match=f"{seconds} seconds"):
        session.apply(plan, deadline=seconds)
    assert session.recorded().entries == ()
    assert session.policy(FIRST) is None


def test_a_command_that_cannot_be_sent_is_recorded_as_not_applied(session: Session) -> None:
    # An address that gets no token is refused as late as this, too.
    command = commands.read(commands.delete(FIRST))
    assert command
    with pytest.raises(InputError, match="9999 seconds"):
        session._recorder.run(command, commands.delete(FIRST), "First", timeout=9999)
    assert session.recorded().entries[-1].outcome == "not applied"


def test_a_command_on_the_database_in_context_is_recorded_with_its_name(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, database="Second") as session:
        session.run(""".alter database policy managed_identity '[{"ObjectId":"system","AllowedUsages":"All"}]'""")
        assert session.recorded().entries[-1].steps[0].scope == SECOND
        session.undo()
        assert session.policy(SECOND) is None


def test_an_undo_is_refused_where_somebody_changed_the_policy_since(session: Session, loader: str) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "ExternalTable")}))
    session.connection.execute(commands.alter_merge(FIRST, Policy.empty().grant(loader, "SqlRequest")))
    with pytest.raises(
        InputError,
        match=rf"it made \+ {loader} ExternalTable, and since .* \+ {loader} SqlRequest in the database First",
    ):
        session.undo()
    assert len(grants(session, FIRST)) == 2


def test_a_partly_applied_plan_is_recorded_and_undone_as_far_as_it_went(session: Session, loader: str) -> None:
    stranger = "11111111-2222-3333-4444-555555555555"
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All"), SECOND: Policy.empty().grant(stranger, "All")})
    with pytest.raises(ApplyError) as caught:
        session.apply(plan)
    [entry] = session.recorded().entries
    assert (caught.value.outcome, entry.outcome) == ("partly applied", "partly applied")
    assert [step.outcome for step in entry.steps] == ["applied", "not applied"]
    session.undo()
    assert session.policy(FIRST) is None


def test_a_plan_that_met_drift_is_not_recorded(session: Session, loader: str) -> None:
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    session.connection.execute(commands.alter(FIRST, Policy.empty().grant("system", "All")))
    with pytest.raises(ApplyError, match="Nothing was sent"):
        session.apply(plan)
    assert session.recorded().entries == ()


def test_without_a_place_for_the_history_nothing_is_sent(
    session: Session, loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    object.__setattr__(session, "history", History(tmp_path / "file" / "history"))
    del monkeypatch
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    with pytest.raises(HistoryError, match="--no-history"):
        session.apply(plan)
    with pytest.raises(HistoryError):
        session.run(commands.alter(FIRST, Policy.empty()))
    assert session.policy(FIRST) is None
    assert session.apply(plan, record=False).outcome == "applied"


def test_a_session_without_history_keeps_none(cluster: LocalCluster, loader: str) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as session:
        session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
        with pytest.raises(InputError, match="no history"):
            session.undo()


def test_the_history_belongs_to_the_cluster_not_to_its_url(
    session: Session, cluster: LocalCluster, loader: str
) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    with kqlmi.connect(cluster.url, token=cluster.token, name="another name") as again:
        again.undo()
    assert session.policy(FIRST) is None
    with (
        kqlmi.local.start(databases=["First"], identities=["loader"]) as other,
        kqlmi.connect(other.url, token=other.token) as elsewhere,
    ):
        assert elsewhere.recorded().entries == ()


@pytest.mark.parametrize(
    ("landed", "late", "outcome"), [(True, False, "applied"), (False, True, "not applied"), (False, False, "unknown")]
)
def test_an_entry_that_was_left_open_is_settled_by_what_the_policy_shows(
    session: Session, loader: str, landed: bool, late: bool, outcome: str  # noqa: FBT001
) -> None:  # fmt: skip
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    session.apply(plan)
    [entry] = session.recorded().entries
    assert session.history is not None
    [step] = entry.steps
    time = entry.time - timedelta(hours=1) if late else entry.time
    session.history.update(replace(entry, time=time, outcome="open", steps=(replace(step, outcome="open"),)))
    if not landed:
        session.connection.execute(commands.delete(FIRST))
    [settled] = session.settle()
    assert settled.outcome == outcome
    assert session.recorded().entries[0].outcome == outcome


def test_a_grant_by_the_guid_of_the_system_identity_is_settled_as_applied(
    session: Session, cluster: LocalCluster
) -> None:
    system = next(one for one in cluster.identities if one.is_system)
    wanted = Policy.empty().grant(system.object_id, "All")
    session.apply(session.plan({FIRST: wanted}))
    [entry] = session.recorded().entries
    assert session.history is not None
    [step] = entry.steps
    session.history.update(replace(entry, outcome="open", steps=(replace(step, after=wanted, outcome="open"),)))
    [settled] = session.settle()
    assert settled.outcome == "applied"


def test_no_token_is_recorded(session: Session, cluster: LocalCluster, loader: str, tmp_path: Path) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(cluster.token in path.read_text() for path in files)
