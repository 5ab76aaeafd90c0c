"""Tests that the caller, its origin and the size of a request are checked before the body is read."""

from typing import Any

import pytest

from kqlmi.local.http import handlers
from tests.local import raw

TOKENLESS: list[tuple[str, dict[str, str | None], int]] = [
    ("POST /v1/rest/mgmt", {"Authorization": None}, 401),
    ("POST /v2/rest/query", {"Authorization": "Bearer wrong"}, 401),
    ("POST /v1/rest/query", {"Authorization": None}, 401),
    ("PUT /subscriptions/x", {"Authorization": None}, 401),
    ("POST /v1/rest/ingest/D/T?streamFormat=csv", {"Authorization": None}, 401),
    ("POST /v1/rest/ingest/D/T?streamFormat=csv", {"Content_Encoding": "gzip"}, 400),
    ("POST /kqlmi-ingest/messages?sig=wrong", {}, 403),
    ("POST /kqlmi-ingest/messages?sig=%ed%a0%80", {}, 400),
    ("PUT /kqlmi-uploads/a.csv", {}, 403),
    ("DELETE /kqlmi-failed/messages/x?sig=wrong", {}, 403),
    ("POST /nowhere", {"Authorization": None}, 404),
    ("GET /v1/rest/auth/metadata", {"Authorization": None}, 413),
    ("POST /v1/rest/mgmt", {"Host": "evil.example"}, 403),
    ("POST /v1/rest/mgmt", {"Origin": "http://evil.example"}, 403),
    ("POST /v1/rest/mgmt", {"Content_Encoding": "gzip"}, 415),
]
TOO_LONG = [str(handlers.MAX_BODY + 1), str(1 << 62), "9" * 4000]


@pytest.mark.parametrize(("line", "headers", "status"), TOKENLESS)
def test_a_refused_request_is_refused_before_its_body_arrives(
    world: Any, line: str, headers: dict[str, str | None], status: int
) -> None:
    with raw.connect(world.url) as connection:
        connection.sendall(raw.head(world, line, Content_Length="1000", **headers))
        found, body = raw.answer(connection)
    assert (found, bool(body["error"]["code"])) == (status, True)


@pytest.mark.parametrize(("line", "headers"), [row[:2] for row in TOKENLESS if row[2] in {401, 404}])
def test_a_body_of_chunks_is_not_waited_for_without_a_token(
    world: Any, line: str, headers: dict[str, str | None]
) -> None:
    with raw.connect(world.url) as connection:
        connection.sendall(raw.head(world, line, Transfer_Encoding="chunked", **headers))
        assert raw.answer(connection)[0] in {401, 404}


@pytest.mark.parametrize("length", TOO_LONG)
def test_a_length_that_is_too_large_is_refused_before_the_body_arrives(world: Any, length: str) -> None:
    with raw.connect(world.url) as connection:
        connection.sendall(raw.head(world, Content_Length=length))
        assert raw.answer(connection)[0] == 413


def test_chunks_are_refused_as_soon_as_their_sum_is_too_large(world: Any) -> None:
    chunk = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    with raw.connect(world.url) as connection:
        connection.sendall(raw.head(world, Transfer_Encoding="chunked"))
        for _ in range(handlers.MAX_BODY // 65_536 + 1):
            connection.sendall(chunk)
        assert raw.answer(connection)[0] == 413


@pytest.mark.parametrize("headers", [{"Authorization": None}, {}], ids=["without a token", "too large"])
def test_the_rest_of_a_refused_body_is_not_read(world: Any, headers: dict[str, str | None]) -> None:
    with raw.connect(world.url) as connection:
        connection.sendall(raw.head(world, "POST /v1/rest/mgmt", Content_Length=str(1 << 40), **headers))
        assert raw.answer(connection)[0] in {401, 413}
        assert raw.is_closed_after(connection, 64 << 20)


def test_a_client_that_expects_100_continue_is_refused_instead(world: Any) -> None:
    with raw.connect(world.url) as connection:
        connection.sendall(raw.head(world, Authorization=None, Content_Length="10", Expect="100-continue"))
        assert raw.answer(connection)[0] == 401
        assert connection.recv(1) == b""


def test_a_connection_survives_a_refusal_whose_body_arrived(world: Any) -> None:
    with raw.connect(world.url) as connection:
        for _ in range(2):
            connection.sendall(raw.head(world, Authorization=None, Content_Length="5") + b"12345")
            assert raw.answer(connection)[0] == 401


def test_a_method_that_no_endpoint_supports_is_405(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    for method in ("PUT", "HEAD", "OPTIONS", "BREW"):
        with raw.connect(world.url) as connection:
            connection.sendall(raw.head(world, f"{method} /v1/rest/mgmt", Content_Length="2") + b"{}")
            assert connection.recv(12) == b"HTTP/1.1 405"
    assert not caplog.records
