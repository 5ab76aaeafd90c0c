"""Tests of the outcome of one sent text: if nothing happened, nothing is read back; if something may have, none is claimed."""

from typing import NoReturn

import pytest

from kqlmi.apply.sender import Sender
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.errors import ConnectionFailedError, InputError, KqlmiError, RequestTimeoutError, ServiceError
from kqlmi.model.entities import Scope
from kqlmi.model.plan.policy_plan import Step
from kqlmi.model.policy import commands
from kqlmi.model.policy.policy import Policy

SCOPE = Scope.cluster()


class Failing:
    """A connection on which every request ends with an error."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.texts = error, list[str]()

    def execute(self, text: str, *_: object, **__: object) -> NoReturn:
        self.texts.append(text)
        raise self.error

    def close(self) -> None:
        pass


def sender(connection: Failing) -> Sender:
    retrying = Retrying(Patience(sleep=lambda _: None))
    return Sender(connection, commands.delete(SCOPE), None, 0.01, retrying, lambda _: None)


REFUSED = ServiceError("No.", status=400, code="General_BadRequest", type_name="Some.Exception")
STEP = Step(SCOPE, "delete", commands.delete(SCOPE), Policy.empty(), None, ())
UNCHANGED = Step(SCOPE, "delete", commands.delete(SCOPE), None, None, ())


@pytest.mark.parametrize("error", [REFUSED, InputError("No."), ConnectionFailedError("Unreachable.", sent=False)])
def test_a_request_that_certainly_changed_nothing_is_not_read_back(error: KqlmiError) -> None:
    connection = Failing(error)
    one = sender(connection)
    with pytest.raises(type(error)):
        one.send()
    sent = len(connection.texts)
    assert not one.is_open
    assert one.settled(STEP, error).outcome == "not applied"
    assert len(connection.texts) == sent


def test_a_request_that_was_never_sent_changed_nothing() -> None:
    connection = Failing(REFUSED)
    assert sender(connection).settled(STEP, KeyboardInterrupt()).outcome == "not applied"
    assert connection.texts == []


@pytest.mark.parametrize("error", [RequestTimeoutError("Late."), ConnectionFailedError("Broke."), KeyboardInterrupt()])
def test_a_request_that_may_have_landed_is_read_back_and_is_unknown_if_that_fails(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kqlmi.cluster.outcome_recovery._AFTER_INTERRUPT", 0.01)
    connection = Failing(error)
    one = sender(connection)
    with pytest.raises(type(error)):
        one.send()
    assert one.is_open
    connection.error = ConnectionFailedError("Away.")
    found = one.settled(STEP, error)
    assert (found.outcome, found.client_request_id) == ("unknown", one.request)
    assert commands.show(SCOPE) in connection.texts


def test_a_step_that_changes_nothing_is_unknown_without_an_answer_and_nothing_is_read_for_it() -> None:
    connection = Failing(ConnectionFailedError("Broke."))
    one = sender(connection)
    with pytest.raises(ConnectionFailedError):
        one.send()
    assert one.settled(UNCHANGED, connection.error).outcome == "unknown"
    assert len(connection.texts) == 1
