"""What is said of a plan that does not go through is what happened: read back through another connection."""

from collections.abc import Callable, Iterator

import pytest

import kqlmi
from kqlmi.apply import apply_plan
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.table import Table
from kqlmi.errors import ApplyError, ConnectionFailedError, RequestTimeoutError, ServiceError
from kqlmi.model import commands
from kqlmi.model.entities import Scope
from kqlmi.model.plan import Plan
from kqlmi.model.policy import Policy
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
def plan(session: Session) -> Plan:
    for scope in (FIRST, SECOND):
        session.run(commands.delete(scope))
    return session.plan({scope: Policy.empty().grant("system", "ExternalTable") for scope in (FIRST, SECOND)})


class Faulty:
    """A connection on which the writes to one scope meet a fault."""

    def __init__(self, behind: Connection, scope: Scope, fault: Fault) -> None:
        self.behind, self.scope, self.fault = behind, scope, fault

    def execute(self, text: str, database: str | None = None, *, timeout: float | None = None) -> Table:
        command = commands.read(text)
        if command and command.scope == self.scope and command.verb != "show":
            return self.fault(self.behind, text)
        return self.behind.execute(text, database, timeout=timeout)

    def close(self) -> None:
        pass


def refused(_: Connection, __: str) -> Table:
    raise ServiceError("No.", status=400)


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


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(refused, "partly applied"), (never_sent, "partly applied"), (request_lost, "unknown")],
)
def test_a_fault_in_the_second_step_is_told_as_it_is(session: Session, plan: Plan, fault: Fault, outcome: str) -> None:
    with pytest.raises(ApplyError, match="The 1 before it landed") as caught:
        apply_plan(Faulty(session.connection, SECOND, fault), plan)
    assert caught.value.outcome == outcome
    assert caught.value.steps[0].outcome == "applied"
    assert session.policy(FIRST) is not None
    assert session.policy(SECOND) is None


@pytest.mark.parametrize("fault", [answer_lost, gateway_gave_up])
def test_a_lost_answer_is_settled_by_reading_back(session: Session, plan: Plan, fault: Fault) -> None:
    assert apply_plan(Faulty(session.connection, FIRST, fault), plan).outcome == "applied"
    assert session.policy(FIRST) is not None
    assert session.policy(SECOND) is not None


@pytest.mark.parametrize(
    ("fault", "outcome"), [(refused, "not applied"), (never_sent, "not applied"), (request_lost, "unknown")]
)
def test_a_fault_in_the_first_step_stops_the_plan(session: Session, plan: Plan, fault: Fault, outcome: str) -> None:
    with pytest.raises(ApplyError) as caught:
        apply_plan(Faulty(session.connection, FIRST, fault), plan)
    assert caught.value.outcome == outcome
    assert len(caught.value.steps) == 1
    assert [session.policy(scope) for scope in (FIRST, SECOND)] == [None, None]


def test_a_policy_that_moved_on_is_not_overwritten(session: Session, plan: Plan) -> None:
    other = Policy.empty().grant("system", "SqlRequest")
    session.run(commands.alter(SECOND, other))
    with pytest.raises(ApplyError, match=r"changed since this plan was made: \+ system SqlRequest") as caught:
        session.apply(plan)
    assert caught.value.outcome == "not applied"
    assert session.policy(FIRST) is None
    left = session.policy(SECOND)
    assert left is not None
    assert left.grants == other.grants


def test_an_answer_that_is_not_what_was_planned_is_not_called_applied(session: Session, plan: Plan) -> None:
    def overtaken(behind: Connection, text: str) -> Table:
        behind.execute(commands.alter_merge(SECOND, Policy.empty().grant("system", "SqlRequest")))
        return behind.execute(text)

    with pytest.raises(ApplyError, match=r"not what the plan expected: \+ system SqlRequest"):
        apply_plan(Faulty(session.connection, SECOND, overtaken), plan)


def test_a_plan_with_nothing_to_do_sends_nothing(session: Session) -> None:
    def fail(_: Connection, __: str) -> Table:
        raise AssertionError("something was sent")

    empty = session.plan({FIRST: session.policy(FIRST)})
    assert apply_plan(Faulty(session.connection, FIRST, fail), empty).outcome == "applied"
