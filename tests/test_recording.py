"""Tests that changes are recorded as they are made, and can be undone."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import kqlmi
from kqlmi import atomicfile
from kqlmi.apply import cells
from kqlmi.cli import main
from kqlmi.cluster.connection import Connection, KustoConnection, new_client_request_id
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ApplyError, ConnectionFailedError, InputError, RequestInterruptedError, ServiceError
from kqlmi.history import Entry, History, HistoryError, StepRecord, new_entry, open_entries
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy import commands
from kqlmi.model.policy.policy import Policy
from kqlmi.model.statement import Statement
from kqlmi.session import Session

FIRST, SECOND, CLUSTER = Scope.database("First"), Scope.database("Second"), Scope.cluster()


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["First", "Second", "Third"], identities=["loader", "system"]) as started:
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


def test_an_undo_restores_a_property_and_reverts_none_that_was_written_since(session: Session, loader: str) -> None:
    write = (
        ".alter database First policy managed_identity"
        ' ```[{{"ObjectId":"{}","AllowedUsages":"ExternalTable","Note":"{}"}}]```'
    ).format
    session.run(write(loader, "old"))
    session.run(write(loader, "new"))
    plan = session.undo_plan()
    assert (plan.changes, plan.revokes) == ((), True)
    assert "+ loader" in str(plan)
    session.apply(plan)
    policy = session.policy(FIRST)
    assert policy is not None
    assert policy.properties == {(loader, "Note", '"old"')}
    done = session.apply(session.grant(loader, "SqlRequest", databases=["First"]))
    session.connection.execute(write(loader, "theirs").replace("ExternalTable", "ExternalTable, SqlRequest"), "First")
    with pytest.raises(InputError, match=rf"has changed since \(\+ {loader} property Note, - {loader} property Note"):
        session.undo_plan(done.entry)


def test_an_undo_restores_the_previous_state_and_a_second_one_does_not_redo(session: Session, loader: str) -> None:
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
def test_no_policy_and_an_empty_policy_are_each_restored(session: Session, before: Policy | None) -> None:
    if before is not None:
        session.run(commands.alter(FIRST, before))
    session.apply(session.plan({FIRST: Policy.empty().grant("system", "All")}))
    session.undo()
    assert session.policy(FIRST) == before


def test_a_deleted_empty_policy_is_restored(session: Session) -> None:
    session.run(commands.alter(FIRST, Policy.empty()))
    session.run(commands.delete(FIRST))
    session.undo()
    assert session.policy(FIRST) == Policy.empty()


@pytest.mark.parametrize("verb", ["alter", "alter-merge", "delete"])
@pytest.mark.parametrize("target", ["database First", "database ['first']", "cluster"])
def test_a_command_in_a_cell_is_undone_too(session: Session, loader: str, verb: str, target: str) -> None:
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
def test_a_timeout_that_no_server_accepts_leaves_no_entry(session: Session, loader: str, seconds: float) -> None:
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    with pytest.raises(InputError, match=f"{seconds} seconds"):
        session.run(plan.steps[0].command, timeout=seconds)
    with pytest.raises(InputError, match=f"{seconds} seconds"):
        session.apply(plan, deadline=seconds)
    assert session.recorded().entries == ()
    assert session.policy(FIRST) is None


def test_a_command_that_cannot_be_sent_is_recorded_as_not_applied(session: Session) -> None:
    # A host that receives no token is refused this late, too.
    with pytest.raises(InputError, match="9999 seconds"):
        cells.run(session.recorder, Statement(commands.delete(FIRST)), "First", timeout=9999)
    assert session.recorded().entries[-1].outcome == "not applied"


def test_a_command_on_the_database_in_context_is_recorded_with_its_name(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, database="Second") as session:
        session.run(""".alter database policy managed_identity '[{"ObjectId":"system","AllowedUsages":"All"}]'""")
        assert session.recorded().entries[-1].steps[0].scope == SECOND
        session.undo()
        assert session.policy(SECOND) is None


def test_an_undo_is_refused_if_the_policy_has_changed_since(session: Session, loader: str) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "ExternalTable")}))
    session.connection.execute(commands.alter_merge(FIRST, Policy.empty().grant(loader, "SqlRequest")))
    with pytest.raises(
        InputError,
        match=rf"\(\+ {loader} ExternalTable\) cannot .* the database First has changed since \(\+ {loader} SqlRequest\)",
    ):
        session.undo()
    assert len(grants(session, FIRST)) == 2


def test_a_partly_applied_plan_is_recorded_and_its_applied_part_undone(session: Session, loader: str) -> None:
    stranger = "11111111-2222-3333-4444-555555555555"
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All"), SECOND: Policy.empty().grant(stranger, "All")})
    with pytest.raises(ApplyError) as caught:
        session.apply(plan)
    [entry] = session.recorded().entries
    assert (caught.value.outcome, entry.outcome) == ("partly applied", "partly applied")
    assert [step.outcome for step in entry.steps] == ["applied", "not applied"]
    session.undo()
    assert session.policy(FIRST) is None


def test_a_plan_refused_for_drift_is_not_recorded(session: Session, loader: str) -> None:
    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    session.connection.execute(commands.alter(FIRST, Policy.empty().grant("system", "All")))
    with pytest.raises(ApplyError, match="Nothing was sent"):
        session.apply(plan)
    assert session.recorded().entries == ()


def test_without_a_writable_history_nothing_is_sent(
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
    # The journal shows what was sent.
    step = step if landed else replace(step, client_request_id="kqlmi;never sent")
    session.history.update(replace(entry, time=time, outcome="open", steps=(replace(step, outcome="open"),)))
    if not landed:
        session.connection.execute(commands.delete(FIRST))
    [settled] = session.settle()
    assert settled.outcome == outcome
    assert session.recorded().entries[0].outcome == outcome


def test_no_token_is_recorded(session: Session, cluster: LocalCluster, loader: str) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    folder = Path(os.environ["KQLMI_STATE"]).parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not any(cluster.token in path.read_text() for path in files)


# Open entries


def leave_open(session: Session, number: int = -1, **fields: Any) -> Entry:
    """Reopen an entry, as a process that dies before the answer leaves it; ``fields`` replace those of its first step."""
    assert session.history is not None
    entry = session.recorded().entries[number]
    step = replace(entry.steps[0], outcome="open", **fields)
    left = replace(entry, outcome="open", steps=(step, *entry.steps[1:]))
    session.history.update(left)
    return left


def never_sent(session: Session, plan: PolicyPlan, *, age: timedelta = timedelta(0)) -> Entry:
    """Record a change as just before it is made, and do not make it."""
    assert session.history is not None
    recorder = session.recorder
    steps = recorder.with_ids(
        StepRecord(step.scope, step.command, step.before, step.after, client_request_id=new_client_request_id())
        for step in plan.steps
    )
    entry = new_entry(cluster=recorder.cluster, name="", principal="", source="plan", steps=steps)
    entry = replace(entry, time=entry.time - age)
    session.history.begin(entry)
    return entry


@pytest.mark.parametrize("by_a_plan", [True, False])
def test_a_command_is_recorded_with_its_request_id_before_it_is_sent(
    session: Session, loader: str, by_a_plan: bool  # noqa: FBT001
) -> None:  # fmt: skip
    recorded: dict[str, list[str]] = {}

    class Watched:
        def __init__(self, behind: Connection) -> None:
            self.behind = behind

        def execute(self, text: str, *args: Any, **options: Any) -> Table:
            if Statement(text).policy_writes:
                steps = session.recorded().entries[-1].steps
                recorded[options["client_request_id"]] = [step.client_request_id for step in steps]
            return self.behind.execute(text, *args, **options)

        def close(self) -> None:
            self.behind.close()

    wanted = Policy.empty().grant(loader, "All")
    plan = session.plan({FIRST: wanted, SECOND: wanted})
    session.recorder  # noqa: B018 - it asks once who the cluster is
    session.connection = Watched(session.connection)
    del session.recorder
    if by_a_plan:
        session.apply(plan)
    else:
        for step in plan.steps:
            session.run(step.command)
    assert len(recorded) == 2
    assert [sent in ids for sent, ids in recorded.items()] == [True, True]
    assert len({one for ids in recorded.values() for one in ids}) == 2


def test_a_property_that_was_never_sent_is_not_settled_as_applied_by_other_grants(session: Session) -> None:
    class NoJournal:
        def __init__(self, behind: Connection) -> None:
            self.behind = behind

        def execute(self, text: str, *args: Any, **options: Any) -> Table:
            if text.startswith(".show journal"):
                raise ServiceError("No.", status=403)
            return self.behind.execute(text, *args, **options)

        def close(self) -> None:
            self.behind.close()

    first, second = (
        Policy.parse(f'[{{"ObjectId": "system", "AllowedUsages": "SqlRequest", "Note": "{note}"}}]') for note in "ab"
    )
    session.connection.execute(commands.alter(FIRST, first or Policy.empty()))
    session.connection = NoJournal(session.connection)
    never_sent(session, session.plan({FIRST: second}), age=timedelta(hours=1))
    assert [entry.outcome for entry in session.settle()] == ["not applied"]


LEFT_OPEN = r"A change of .* UTC was left open \(database First\); its outcome is now: applied\."


@pytest.mark.parametrize("tells", [True, False])
def test_every_connect_settles_open_entries_and_reports_it(
    session: Session, cluster: LocalCluster, loader: str, capsys: pytest.CaptureFixture[str], tells: bool  # noqa: FBT001
) -> None:  # fmt: skip
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    leave_open(session)
    reported: list[str] = []
    kqlmi.connect(cluster.url, token=cluster.token, tell=reported.append if tells else None).close()
    [line] = [*reported, *capsys.readouterr().err.splitlines()]
    assert re.fullmatch(LEFT_OPEN, line)
    assert bool(reported) == tells
    assert [entry.outcome for entry in session.recorded().entries] == ["applied"]


def test_the_command_line_settles_open_entries_too(
    session: Session, cluster: LocalCluster, loader: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    leave_open(session)
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    assert main(["audit", "--on", cluster.url, "--auth", "token"]) in {0, 2}
    assert re.fullmatch(LEFT_OPEN, capsys.readouterr().err.strip())
    assert [entry.outcome for entry in session.recorded().entries] == ["applied"]


@pytest.mark.parametrize("options", [{"read_only": True}, {"history": False}])
def test_a_session_that_changes_or_records_nothing_settles_nothing(
    session: Session, cluster: LocalCluster, loader: str, options: Any
) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    leave_open(session)
    kqlmi.connect(cluster.url, token=cluster.token, **options).close()
    assert [entry.outcome for entry in session.recorded().entries] == ["open"]


def test_without_a_history_a_connect_sends_nothing() -> None:
    kqlmi.connect("http://127.0.0.1:1", token="none").close()  # noqa: S106


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("verb", ["alter", "alter-merge"])
def test_another_writers_identical_grant_is_not_credited_to_a_change_that_was_never_sent(
    session: Session, loader: str, late: bool, verb: str  # noqa: FBT001
) -> None:  # fmt: skip
    wanted = Policy.empty().grant(loader, "All")
    plan = session.plan({FIRST: wanted})
    never_sent(session, plan, age=timedelta(hours=1) if late else timedelta(0))
    session.connection.execute((commands.alter if verb == "alter" else commands.alter_merge)(FIRST, wanted))
    [entry] = session.settle()
    assert entry.outcome == ("not applied" if late else "unknown")
    with pytest.raises(InputError):
        session.undo()
    assert grants(session, FIRST) == wanted.grants


def test_a_change_that_was_sent_and_changed_again_since_is_applied(session: Session, loader: str) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    leave_open(session)
    session.connection.execute(commands.delete(FIRST))
    assert [entry.outcome for entry in session.settle()] == ["applied"]
    with pytest.raises(InputError, match="cannot be undone"):
        session.undo()


def test_a_grant_by_the_guid_of_the_system_identity_settles_as_applied(
    session: Session, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    guid = cluster.identities[1].object_id
    assert cluster.identities[1].is_system
    session.run(f""".alter database First policy managed_identity '[{{"ObjectId":"{guid}","AllowedUsages":"All"}}]'""")
    leave_open(session, after=Policy.empty().grant(guid, "All"))
    # If the journal cannot be read, the policy alone decides.
    monkeypatch.setattr("kqlmi.cluster.evidence.policy_writes", lambda *_: ())
    assert [entry.outcome for entry in session.settle()] == ["applied"]


@pytest.mark.parametrize("again", [True, False])
def test_a_change_to_a_dropped_database_never_prevents_connecting(
    session: Session, cluster: LocalCluster, loader: str, again: bool  # noqa: FBT001
) -> None:  # fmt: skip
    landed, lost = Policy.empty().grant(loader, "All"), Policy.empty().grant(loader, "SqlRequest")
    session.apply(session.plan({FIRST: landed}))
    leave_open(session)
    never_sent(session, session.plan({SECOND: lost}), age=timedelta(hours=1))
    for database in ("First", "Second"):
        session.run(f".drop database {database}")
        if again:
            session.run(f".create database {database}")
            session.connection.execute(
                commands.alter(Scope.database(database), lost if database == "Second" else landed)
            )
    reported: list[str] = []
    with kqlmi.connect(cluster.url, token=cluster.token, tell=reported.append) as other:
        assert [entry.outcome for entry in other.recorded().entries] == ["applied", "unknown"]
        assert "the database Second was dropped or recreated since" in reported[1]
        # What can never be determined is reported once, and blocks nothing.
        assert other.settle() == ()
        with pytest.raises(InputError, match="the database First was dropped or recreated since"):
            other.undo()
        assert again == ("First" in other.databases())
        if again:
            assert grants(other, FIRST) == landed.grants
    with kqlmi.connect(cluster.url, token=cluster.token, tell=reported.append):
        assert len(reported) == 2


def test_a_plan_over_several_databases_is_undone_in_those_that_still_exist(session: Session, loader: str) -> None:
    wanted = Policy.empty().grant(loader, "All")
    session.apply(session.plan({FIRST: wanted, SECOND: wanted}))
    session.run(".drop database Second")
    session.undo()
    assert session.policy(FIRST) is None


@pytest.mark.parametrize("lands", [True, False])
def test_a_refused_piped_command_is_not_credited_with_another_writers_change(
    session: Session, loader: str, lands: bool  # noqa: FBT001
) -> None:  # fmt: skip
    class Refusing:
        def __init__(self, behind: Connection) -> None:
            self.behind = behind

        def execute(self, text: str, *args: Any, **options: Any) -> Table:
            if not Statement(text).policy_writes:
                return self.behind.execute(text, *args, **options)
            self.behind.execute(commands.alter(FIRST, Policy.empty().grant("system", "All")))
            if lands:
                self.behind.execute(text.partition("|")[0], *args, **options)
            raise ServiceError("Semantic error.", code="General_BadRequest", type_name="Kusto.Error", status=400)

        def close(self) -> None:
            self.behind.close()

    session.connection = Refusing(session.connection)
    text = commands.alter_merge(FIRST, Policy.empty().grant(loader, "All"))
    with pytest.raises(ServiceError) as caught:
        session.run(f"{text} | project Nothing")
    assert ("changed nevertheless" in str(caught.value)) == lands
    assert session.recorded().entries[-1].outcome == ("applied" if lands else "not applied")
    assert len(grants(session, FIRST)) == 1 + lands


# Undo refers to the last change


def full_disk(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """Make the disk accept ``after`` more files of the history, and then none."""
    left, write = [after], atomicfile.write

    def full(path: Path, data: bytes, **options: bool) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        left[0] -= 1
        write(path, data, **options)

    monkeypatch.setattr(atomicfile, "write", full)


@pytest.mark.parametrize("by_a_plan", [True, False])
def test_with_a_full_disk_nothing_is_sent_and_undo_refers_to_the_previous_change(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch, by_a_plan: bool  # noqa: FBT001
) -> None:  # fmt: skip
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    plan = session.plan({SECOND: Policy.empty().grant(loader, "All")})
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(HistoryError, match="No space left"):
            session.apply(plan) if by_a_plan else session.run(plan.steps[0].command)
    assert session.policy(SECOND) is None
    session.undo()
    assert session.policy(FIRST) is None


@pytest.mark.parametrize("by_a_plan", [True, False])
def test_a_change_whose_end_was_lost_to_a_full_disk_is_still_the_last_one(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch, by_a_plan: bool  # noqa: FBT001
) -> None:  # fmt: skip
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    plan = session.plan({SECOND: Policy.empty().grant(loader, "All")})
    with monkeypatch.context() as patch:
        full_disk(patch, after=1)
        session.apply(plan) if by_a_plan else session.run(plan.steps[0].command)
        assert session.recorded().entries[-1].outcome == "open"
        assert {step.scope for step in session.undo_plan().steps} == {SECOND}
    session.undo()
    assert grants(session, FIRST) == {(loader, "All")}
    assert session.policy(SECOND) is None


def test_undo_refers_to_the_last_change_whatever_the_clock_says(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Earlier":
            return super().now(tz) - timedelta(days=2)

    with monkeypatch.context() as patch:
        patch.setattr("kqlmi.history.entries.datetime", Earlier)
        second = session.apply(session.plan({SECOND: Policy.empty().grant(loader, "All")}))
    assert second.entry < first.entry
    assert [entry.id for entry in session.recorded().entries] == [first.entry, second.entry]
    session.undo()
    assert grants(session, FIRST) == {(loader, "All")}
    assert session.policy(SECOND) is None


def test_if_the_last_change_is_unknown_undo_asks_which(session: Session, loader: str) -> None:
    first = session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    open_one = never_sent(session, session.plan({SECOND: Policy.empty().grant(loader, "All")}))
    with pytest.raises(InputError, match=rf"whether entry {open_one.id} \(database Second\) changed anything.*undo ID"):
        session.undo()
    session.undo(first.entry)
    assert session.policy(FIRST) is None


def test_if_an_entry_cannot_be_read_undo_reports_it_and_asks_which(session: Session, loader: str) -> None:
    assert session.history is not None
    first = session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    second = session.apply(session.plan({SECOND: Policy.empty().grant(loader, "All")}))
    [path] = session.history.folder.rglob(f"*.{second.entry}.json")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"may be the last change: .*{second.entry}.json: half-written.*undo ID"):
        session.undo()
    session.undo(first.entry)
    assert session.policy(FIRST) is None
    assert grants(session, SECOND) == {(loader, "All")}


def test_an_entry_that_another_process_finished_meanwhile_is_not_settled_again(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.apply(session.plan({FIRST: Policy.empty().grant(loader, "All")}))
    done = session.recorded().entries[-1]
    leave_open(session)
    history, settled = session.history, open_entries.settled
    assert history is not None

    def slow(*args: Any, **options: Any) -> Entry:
        found = settled(*args, **options)
        history.update(done)
        return replace(found, outcome="unknown")

    monkeypatch.setattr(open_entries, "settled", slow)
    assert session.settle() == (done,)
    assert session.recorded().entries == (done,)


@pytest.mark.parametrize("way", ["plan", "cell"])
@pytest.mark.parametrize("moment", ["begin", "close"])
def test_an_interrupt_while_the_history_is_written_hides_no_outcome(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch, way: str, moment: str
) -> None:
    begin, update = History.begin, History.update
    pressed: list[str] = []

    def interrupted(write: Callable[[History, Entry], None], when: str) -> Callable[[History, Entry], None]:
        def writing(history: History, entry: Entry) -> None:
            press = when == moment and (when == "begin" or entry.outcome == "applied") and not pressed
            if when == "begin" or not press:
                write(history, entry)
            if press:
                pressed.append(when)
                raise KeyboardInterrupt

        return writing

    plan = session.plan({FIRST: Policy.empty().grant(loader, "All")})
    monkeypatch.setattr(History, "begin", interrupted(begin, "begin"))
    monkeypatch.setattr(History, "update", interrupted(update, "close"))
    landed = moment == "close"
    if way == "plan":
        with pytest.raises(ApplyError, match=r"^Interrupted\.") as caught:
            session.apply(plan)
        assert caught.value.outcome == ("applied" if landed else "not applied")
    else:
        with pytest.raises(
            RequestInterruptedError, match="but the command was run" if landed else "was not run"
        ) as interrupt:
            session.run(plan.steps[0].command)
        assert interrupt.value.outcome == ("applied" if landed else "not applied")
    assert pressed == [moment]
    assert (session.policy(FIRST) is not None) is landed
    assert [entry.outcome for entry in session.recorded().entries] == ["applied" if landed else "not applied"]


@pytest.mark.parametrize("landed", [True, False])
def test_an_interrupt_while_a_broken_script_is_read_back_leaves_the_error_and_an_unknown_outcome(
    session: Session,
    loader: str,
    monkeypatch: pytest.MonkeyPatch,
    landed: bool,  # noqa: FBT001
) -> None:
    grant = commands.alter_merge(FIRST, Policy.empty().grant(loader, "All"))
    execute, broken = KustoConnection.execute, list[str]()

    def breaking(connection: KustoConnection, text: str, *args: Any, **options: Any) -> Table:
        if broken:
            raise RequestInterruptedError("Interrupted. The command only reads, and changed nothing.")
        if text.startswith(".execute"):
            broken.append(text)
            if landed:
                execute(connection, text, *args, **options)
            raise ConnectionFailedError("The connection broke.")
        return execute(connection, text, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(KustoConnection, "execute", breaking)
        with pytest.raises(ConnectionFailedError, match="The connection broke"):
            session.run(f".execute database script <|\n{grant}", "First")
    assert [entry.outcome for entry in session.recorded().entries] == ["unknown"]
    assert (session.policy(FIRST) is not None) is landed


def test_a_script_that_failed_and_cannot_be_read_back_is_not_taken_for_one_that_changed_nothing(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = commands.alter_merge(FIRST, Policy.empty().grant(loader, "All"))
    execute, failed = KustoConnection.execute, list[str]()

    def failing(connection: KustoConnection, text: str, *args: Any, **options: Any) -> Table:
        if failed:
            raise ConnectionFailedError("The connection broke.")
        if text.startswith(".execute"):
            failed.append(text)
        return execute(connection, text, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(KustoConnection, "execute", failing)
        text = f".execute database script with (ThrowOnErrors=true) <|\n{grant}\n.drop table Nothing"
        with pytest.raises(ServiceError, match=r"Check before you send it again: \.show database"):
            session.run(text, "First")
    assert [entry.outcome for entry in session.recorded().entries] == ["unknown"]
