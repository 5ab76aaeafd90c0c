"""Tests of many sessions that change the same policies at once: every overwrite is reported, or that it cannot be ruled out."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

import kqlmi
from kqlmi.apply import StepResult
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.evidence import overwritten_by
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ApplyError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.statement import Statement

from .plain import Grants, Plain, grants, parse

SESSIONS = 200
# Two databases with the same policy, so that reports on one could be confused with the other.
DATABASES = ("First", "Second")
USAGES = tuple(f"Flow{place:03}" for place in range(SESSIONS // len(DATABASES)))
LOADER, EXPORTER = (
    kqlmi.local.Identity(name, f"{place}0000000-0000-4000-8000-000000000000")
    for place, name in enumerate(("loader", "exporter"), 1)
)


class Racing:
    """A connection that keeps what its session read last, waits before it writes, and may be refused the records."""

    def __init__(self, behind: Connection, before_write: Callable[[], object], unreadable: tuple[str, ...]) -> None:
        self.behind, self.before_write, self.unreadable = behind, before_write, unreadable
        self.read: Grants = frozenset()

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        if self.unreadable and text.startswith(self.unreadable):
            raise ServiceError("No.", status=403, code="Forbidden")
        command = Statement(text).policy_command
        if command and command.verb != "show":
            self.before_write()
        answer = self.behind.execute(text, database, timeout=timeout, client_request_id=client_request_id)
        if command and command.verb == "show":
            self.read = grants(parse(answer.column("Policy")[0]))
        return answer

    def close(self) -> None:
        self.behind.close()


@dataclass(frozen=True)
class Written:
    """An ``.alter`` that ran: what its session reported about it, and what that session had read before."""

    result: StepResult
    reported: str
    read: Grants


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    monkeypatch.setattr("os.fsync", lambda _: None)  # it takes most of the time, and no crash is tested here
    monkeypatch.setattr(
        "kqlmi.local.engine.lanes.WAITING", SESSIONS
    )  # all read the journal at once, and none is throttled
    with kqlmi.local.start(databases=DATABASES, identities=[LOADER, EXPORTER], usages=USAGES) as started:
        yield started


def race(
    cluster: LocalCluster, *, widened: bool, unreadable: tuple[str, ...] = (), sessions: int = SESSIONS
) -> list[Written]:
    """Start many sessions at once, each with one change planned from the same policies; return the ``.alter`` that ran.

    Of five sessions, four revoke with ``.alter`` and one grants with ``.alter-merge``. Unless the time between a session's
    own re-read and its write is ``widened``, most of them find that another session was faster. To widen it, each session
    waits just before it writes until all are there.
    """
    with Plain(cluster.url, cluster.token) as plain:
        for database in DATABASES:
            plain.alter(database, {LOADER.object_id: USAGES})
    tokens = [cluster.token_for("admin") for _ in range(sessions)]
    start, gate = Barrier(sessions, timeout=120), Barrier(sessions, timeout=120)

    def work(place: int) -> Written | None:
        usage, scope = USAGES[place // 2], Scope.database(DATABASES[place % 2])
        revokes = place % 10 < 8
        with kqlmi.connect(cluster.url, token=tokens[place], history=False) as session:
            connection = Racing(session.connection, gate.wait if widened else lambda: None, unreadable)
            session.connection = connection
            policy = session.policy(scope)
            assert policy is not None
            change = policy.revoke(LOADER.object_id, usage) if revokes else policy.grant(EXPORTER.object_id, usage)
            plan = session.plan({scope: change})
            start.wait()
            with suppress(ApplyError):
                done = session.apply(plan)
                return Written(done.steps[0], str(done), connection.read) if revokes else None
            assert not widened
        return None

    with ThreadPoolExecutor(sessions) as pool:
        return [written for written in pool.map(work, range(sessions)) if written]


def journal_of(cluster: LocalCluster) -> dict[str, tuple[Grants, str]]:
    """Return, by client request ID, what each session's ``.alter`` replaced, and who had written that."""
    found: dict[str, tuple[Grants, str]] = {}
    writers: dict[str, str] = {}
    with Plain(cluster.url, cluster.token) as plain:
        for row in plain.rows(".show journal"):
            if row["ClientRequestId"].startswith("kqlmi;") and row["ChangeCommand"].startswith(".alter "):
                replaced = grants(parse(row["OriginalEntityState"]))
                found[row["ClientRequestId"]] = (replaced, writers[row["Database"]])
            writers[row["Database"]] = row["Principal"]
    return found


