"""Tests of which requests are sent again, counted by the receiving server; no wait really waits."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from kqlmi.apply.sender import Sender
from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.faults.retries import Patience, Retrying, grants_role
from kqlmi.cluster.policies import read_policies
from kqlmi.credentials import sign_in
from kqlmi.errors import (
    ConnectionFailedError,
    ForbiddenError,
    KqlmiError,
    RequestInterruptedError,
    ServiceError,
    ThrottledError,
)
from kqlmi.model.entities import Scope
from kqlmi.model.statement import Statement
from tests.cluster.service import RESET, Answer, Service, one_api, serve, v1

READ, WRITE = ".show databases", ".drop table T"
GRANT = ".add database D admins ('aadapp=a')"
GOOD = Answer(body=v1([["a"]], "DatabaseName"))
THROTTLED = Answer(429, one_api("Too many.", "TooManyRequests"))
GATEWAY = Answer(503, b"<html>Busy</html>")
FORBIDDEN = Answer(403, one_api("No.", "Forbidden"))


class Waits:
    """The waits of a connection, and the messages before them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.reported: list[str] = []

    def retrying(self) -> Retrying:
        return Retrying(Patience(sleep=self.seconds.append), self.reported.append)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def connection(service: Service, waits: Waits) -> Iterator[KustoConnection]:
    target = Target(service.url, sign_in("none"))
    with closing(KustoConnection(target, timeout=100, retrying=waits.retrying())) as made:
        yield made


@pytest.mark.parametrize(
    "answer",
    [
        THROTTLED,
        Answer(429, b"<html>Slow down</html>"),
        Answer(429, one_api("Too many."), {"Retry-After": "7"}),
        GATEWAY,
        Answer(502, b""),
        Answer(504, b"<html>Gateway</html>"),
        RESET,
    ],
    ids=["429", "429 of a gateway", "429 with a wait", "503", "502", "504 of a gateway", "reset"],
)
def test_a_read_is_retried_after_a_transient_error(
    service: Service, connection: KustoConnection, answer: Answer
) -> None:
    service.answers = [answer, answer, GOOD]
    assert connection.execute(READ).rows == (["a"],)
    assert service.texts == [READ] * 3
    assert len({headers["x-ms-client-request-id"] for _, _, headers in service.asked}) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, one_api("Wrong.")),
        FORBIDDEN,
        Answer(401, b""),
        Answer(500, one_api("Broken.")),
        Answer(503, one_api("For good.")),
        Answer(504, one_api("Query is expired.", "GatewayTimeout")),
        Answer(200, b"<html>Sign in to the guest network</html>"),
    ],
    ids=["400", "403", "401", "500", "503 for good", "504 of Kusto", "no answer of Kusto"],
)
def test_a_read_is_not_retried_after_a_permanent_error(
    service: Service, connection: KustoConnection, waits: Waits, answer: Answer
) -> None:
    service.answers = [answer, GOOD]
    with pytest.raises(ServiceError, match="kqlmi;"):
        connection.execute(READ)
    assert (service.texts, waits.seconds) == ([READ], [])


@pytest.mark.parametrize(
    "answer",
    [RESET, GATEWAY, Answer(429, b"<html>Slow down</html>"), Answer(408, b""), Answer(500, one_api("Broken."))],
    ids=["reset", "503", "429 of a gateway", "408 of a gateway", "500"],
)
def test_a_write_that_may_have_landed_is_never_sent_twice(
    service: Service, connection: KustoConnection, answer: Answer
) -> None:
    service.answers = [answer, GOOD]
    with pytest.raises(KqlmiError, match="kqlmi;"):
        connection.execute(WRITE)
    assert service.texts == [WRITE]


def test_a_write_that_the_service_reports_as_not_run_is_sent_again(
    service: Service, connection: KustoConnection
) -> None:
    service.answers = [THROTTLED, THROTTLED, GOOD]
    assert connection.execute(WRITE).rows == (["a"],)
    assert service.texts == [WRITE] * 3


def test_a_policy_command_is_retried_only_by_code_that_checks_the_policy_first(
    service: Service, connection: KustoConnection
) -> None:
    service.answers = [THROTTLED, GOOD]
    with pytest.raises(ThrottledError):
        connection.execute(".delete cluster policy managed_identity")
    assert len(service.asked) == 1


