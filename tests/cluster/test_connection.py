"""Tests of the real SDK against an HTTP server on loopback that sends prepared answers."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import kqlmi
from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.cluster.policies import policy_of
from kqlmi.credentials import SignIn, sign_in
from kqlmi.errors import (
    ConnectionFailedError,
    EndpointNotFoundError,
    ForbiddenError,
    InputError,
    NotConnectedError,
    RequestTimeoutError,
    ServiceError,
    SignInError,
    ThrottledError,
    UnauthorizedError,
)
from kqlmi.model.statement import Statement

from .service import RESET, Service, one_api, v1, v2

TOKEN = "secret-token-0123456789"  # noqa: S105 - planted, to be looked for
AT_ONCE = Retrying(Patience(sleep=lambda _: None))


@pytest.fixture
def connection(service: Service) -> Iterator[KustoConnection]:
    with closing(KustoConnection(Target(service.url, sign_in(token=TOKEN)), timeout=5, retrying=AT_ONCE)) as made:
        yield made


def test_the_first_token_after_comments_decides_and_the_text_is_sent_unchanged(
    service: Service, connection: KustoConnection
) -> None:
    service.answer(200, v1([["a"]], "DatabaseName"))
    text = "// about\n\n .show databases \n"
    assert connection.execute(text).rows == (["a"],)
    service.answer(200, v2([[1]]))
    connection.execute("// .show\nprint 1", "Sales")
    (mgmt, first, headers), (query, second, _) = service.asked
    assert (mgmt, first["csl"], first["db"]) == ("/v1/rest/mgmt", text, "NetDefaultDB")
    assert (query, second["db"]) == ("/v2/rest/query", "Sales")
    assert headers["x-ms-client-request-id"].startswith("kqlmi;")
    assert headers["x-ms-app"].startswith(f"Kusto.kqlmi:{{{kqlmi.__version__}}}")
    assert headers["x-ms-user"] == "[none]"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert json.loads(first["properties"])["Options"]["servertimeout"] == "0:00:05"


def test_a_read_only_connection_tells_the_service_that_it_is_read_only(service: Service) -> None:
    service.answer(200, v1([], "A"))
    with closing(KustoConnection(Target(service.url, sign_in("none")), read_only=True)) as connection:
        connection.execute(".show databases")
    assert json.loads(service.asked[0][1]["properties"])["Options"]["request_readonly"] is True


def test_the_values_of_parameters_are_sent_beside_the_text(service: Service, connection: KustoConnection) -> None:
    service.answer(200, v2([[1]]))
    text = "declare query_parameters(state:string, n:long, since:datetime);\nT | where State == state"
    connection.execute(Statement(text).bound({"state": "'; drop", "n": 5, "since": "2024-01-31"}))
    [(_, body, _)] = service.asked
    assert body["csl"] == text
    assert json.loads(body["properties"])["Parameters"] == {"state": "'; drop", "n": 5, "since": "datetime(2024-01-31)"}


def test_a_refusal_does_not_quote_the_value_of_a_parameter(service: Service, connection: KustoConnection) -> None:
    service.answer(400, one_api("Failed on 'PLANTED-hunter2'."))
    with pytest.raises(ServiceError) as caught:
        connection.execute(Statement("declare query_parameters(x:string);\nprint x").bound({"x": "PLANTED-hunter2"}))
    assert "PLANTED" not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("column", ["Policy", "Policies"])
def test_a_policy_is_read_from_either_column(service: Service, connection: KustoConnection, column: str) -> None:
    service.answer(200, v1([["Sales", "[]"]], "EntityName", column))
    policy = policy_of(connection.execute(".show database ['Sales'] policy managed_identity"))
    assert policy is not None
    assert policy.entries == ()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ServiceError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, EndpointNotFoundError),
        (500, ServiceError),
    ],
)
def test_an_error_of_the_service_keeps_its_message_and_codes(
    service: Service, connection: KustoConnection, status: int, kind: type[ServiceError]
) -> None:
    service.answer(status, one_api("Database 'x' was not found.", "BadRequest_DatabaseNotExist"))
    with pytest.raises(kind, match="Database 'x' was not found") as caught:
        connection.execute(".show databases")
    error = caught.value
    assert (error.code, error.status, error.permanent) == ("BadRequest_DatabaseNotExist", status, True)
    assert error.client_request_id == service.asked[0][2]["x-ms-client-request-id"]


def test_throttling_reports_when_to_try_again(service: Service, connection: KustoConnection) -> None:
    service.answer(429, one_api("Too many."), Retry_After="7")
    with pytest.raises(ThrottledError, match="Try again in 7 seconds") as caught:
        connection.execute(".show databases")
    assert (caught.value.retry_after, caught.value.permanent) == (7, False)


@pytest.mark.parametrize(
    "answer",
    [
        v2([[1]], HasErrors=True, OneApiErrors=[one_api("It broke in the end.")]),
        v2([[1]], [["kqlmi;1", 2, "It broke in the end."]]),
        v2([[1], {"OneApiErrors": [one_api("It broke in the end.")]}]),
    ],
    ids=["completion frame", "completion information", "row"],
)
def test_an_error_that_comes_late_is_an_error(service: Service, connection: KustoConnection, answer: Any) -> None:
    service.answer(200, answer)
    with pytest.raises(ServiceError, match="It broke in the end"):
        connection.execute("print 1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>Sign in to the guest network</html>"),
        (200, b'{"Tables": []}'),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"[" * 100_000),
        (200, json.dumps(v2([[1]])[:-1]).encode()),
        (200, json.dumps([{"FrameType": "DataSetHeader"}, {"FrameType": "TableFragment"}, *v2([[1]])]).encode()),
        (200, b'{"Tables": [{"TableName": "T"'),
        (400, b'{"message": "no error key"}'),
        (502, b"<html>Bad gateway</html>"),
        (503, b""),
        (302, b"moved"),
    ],
)
def test_an_answer_that_is_not_kustos_raises_a_kqlmi_error(
    service: Service, connection: KustoConnection, status: int, body: bytes
) -> None:
    service.answer(status, body)
    with pytest.raises(ServiceError) as caught:
        connection.execute(".show databases")
    assert TOKEN not in str(caught.value)


def test_an_unreachable_host_is_distinguished_from_a_lost_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with (
            closing(KustoConnection(Target(url, sign_in("none")), retrying=AT_ONCE)) as connection,
            pytest.raises(ConnectionFailedError, match="cannot be reached") as caught,
        ):
            connection.execute(".show databases")
    assert caught.value.sent is False


@pytest.mark.parametrize(
    ("text", "says"),
    [(".drop table T", "Check before you send it again"), (".show databases", r"changes nothing\. Try again")],
)
def test_a_truncated_answer_leaves_it_open_whether_the_command_ran(
    service: Service, connection: KustoConnection, text: str, says: str
) -> None:
    service.answers = [RESET]
    with pytest.raises(ConnectionFailedError, match=says) as caught:
        connection.execute(text)
    assert caught.value.sent is True


def test_a_silent_server_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kqlmi.cluster.connection._GRACE", __import__("datetime").timedelta(0))
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = Target(f"http://127.0.0.1:{server.getsockname()[1]}", sign_in("none"))
        with (
            closing(KustoConnection(target)) as connection,
            pytest.raises(RequestTimeoutError, match="did not respond within"),
        ):
            connection.execute(".show databases", timeout=1)


def test_a_sign_in_that_fails_names_its_way(service: Service) -> None:
    class Credential:
        def get_token(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("first line\nsecond line")

        def close(self) -> None:
            pass

    with (
        closing(KustoConnection(Target(service.url, sign_in(credential=Credential())))) as connection,
        pytest.raises(SignInError, match="Credential failed: first line"),
    ):
        connection.execute(".show databases")


def test_a_closed_connection_raises_an_error_that_says_so(service: Service) -> None:
    connection = KustoConnection(Target(service.url, sign_in("none")))
    connection.close()
    with pytest.raises(NotConnectedError, match="closed"):
        connection.execute(".show databases")


def test_a_token_never_goes_over_plain_http() -> None:
    with pytest.raises(InputError, match="over plain http"):
        KustoConnection(Target("http://example.invalid", sign_in(token=TOKEN)))


@pytest.mark.parametrize("url", ["ftp://x", "cluster", "https://"])
def test_text_that_is_not_a_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="not the URL of a cluster"):
        KustoConnection(Target(url, sign_in("none")))


@pytest.mark.parametrize("timeout", [0, -1, 86400, float("inf"), float("nan"), "5"])
def test_a_timeout_that_the_client_would_get_wrong_is_refused(timeout: float) -> None:
    target = Target("https://example.invalid", sign_in("none"))
    with pytest.raises(InputError, match="timeout"):
        KustoConnection(target, timeout=timeout)
    with closing(KustoConnection(target)) as connection, pytest.raises(InputError, match="timeout"):
        connection.execute("print 1", timeout=timeout)


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    service.answer(200, v1([], "A"))
    with closing(KustoConnection(Target(service.url, sign_in("none")))) as connection:
        assert connection.execute(".show databases").rows == ()


def test_no_repr_shows_a_token() -> None:
    assert TOKEN not in repr(SignIn("token", token=TOKEN))
    assert TOKEN not in repr(Target("https://example.invalid", SignIn("token", token=TOKEN)))
