"""Tests that the reported outcome of a failed plan is what happened, as read back through another connection."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kqlmi
from kqlmi.apply import apply_plan
from kqlmi.apply.results import Applied
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.evidence import Overwritten
from kqlmi.cluster.outcome_recovery import StepResult
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ApplyError, ConnectionFailedError, RequestTimeoutError, ServiceError
from kqlmi.model.entities import Scope
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy import commands
from kqlmi.model.policy.policy import Policy
from kqlmi.model.statement import Statement
from kqlmi.session import Session

FIRST, SECOND = Scope.database("First"), Scope.database("Second")
Fault = Callable[[Connection, str], Table]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with (
        kqlmi.local.start(databases=["First", "Second"], identities=["system"]) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token) as opened,
    ):
        yield opened


@pytest.fixture
def plan(session: Session) -> PolicyPlan:
    for scope in (FIRST, SECOND):
        session.run(commands.delete(scope))
    return session.plan({scope: Policy.empty().grant("system", "ExternalTable") for scope in (FIRST, SECOND)})


class SameRequest:
    """A connection that sends every text with the same client request ID."""

    def __init__(self, behind: Connection, client_request_id: str) -> None:
        self.behind, self.request = behind, client_request_id

    def execute(self, text: str, *_: object, **__: object) -> Table:
        return self.behind.execute(text, client_request_id=self.request)

    def close(self) -> None:
        pass


class Faulty:
    """A connection that injects a fault into the writes to one scope."""

    def __init__(self, behind: Connection, scope: Scope, fault: Fault) -> None:
        self.behind, self.scope, self.fault = behind, scope, fault

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        command = Statement(text).policy_command
        if command and command.scope == self.scope and command.verb != "show":
            return self.fault(SameRequest(self.behind, client_request_id), text)
        return self.behind.execute(text, database, timeout=timeout, client_request_id=client_request_id)

    def close(self) -> None:
        pass


class NoJournal:
    """A connection without access to the journal and the list of commands."""

    def __init__(self, behind: Connection) -> None:
        self.behind = behind

    def execute(self, text: str, database: str | None = None, **options: Any) -> Table:
        if text.startswith((".show journal", ".show commands")):
            raise ServiceError("No.", status=403)
        return self.behind.execute(text, database, **options)

    def close(self) -> None:
        pass


def refused(_: Connection, __: str) -> Table:
    raise ServiceError("No.", status=400, code="General_BadRequest", type_name="Some.Exception")


def never_sent(_: Connection, __: str) -> Table:
    raise ConnectionFailedError("Unreachable.", sent=False)


def answer_lost(behind: Connection, text: str) -> Table:
    behind.execute(text)
    raise RequestTimeoutError("No answer in time.")


def gateway_gave_up(behind: Connection, text: str) -> Table:
    behind.execute(text)
    raise ServiceError("Bad gateway.", status=502)


def request_lost(_: Connection, __: str) -> Table:
    raise ConnectionFailedError("Broke off.")


def no_answer(_: Connection, __: str) -> Table:
    raise RequestTimeoutError("No answer in time.")


def interrupted(_: Connection, __: str) -> Table:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (refused, "partly applied"),
        (never_sent, "partly applied"),
        (request_lost, "partly applied"),
        (no_answer, "unknown"),
        (interrupted, "unknown"),
    ],
)
def test_a_fault_in_the_second_step_is_reported_correctly(
    session: Session, plan: PolicyPlan, fault: Fault, outcome: str
) -> None:
    with pytest.raises(ApplyError, match="Before it, 1 of 2 commands was applied") as caught:
        apply_plan(Faulty(session.connection, SECOND, fault), plan, deadline=1)
    assert caught.value.outcome == outcome
    assert caught.value.steps[0].outcome == "applied"
    assert session.policy(FIRST) is not None
    assert session.policy(SECOND) is None


@pytest.mark.parametrize(
    ("fault", "outcome"), [(request_lost, "not applied"), (no_answer, "unknown"), (interrupted, "unknown")]
)
def test_a_change_of_only_a_property_is_not_judged_by_its_grants(session: Session, fault: Fault, outcome: str) -> None:
    first, second = (
        Policy.parse(f'[{{"ObjectId": "system", "AllowedUsages": "SqlRequest", "Note": "{note}"}}]') for note in "ab"
    )
    assert first
    assert second
    session.run(commands.alter(FIRST, first))
    plan = session.plan({FIRST: second})
    assert not plan.changes
    silent = NoJournal(session.connection)
    with pytest.raises(ApplyError) as caught:
        apply_plan(Faulty(silent, FIRST, fault), plan, deadline=1)
    assert caught.value.outcome == outcome
    assert apply_plan(Faulty(silent, FIRST, answer_lost), plan).outcome == "applied"


@pytest.mark.parametrize("fault", [answer_lost, gateway_gave_up])
def test_a_lost_answer_is_resolved_by_reading_back(session: Session, plan: PolicyPlan, fault: Fault) -> None:
    assert apply_plan(Faulty(session.connection, FIRST, fault), plan).outcome == "applied"
    assert session.policy(FIRST) is not None
    assert session.policy(SECOND) is not None


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(refused, "not applied"), (never_sent, "not applied"), (request_lost, "not applied"), (no_answer, "unknown")],
)
def test_a_fault_in_the_first_step_stops_the_plan(
    session: Session, plan: PolicyPlan, fault: Fault, outcome: str
) -> None:
    with pytest.raises(ApplyError) as caught:
        apply_plan(Faulty(session.connection, FIRST, fault), plan, deadline=1)
    assert caught.value.outcome == outcome
    assert len(caught.value.steps) == 1
    assert [session.policy(scope) for scope in (FIRST, SECOND)] == [None, None]


def test_a_policy_that_has_changed_is_not_overwritten(session: Session, plan: PolicyPlan) -> None:
    other = Policy.empty().grant("system", "SqlRequest")
    session.run(commands.alter(SECOND, other))
    with pytest.raises(
        ApplyError, match=r"was changed by aadapp=\S+ at \S+ since this plan was made: \+ system SqlRequest"
    ) as caught:
        session.apply(plan)
    assert caught.value.outcome == "not applied"
    assert session.policy(FIRST) is None
    left = session.policy(SECOND)
    assert left is not None
    assert left.grants == other.grants


def overtaken(session: Session, text: str) -> Fault:
    """Return a fault in which another writer writes just before the command."""

    def fault(_: Connection, command: str) -> Table:
        session.connection.execute(text)
        return session.connection.execute(command)

    return fault


MORE = Policy.empty().grant("system", "ExternalTable", "SqlRequest")


def test_a_merge_loses_nothing_of_another_writer(session: Session, plan: PolicyPlan) -> None:
    connection = Faulty(session.connection, SECOND, overtaken(session, commands.alter_merge(SECOND, MORE)))
    assert apply_plan(connection, plan).outcome == "applied"
    policy = session.policy(SECOND)
    assert policy is not None
    assert policy.grants == MORE.grants


def test_another_writers_change_with_unknown_effect_is_shown_as_its_command(plan: PolicyPlan) -> None:
    found = Overwritten(FIRST, "them", frozenset(), frozenset(), ".alter x ```[\n  y]```")
    shown = str(Applied(plan, (StepResult(plan.steps[0], "applied", overwritten=found),)))
    assert shown.startswith(f"Applied and verified on {plan.cluster}: 2 granted, 0 revoked, 0 unchanged.\n")
    assert shown.endswith("Overwrote a change by them in the database First:\n    .alter x ```[\n      y]```")


def test_an_answer_that_lacks_what_was_planned_is_not_called_applied(session: Session, plan: PolicyPlan) -> None:
    def lacking(behind: Connection, text: str) -> Table:
        behind.execute(text)
        return behind.execute(commands.alter(SECOND, Policy.empty()))

    with pytest.raises(ApplyError, match="not what the plan expected: - system ExternalTable"):
        apply_plan(Faulty(session.connection, SECOND, lacking), plan)


class Own(Faulty):
    """A connection on which another writer writes first, and the command is then sent unchanged."""

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        command = Statement(text).policy_command
        if command and command.scope == self.scope and command.verb != "show":
            self.fault(self.behind, text)
        return self.behind.execute(text, database, timeout=timeout, client_request_id=client_request_id)


@pytest.mark.parametrize("verb", ["alter", "delete"])
def test_a_change_that_an_alter_overwrote_is_reported_and_its_restoration_offered(
    session: Session, plan: PolicyPlan, verb: str
) -> None:
    session.apply(plan)
    session.run(commands.alter(SECOND, MORE.grant("system", "AzureAI")))
    desired = None if verb == "delete" else MORE
    revoking = session.plan({SECOND: desired})
    other = MORE.grant("system", "ExportRequest", "AzureAI").revoke("system", "SqlRequest")
    write = commands.alter(SECOND, other)
    done = apply_plan(Own(session.connection, SECOND, lambda behind, _: behind.execute(write)), revoking)
    [result] = done.steps
    assert result.overwritten is not None
    assert result.overwritten.granted == {("system", "ExportRequest")}
    assert result.overwritten.revoked == {("system", "SqlRequest")}
    assert result.overwritten.principal
    assert "+ system ExportRequest, - system SqlRequest" in str(done)
    repaired = done.repair[SECOND].grants
    assert ("system", "ExportRequest") in repaired
    assert ("system", "SqlRequest") not in repaired


def test_if_the_records_cannot_be_read_an_alter_reports_what_it_cannot_rule_out(
    session: Session, plan: PolicyPlan
) -> None:
    session.apply(plan)
    done = apply_plan(NoJournal(session.connection), session.plan({SECOND: Policy.empty()}))
    assert "cannot rule out another write" in str(done)
    assert done.steps[0].unseen is not None


def test_without_a_journal_the_list_of_commands_shows_another_writer(session: Session, plan: PolicyPlan) -> None:
    class OnlyCommands(Own):
        def execute(
            self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
        ) -> Table:
            if text.startswith(".show journal"):
                raise ServiceError("No.", status=403)
            return super().execute(text, database, timeout=timeout, client_request_id=client_request_id)

    session.apply(plan)
    write = commands.alter(SECOND, MORE)
    connection = OnlyCommands(session.connection, SECOND, lambda behind, _: behind.execute(write))
    done = apply_plan(connection, session.plan({SECOND: Policy.empty()}))
    assert done.steps[0].overwritten is not None
    assert done.steps[0].overwritten.command == write


def test_a_plan_with_nothing_to_do_sends_nothing(session: Session) -> None:
    def fail(_: Connection, __: str) -> Table:
        raise AssertionError("something was sent")

    empty = session.plan({FIRST: session.policy(FIRST)})
    assert apply_plan(Faulty(session.connection, FIRST, fail), empty).outcome == "applied"
