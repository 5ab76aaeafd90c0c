"""Tests of what an error proves: only Kusto's own refusal, or a request that was never sent, proves that nothing happened."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.faults.refusals import nothing_happened
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.credentials import sign_in
from kqlmi.errors import (
    AnswerError,
    ConnectionFailedError,
    ForbiddenError,
    KqlmiError,
    RequestTimeoutError,
    ServiceError,
    UnauthorizedError,
)
from tests.cluster.service import Service, one_api, serve
from tests.standins.serving import Answer as Served
from tests.standins.serving import certify, talker
from tests.standins.serving import serve as serve_tls

WRITE = ".alter cluster policy managed_identity '[]'"
PAGE = b"<html><title>Blocked</title></html>"
AT_ONCE = Retrying(Patience(attempts=1))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serve() as started:
        yield started


@pytest.fixture(scope="module")
def connection(service: Service) -> Iterator[KustoConnection]:
    with closing(KustoConnection(Target(service.url, sign_in("none")), timeout=5, retrying=AT_ONCE)) as made:
        yield made


def raised(connection: KustoConnection, text: str = WRITE, **options: Any) -> KqlmiError:
    with pytest.raises(KqlmiError) as caught:
        connection.execute(text, **options)
    return caught.value


STATUSES = (302, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 429, 431, 451, 500, 502, 503, 504, 520)
BODIES: dict[str, Any] = {
    "page": PAGE,
    "empty": b"",
    "text": b"No entry.",
    "denied": {"error": "denied"},
    "Message": {"Message": "No entry."},
    "of another API": {"error": {"code": "Forbidden", "message": "No entry."}},
    "without a code": {"error": {"@type": "Some.Exception", "message": "No entry."}},
    "a list": [{"error": {"code": "a", "@type": "b"}}],
    "null": b"null",
}


@pytest.mark.parametrize(("status", "body"), [*itertools.product(STATUSES, BODIES)])
def test_an_error_that_kusto_did_not_write_proves_nothing(
    service: Service, connection: KustoConnection, status: int, body: str
) -> None:
    service.answer(status, BODIES[body])
    error = raised(connection)
    assert isinstance(error, ServiceError)
    assert not nothing_happened(error)
    assert not isinstance(error, ForbiddenError | UnauthorizedError)
    assert (error.status, "Check before you send it again" in error.hint) == (status, True)
    assert "{" not in error.message
    assert "<" not in error.message


@pytest.mark.parametrize("status", STATUSES)
def test_kustos_own_error_proves_that_nothing_happened_if_its_status_is_a_refusal(
    service: Service, connection: KustoConnection, status: int
) -> None:
    service.answer(status, one_api("No."))
    error = raised(connection)
    assert nothing_happened(error) is (400 <= status < 500)
    assert ("may have been run" in error.hint) is not (400 <= status < 500)


def test_a_401_that_requests_a_bearer_token_is_from_the_service(service: Service, connection: KustoConnection) -> None:
    service.answer(401, b"", WWW_Authenticate='Bearer authorization_uri="https://login.example"')
    error = raised(connection)
    assert isinstance(error, UnauthorizedError)
    assert nothing_happened(error)
    service.answer(401, b"", WWW_Authenticate="Basic realm=proxy")
    assert not isinstance(raised(connection), UnauthorizedError)


@pytest.mark.parametrize(
    "body",
    [
        {"error": "No entry."},
        {"Message": "No entry."},
        {"message": "No entry."},
        {"error": {"message": "No entry."}},
        {"error": {"code": "x", "innererror": {}}, "error_description": "No  entry."},
        {"errors": [{"code": 7, "detail": "No entry."}]},
        {"fault": {"faultstring": "No entry."}},
        [{"title": "No entry."}],
    ],
)
def test_a_json_error_of_any_shape_shows_its_message(service: Service, connection: KustoConnection, body: Any) -> None:
    service.answer(403, body)
    error = raised(connection, ".show databases")
    assert error.message.endswith("returned status 403 without a Kusto error: No entry.")
    assert "role" not in error.hint


@pytest.mark.parametrize("body", [PAGE, b"{}", b'{"Tables": []}', b"[]", b"1", b'{"Tables": [{}]}', b"null", b'"x"'])
def test_a_success_without_a_valid_answer_proves_nothing(
    service: Service, connection: KustoConnection, body: bytes
) -> None:
    service.answer(200, body)
    error = raised(connection)
    assert isinstance(error, AnswerError)
    assert not nothing_happened(error)


def never_sent(error: KqlmiError, says: str) -> None:
    assert isinstance(error, ConnectionFailedError)
    assert nothing_happened(error)
    assert "Nothing was sent." in error.message
    assert says in error.message


def connected(url: str) -> KustoConnection:
    return KustoConnection(Target(url, sign_in("none")), timeout=5, retrying=AT_ONCE)


def test_a_certificate_that_is_not_trusted_is_named_and_nothing_was_sent(tmp_path: Path) -> None:
    asked: list[object] = []

    def answer(request: object) -> Served:
        asked.append(request)
        return Served(200, {})

    with (
        serve_tls(answer, certify(tmp_path).tls) as port,
        closing(connected(f"https://127.0.0.1:{port}")) as connection,
    ):
        error = raised(connection)
    never_sent(error, "from 'CN=a CA of the tests'")
    assert "is not trusted: " in error.message
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert asked == []


@pytest.mark.parametrize(
    ("status", "says", "lasting"),
    [
        ("403 Blocked by policy", "403 Blocked by policy", True),
        ("407 Proxy Authentication Required", "407", True),
        ("503 Busy", "503", False),
    ],
)
def test_a_proxy_that_refuses_to_connect_is_named_with_its_status(
    monkeypatch: pytest.MonkeyPatch, status: str, says: str, lasting: bool  # noqa: FBT001
) -> None:  # fmt: skip
    def refuse(there: socket.socket) -> None:
        there.recv(65_536)
        there.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    with talker(refuse) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "")
        with closing(connected("https://cluster.invalid")) as connection:
            error = raised(connection)
    never_sent(error, f"because the proxy refuses the connection with {says}")
    assert isinstance(error, ConnectionFailedError)
    assert error.lasting is lasting
    assert "HTTPS_PROXY" in error.hint


def test_an_unreachable_proxy_is_distinguished_from_an_unreachable_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        with closing(connected("https://cluster.invalid")) as connection:
            never_sent(raised(connection), "the proxy cannot be reached")


def test_a_server_without_tls_received_nothing() -> None:
    with (
        talker(lambda there: there.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as port,
        closing(connected(f"https://127.0.0.1:{port}")) as connection,
    ):
        never_sent(raised(connection), "because TLS failed")


def test_a_refused_connection_and_an_unknown_host_received_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with closing(connected(f"http://127.0.0.1:{free.getsockname()[1]}")) as connection:
            never_sent(raised(connection), "because it refuses connections")
    monkeypatch.setenv("NO_PROXY", "*")
    with closing(connected("https://no.invalid")) as connection:
        never_sent(raised(connection), "because its name cannot be resolved")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "begins", [b"HTTP/1.1 200 OK\r\nX: ", HEAD + b"Content-Length: 9999\r\n\r\n", HEAD + b"\r\n"],
    ids=["within the headers", "within the body", "within a body without length"],
)  # fmt: skip
def test_a_server_that_drips_does_not_exceed_the_timeout_of_the_request(
    monkeypatch: pytest.MonkeyPatch, begins: bytes
) -> None:
    over = threading.Event()

    def drip(there: socket.socket) -> None:
        there.recv(65_536)
        there.sendall(begins)
        while not over.wait(0.05):
            there.sendall(b" ")

    with talker(drip) as port, closing(connected(f"http://127.0.0.1:{port}")) as connection:
        # Half a second instead of five; the socket's own timeout, which restarts with each byte, is longer.
        monkeypatch.setattr("kqlmi.cluster.connection._GRACE", timedelta(seconds=-4.5))
        try:
            error = raised(connection)
        finally:
            over.set()
    assert isinstance(error, RequestTimeoutError)
    assert error.sent
    assert "Check before you send it again" in error.hint