@pytest.mark.parametrize("widened", [False, True], ids=["as it comes", "between the read and the write of all"])
def test_every_overwritten_grant_and_revoke_is_reported_with_its_writer(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str], widened: bool  # noqa: FBT001
) -> None:  # fmt: skip
    written = race(cluster, widened=widened)
    journal = journal_of(cluster)
    assert journal.keys() == {one.result.client_request_id for one in written}
    happened = 0
    for one in written:
        replaced, writer = journal[one.result.client_request_id]
        lost, brought_back = replaced - one.read, one.read - replaced
        found = one.result.overwritten
        assert (found is not None) == bool(lost or brought_back)
        assert one.result.unseen is None
        if found:
            assert (found.granted, found.revoked, found.principal) == (lost, brought_back, writer)
            assert all(f"+ {identity} {usage}" in one.reported for identity, usage in lost)
            assert all(f"- {identity} {usage}" in one.reported for identity, usage in brought_back)
            happened += 1
    with capsys.disabled():
        print(f"\n{SESSIONS} sessions, {len(written)} .alter, {happened} overwrote another's change")  # noqa: T201
    assert happened or not widened


def test_with_only_the_list_of_commands_every_overwrite_is_reported_too(cluster: LocalCluster) -> None:
    # Fewer, because each session reads everything that the others sent.
    written = race(cluster, widened=True, unreadable=(".show journal",), sessions=SESSIONS // 5)
    journal = journal_of(cluster)
    overwrote = [one for one in written if journal[one.result.client_request_id][0] != one.read]
    assert overwrote
    assert all(one.result.overwritten and one.result.overwritten.command for one in overwrote)


def test_without_both_every_alter_reports_that_a_write_could_not_be_ruled_out(cluster: LocalCluster) -> None:
    written = race(cluster, widened=True, unreadable=(".show journal", ".show commands"))
    assert len(written) == SESSIONS * 4 // 5
    assert all("cannot rule out another write" in one.reported and one.result.unseen is not None for one in written)


class Listing:
    """A connection to a cluster whose list of commands contains one ``.alter`` by this session and one by another."""

    START = datetime(2024, 5, 6, 12, tzinfo=UTC)

    def __init__(self, started: float, ended: float, state: str) -> None:
        self.rows = [self._row("mine", 0, 0.2, "Completed"), self._row("other", started, ended, state)]

    def _row(self, request: str, started: float, ended: float, state: str) -> list[Any]:
        moments = (f"{self.START + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}" for seconds in (started, ended))
        return [request, ".delete database First policy managed_identity", "First", *moments, request, state]

    def execute(self, text: str, *_: object, **__: object) -> Table:
        if text.startswith(".show journal"):
            raise ServiceError("No.", status=403)
        names = ("ClientActivityId", "Text", "Database", "StartedOn", "LastUpdatedOn", "User", "State")
        kinds = {"StartedOn": "datetime", "LastUpdatedOn": "datetime"}
        return Table(tuple(Column.of(name, kinds.get(name, "string")) for name in names), tuple(self.rows))

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("started", "ended", "state", "reported"),
    [
        (-0.5, -0.4, "Completed", True),
        (-5, -0.1, "Completed", True),  # began before the re-read, and ran after it
        (0.1, 0.15, "Completed", True),  # arrived a moment later, and was faster
        (-5, -4, "Completed", False),
        (0.3, 0.4, "Completed", False),
        (-0.5, -0.4, "Failed", False),
    ],
)
def test_every_write_in_the_list_of_commands_that_may_have_intervened_counts(
    started: float, ended: float, state: str, reported: bool  # noqa: FBT001
) -> None:  # fmt: skip
    listing = Listing(started, ended, state)
    found = overwritten_by(listing, Scope.database("First"), "mine", None, 1)
    assert (found is not None) == reported


def test_the_writer_of_a_policy_is_not_confused_with_the_writer_of_an_equal_one(cluster: LocalCluster) -> None:
    first, second = (cluster.token_for("admin") for _ in range(2))
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        plan = session.plan({Scope.database("First"): kqlmi.Policy.empty().grant(EXPORTER.object_id, "All")})
        for token, database in ((first, "First"), (second, "Second")):
            with Plain(cluster.url, token) as plain:
                plain.alter(database, {LOADER.object_id: ["All"]})
        principals = session.run(".show journal").column("Principal")
        with pytest.raises(ApplyError, match=f"by {principals[-2]}"):
            session.apply(plan)


def test_the_overwritten_writer_is_not_confused_with_one_who_wrote_the_same_later(cluster: LocalCluster) -> None:
    with (
        kqlmi.connect(cluster.url, token=cluster.token) as session,
        Plain(cluster.url, cluster.token_for("admin")) as first,
        Plain(cluster.url, cluster.token_for("admin")) as second,
    ):
        first.alter("First", {LOADER.object_id: USAGES[:2]})
        plan = session.plan({Scope.database("First"): kqlmi.Policy.empty()})

        def overwrite(by: Plain) -> None:
            by.alter("First", {LOADER.object_id: USAGES[:3]})

        class Restored(Racing):
            def execute(self, text: str, *args: Any, **options: Any) -> Table:
                if text.startswith(".show journal"):
                    overwrite(second)
                return super().execute(text, *args, **options)

        session.connection = Restored(session.connection, lambda: overwrite(first), ())
        [result] = session.apply(plan).steps
        assert result.overwritten
        assert result.overwritten.granted == {(LOADER.object_id, USAGES[2])}
        assert result.overwritten.principal == session.run(".show journal").column("Principal")[0]