def test_an_interrupt_while_a_policy_command_waits_reports_that_nothing_changed(
    service: Service, connection: KustoConnection
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    service.answers = [THROTTLED, GOOD]
    text, retrying = Statement(".delete cluster policy managed_identity"), Retrying(Patience(sleep=interrupt))
    with pytest.raises(RequestInterruptedError, match="was not run") as caught:
        Sender(connection, text, None, 100, retrying, retrying.tell).send_unrecorded()
    assert not caught.value.sent
    assert service.texts == [text]


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A port on which nothing listens, reserved so that no other process uses it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def at(held: socket.socket) -> Target:
    return Target(f"http://127.0.0.1:{held.getsockname()[1]}", sign_in("none"))


@pytest.mark.parametrize("text", [READ, WRITE])
def test_a_request_that_was_never_sent_is_sent_when_the_cluster_is_back(text: str, held: socket.socket) -> None:
    back = []

    def start(_: float) -> None:
        back.append(running.enter_context(serve(held)))
        back[0].answers = [GOOD]

    with (
        ExitStack() as running,
        closing(KustoConnection(at(held), retrying=Retrying(Patience(sleep=start)))) as made,
    ):
        assert made.execute(text).rows == (["a"],)
    assert back[0].texts == [text]


def test_a_host_that_stays_away_is_tried_a_few_times_and_was_not_sent_to(waits: Waits, held: socket.socket) -> None:
    with (
        closing(KustoConnection(at(held), retrying=waits.retrying())) as made,
        pytest.raises(ConnectionFailedError, match="cannot be reached") as caught,
    ):
        made.execute(WRITE)
    assert caught.value.sent is False
    assert "kqlmi;" not in str(caught.value)
    assert len(waits.seconds) == Patience().attempts - 1


def test_a_host_that_does_not_exist_is_not_waited_for(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    target = Target("https://no.invalid", sign_in("none"))
    with (
        closing(KustoConnection(target, retrying=waits.retrying())) as made,
        pytest.raises(ConnectionFailedError, match="cannot be reached"),
    ):
        made.execute(READ)
    assert waits.seconds == []


def test_waits_grow_and_the_last_failure_is_the_error(
    service: Service, connection: KustoConnection, waits: Waits
) -> None:
    service.answers = [GATEWAY]
    with pytest.raises(ServiceError) as caught:
        connection.execute(READ)
    assert caught.value.status == 503
    assert len(service.asked) == Patience().attempts
    assert all(
        Patience().first * 2**n <= seconds <= Patience().first * (2**n + 1) for n, seconds in enumerate(waits.seconds)
    )


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("wait", [lambda: "7", lambda: in_seconds(8)], ids=["seconds", "date"])
def test_the_wait_that_the_cluster_requests_is_kept_and_reported(
    service: Service, connection: KustoConnection, waits: Waits, wait: Callable[[], str]
) -> None:
    service.answers = [Answer(429, one_api("Too many."), {"Retry-After": wait()}), GOOD]
    connection.execute(READ)
    [seconds] = waits.seconds
    assert 6 <= seconds <= 8 + Patience().first
    assert waits.reported == [f"The cluster is busy. Trying again in {seconds:.0f} s…"]


@pytest.mark.parametrize("wait", ["61", "3000", in_seconds(9000)], ids=["a minute", "an hour", "date"])
def test_a_wait_that_is_too_long_is_left_to_the_user(
    service: Service, connection: KustoConnection, waits: Waits, wait: str
) -> None:
    service.answers = [Answer(429, one_api("Too many."), {"Retry-After": wait}), GOOD]
    with pytest.raises(ThrottledError, match="Try again in"):
        connection.execute(READ)
    assert (len(service.asked), waits.seconds) == (1, [])


@pytest.mark.parametrize("wait", ["soon", "-1", "", "1e9"])
def test_an_invalid_wait_is_ignored(service: Service, connection: KustoConnection, waits: Waits, wait: str) -> None:
    service.answers = [Answer(429, one_api("Too many."), {"Retry-After": wait}), GOOD]
    connection.execute(READ)
    assert len(waits.seconds) == 1
    assert waits.seconds[0] < 1


def test_all_attempts_fit_into_the_timeout(service: Service, connection: KustoConnection, waits: Waits) -> None:
    service.answers = [Answer(429, one_api("Too many."), {"Retry-After": "7"}), GOOD]
    with pytest.raises(ThrottledError):
        connection.execute(READ, timeout=5)
    assert (len(service.asked), waits.seconds) == (1, [])


def test_a_refusal_after_a_role_was_granted_is_retried_and_explained(
    service: Service, connection: KustoConnection, waits: Waits
) -> None:
    service.answers = [GOOD, FORBIDDEN, FORBIDDEN, GOOD]
    connection.execute(GRANT)
    assert connection.execute(READ).rows == (["a"],)
    assert waits.seconds == [Patience().role_wait] * 2
    assert "role that was granted a moment ago" in waits.reported[0]


def test_a_refusal_that_a_fresh_role_does_not_end_is_retried_once(
    service: Service, connection: KustoConnection, waits: Waits
) -> None:
    service.answers = [GOOD, FORBIDDEN]
    connection.execute(GRANT)
    for _ in range(2):
        with pytest.raises(ForbiddenError, match="granted just now can take minutes to take effect"):
            connection.execute(READ)
    assert len(waits.seconds) == Patience().role_attempts
    assert len(service.asked) == 1 + Patience().role_attempts + 1 + 1


def test_a_role_that_was_refused_or_granted_long_ago_causes_no_retry(service: Service) -> None:
    service.answers = [FORBIDDEN, FORBIDDEN, GOOD, FORBIDDEN]
    waited: list[float] = []
    patience = Patience(fresh=0, sleep=waited.append)
    with closing(KustoConnection(Target(service.url, sign_in("none")), retrying=Retrying(patience))) as made:
        for text in (GRANT, READ, GRANT, READ):
            if text == GRANT and len(service.asked) == 2:
                made.execute(text)
                continue
            with pytest.raises(ForbiddenError):
                made.execute(text)
    assert waited == []


@pytest.mark.parametrize(
    ("text", "grants"),
    [
        (GRANT, True),
        ("// a role\n.add  database ['My D'] viewers ('aaduser=x') 'note'", True),
        (".set database D users ('aaduser=x')", True),
        (".add cluster AllDatabasesViewer ('aadapp=a')", True),
        (".add external table E admins ('aadapp=a')", True),
        (".drop database D admins ('aadapp=a')", False),
        (".set users <| print 1", False),
        (".set-or-append users <| viewers", False),
        (".show database D principals", False),
        ("print '.add database D admins'", False),
    ],
)
def test_a_command_that_grants_a_role_is_recognised_by_its_words(text: str, grants: bool) -> None:  # noqa: FBT001
    assert grants_role(Statement(text)) is grants


SCOPES = [Scope.cluster(), *(Scope.database(f"D{place}") for place in range(20))]
POLICY = Answer(body=v1([["", "null"]], "EntityName", "Policy"))


def test_a_scope_that_does_not_answer_does_not_fail_the_others(service: Service) -> None:
    target = Target(service.url, sign_in("none"))
    with closing(KustoConnection(target, retrying=Retrying(Patience(attempts=1)))) as made:
        service.answers = [POLICY, RESET, GATEWAY, THROTTLED, POLICY]
        seen: list[int] = []
        found = read_policies(made, SCOPES, lambda done, total, _: seen.append(done * 100 + total))
    assert len(found.refused) == 3
    assert {type(error) for error in found.refused.values()} == {ConnectionFailedError, ServiceError, ThrottledError}
    assert len(found.snapshot.policies) == len(SCOPES) - 3
    assert seen == [done * 100 + len(SCOPES) for done in range(1, len(SCOPES) + 1)]
    with pytest.raises(ConnectionFailedError):
        _ = found.permitted


def test_if_no_scope_answers_reading_ends_soon(service: Service) -> None:
    service.answers = [RESET]
    target = Target(service.url, sign_in("none"))
    many = [Scope.database(f"D{place}") for place in range(200)]
    with (
        closing(KustoConnection(target, retrying=Retrying(Patience(attempts=1)))) as made,
        pytest.raises(ConnectionFailedError),
    ):
        read_policies(made, many)
    assert len(service.asked) < 100