ORDINARY = (
    ".create database Third",
    ".alter database First prettyname '[not a policy'",
    ".alter database First prettyname 'null and void'",
    '.alter cluster policy callout \'[{"CalloutType": "kusto", "CalloutUriRegex": "a", "CanCall": true}]\'',
    ".create function F () { print 'policy managed_identity' }",
)


def test_other_rows_of_the_journal_are_not_read_as_policies(cluster: LocalCluster) -> None:
    with (
        kqlmi.connect(cluster.url, token=cluster.token) as session,
        Plain(cluster.url, cluster.token_for("admin")) as other,
    ):
        for text in ORDINARY:
            session.connection.execute(text, "First")
        for scope in (Scope.database("First"), Scope.cluster()):
            plan = session.plan({scope: kqlmi.Policy.empty().grant(EXPORTER.object_id, "All")})
            (other.alter if scope.name else other.merge)(scope.name or "", {LOADER.object_id: ["All"]})
            principal = session.run(".show journal").column("Principal")[-1]
            for text in ORDINARY[1:4]:
                session.connection.execute(text, "First")
            with pytest.raises(ApplyError, match=rf"was changed by {principal} at \S+ since this plan was made"):
                session.apply(plan)
            again = session.plan({scope: None})
            [result] = session.apply(again).steps
            assert (result.overwritten, result.unseen) == (None, None)


BOTH = {LOADER.object_id: USAGES[:2], EXPORTER.object_id: USAGES[:1]}
NOTED = f'[{{"ObjectId":"{LOADER.object_id}","AllowedUsages":"{USAGES[0]}","Note":"mine"}}]'


@pytest.mark.parametrize("verb", ["alter", "delete"])
@pytest.mark.parametrize(
    ("meanwhile", "reported"),
    [
        (
            lambda other: other.merge("First", {EXPORTER.object_id: USAGES[1:2]}),
            [f"+ {EXPORTER.object_id} {USAGES[1]}"],
        ),
        (lambda other: other.alter("First", {LOADER.object_id: USAGES[:2]}), [f"- {EXPORTER.object_id} {USAGES[0]}"]),
        (
            lambda other: other.delete("First"),
            [f"- {one} {usage}" for one, usages in sorted(BOTH.items()) for usage in usages],
        ),
        (
            lambda other: other.rows(f".alter-merge database First policy managed_identity ```{NOTED}```"),
            [f"+ {LOADER.object_id} property Note"],
        ),
    ],
    ids=["grant", "revoke", "delete", "property"],
)
def test_a_change_between_the_reread_and_the_write_is_named_with_its_writer(
    cluster: LocalCluster, meanwhile: Callable[[Plain], None], reported: list[str], verb: str
) -> None:
    with (
        kqlmi.connect(cluster.url, token=cluster.token, history=False) as session,
        Plain(cluster.url, cluster.token_for("admin")) as other,
    ):
        other.alter("First", BOTH)
        writer = other.rows(".show journal")[-1]["Principal"]
        scope = Scope.database("First")
        policy = session.policy(scope)
        assert policy is not None
        plan = session.plan({scope: policy.revoke(LOADER.object_id, USAGES[1]) if verb == "alter" else None})
        session.connection = Racing(session.connection, lambda: meanwhile(other), ())
        done = session.apply(plan)
        assert other.rows(".show journal")[-1]["Principal"] != writer
        assert f"Overwrote a change by {writer} in the database First: {', '.join(reported)}" in str(done)
        # The plan nevertheless did what it showed.
        assert (other.state("First") is None) == (verb == "delete")
        assert grants(other.state("First")) == (plan.steps[0].after.grants if plan.steps[0].after else frozenset())


def test_a_merge_keeps_a_property_that_another_writer_adds_meanwhile(cluster: LocalCluster) -> None:
    with (
        kqlmi.connect(cluster.url, token=cluster.token, history=False) as session,
        Plain(cluster.url, cluster.token) as other,
    ):
        write = ".alter database First policy managed_identity ```{}```".format
        other.rows(write(NOTED))
        plan = session.grant(LOADER.object_id, "AzureAI", databases=["First"])
        session.connection = Racing(session.connection, lambda: other.rows(write(NOTED.replace("mine", "new"))), ())
        assert session.apply(plan).outcome == "applied"
        [row] = other.rows(".show database First policy managed_identity")
        assert '"new"' in row["Policy"]
        assert "AzureAI" in row["Policy"]
