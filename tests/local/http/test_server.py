import http.client
import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from azure.kusto.data._cloud_settings import CloudSettings
from azure.kusto.data.exceptions import KustoServiceError
from azure.kusto.data.helpers import dataframe_from_result_table

from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local.cluster import LocalCluster


def send(cluster: Any, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, Any]:
    """Send a request exactly as given, and return its status, JSON and headers."""
    connection = http.client.HTTPConnection(urlsplit(cluster.url).netloc, timeout=30)
    try:
        given = {
            "Authorization": f"Bearer {cluster.token}",
            **{name.replace("_", "-"): v for name, v in headers.items()},
        }
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, {name: value for name, value in given.items() if value})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def mgmt(cluster: Any, text: str = ".show version", **headers: str) -> tuple[int, Any, Any]:
    return send(cluster, "POST", "/v1/rest/mgmt", {"db": None, "csl": text}, **headers)


def test_no_repr_and_no_log_shows_a_token(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    with local.start(databases=["D"]) as cluster:
        viewer = cluster.token_for("viewer")
        mgmt(cluster)
        mgmt(cluster, Authorization=f"Bearer {viewer}")
        mgmt(cluster, ".nonsense")
        send(cluster, "PUT", "/v1/rest/mgmt", b"")
        shown = (
            repr(cluster) + str(vars(cluster).keys()) + repr(cluster._state) + caplog.text + "".join(capfd.readouterr())
        )
        assert cluster.token not in shown
        assert viewer not in shown


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x"])
def test_nothing_is_revealed_without_the_token(world: Any, authorization: str) -> None:
    status, body, headers = mgmt(world, Authorization=authorization.format(token=world.token))
    assert (status, body["error"]["code"]) == (401, "Unauthorized")
    assert headers["WWW-Authenticate"].startswith("Bearer ")
    assert world.token not in json.dumps(body)


def test_the_real_client_reports_401(world: Any) -> None:
    builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(world.url, "wrong")
    with KustoClient(builder) as client, pytest.raises(KustoServiceError, match="401"):
        client.execute_mgmt("Samples", ".show version")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}"])
def test_another_host_name_is_refused(world: Any, host: str) -> None:
    status, body, _ = mgmt(world, Host=host.format(port=urlsplit(world.url).port))
    assert (status, body["error"]["code"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://evil.example", 403),
        ("null", 403),
        ("https://127.0.0.1:{port}", 403),
        ("http://127.0.0.1:1", 403),
        ("http://127.0.0.1:{port}", 200),
        ("http://localhost:{port}", 200),
    ],
)
def test_a_page_of_another_origin_is_refused(world: Any, origin: str, expected: int) -> None:
    assert mgmt(world, Origin=origin.format(port=urlsplit(world.url).port))[0] == expected


def test_localhost_is_accepted_as_a_host_name(world: Any) -> None:
    assert mgmt(world, Host=f"localhost:{urlsplit(world.url).port}")[0] == 200


def test_a_compressed_body_is_refused(world: Any) -> None:
    assert mgmt(world, Content_Encoding="gzip")[0] == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", {}, {"csl": 1}, {"csl": "print 1", "db": 5}, {"csl": "x", "properties": "{"}, b"\xff"],
)
def test_a_body_that_is_not_a_request_is_400(world: Any, body: object) -> None:
    status, answer, _ = send(world, "POST", "/v2/rest/query", body)
    assert (status, answer["error"]["code"]) == (400, "BadRequest")


def test_an_unpaired_surrogate_is_400(world: Any) -> None:
    assert send(world, "POST", "/v2/rest/query", b'{"csl": "print \'\\ud800\'"}')[0] == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/v1/rest/other"), ("GET", "/v1/rest/mgmt")])
def test_another_endpoint_is_404(world: Any, method: str, path: str) -> None:
    status, body, _ = send(world, method, path)
    assert (status, body["error"]["code"]) == (404, "NotFound")


def test_another_method_is_405_in_the_same_shape(world: Any) -> None:
    status, body, _ = send(world, "PUT", "/v1/rest/mgmt", b"")
    assert (status, body["error"]["code"]) == (405, "MethodNotAllowed")


def test_an_error_has_all_parts_and_the_ids_are_echoed(world: Any) -> None:
    status, body, headers = mgmt(world, ".nonsense", x_ms_client_request_id="me;1")
    error = body["error"]
    assert status == 400
    assert {"code", "message", "@type", "@message", "@context", "@permanent", "innererror"} == set(error)
    assert error["@context"]["clientRequestId"] == headers["x-ms-client-request-id"] == "me;1"
    assert error["@context"]["activityId"] == headers["x-ms-activity-id"]
    assert error["@permanent"] is True


@pytest.mark.parametrize("wrap", [lambda value: value, json.dumps])
def test_properties_may_be_text_or_an_object(world: Any, wrap: Any) -> None:
    properties = wrap({"Options": {"request_readonly": True}})
    body = {"db": "Samples", "csl": ".delete cluster policy managed_identity", "properties": properties}
    status, answer, _ = send(world, "POST", "/v1/rest/mgmt", body)
    assert (status, "request_readonly" in answer["error"]["@message"]) == (400, True)


@pytest.mark.parametrize("timeout", ["soon", 5, "1:2"])
def test_a_servertimeout_that_is_not_a_timespan_is_400(world: Any, timeout: object) -> None:
    body = {"db": "Samples", "csl": "print 1", "properties": {"Options": {"servertimeout": timeout}}}
    status, answer, _ = send(world, "POST", "/v2/rest/query", body)
    assert (status, "servertimeout" in answer["error"]["@message"]) == (400, True)


@pytest.mark.parametrize("timeout", ["0:02:00", "1 day, 0:00:00", "2 days, 1:00:00.5", "1.00:00:00"])
def test_a_servertimeout_may_be_in_python_or_kusto_notation(world: Any, timeout: str) -> None:
    body = {"db": "Samples", "csl": "print 1", "properties": {"Options": {"servertimeout": timeout}}}
    assert send(world, "POST", "/v2/rest/query", body)[0] == 200


def test_the_read_only_header_is_honoured(world: Any) -> None:
    assert mgmt(world, ".delete cluster policy managed_identity", x_ms_readonly="true")[0] == 400


def test_the_three_endpoints_answer_in_their_shapes(world: Any) -> None:
    text = "print b = true, d = dynamic({'a': 1}), t = 1d, n = int(null)"
    body = {"db": "Samples", "csl": text}
    _, v1, _ = send(world, "POST", "/v1/rest/query", body)
    (table,) = v1["Tables"]
    assert table["Rows"] == [[1, '{"a":1}', "1.00:00:00", None]]
    assert [column["ColumnType"] for column in table["Columns"]] == ["bool", "dynamic", "timespan", "int"]
    assert [column["DataType"] for column in table["Columns"]] == ["SByte", "Object", "TimeSpan", "Int32"]
    _, v2, _ = send(world, "POST", "/v2/rest/query", body)
    assert [frame["FrameType"] for frame in v2] == ["DataSetHeader", *["DataTable"] * 3, "DataSetCompletion"]
    assert [*v2[2]][1:] == ["TableId", "TableKind", "TableName", "Columns", "Rows"]
    assert v2[2]["Rows"] == [[True, {"a": 1}, "1.00:00:00", None]]
    _, got, _ = send(world, "GET", f"/v2/rest/query?db=Samples&csl={quote(text)}")
    assert got[2]["Rows"] == v2[2]["Rows"]


def test_the_streaming_client_reads_the_answer(reader: Any) -> None:
    table = next(reader.sdk.execute_streaming_query("Samples", "StormEvents | take 3").iter_primary_results())
    assert len(list(table)) == 3


@pytest.mark.filterwarnings("ignore:The copy keyword is deprecated")  # the client's helper under pandas 3
def test_results_become_data_frames(reader: Any) -> None:
    for response in (
        reader.sdk.execute_mgmt("Samples", ".show version"),
        reader.sdk.execute_mgmt("Samples", ".show queries"),
        reader.sdk.execute_query("Telemetry", "DeviceReadings"),
    ):
        table = response.primary_results[0]
        assert list(dataframe_from_result_table(table).columns) == [column.column_name for column in table.columns]


def test_streaming_ingestion_is_refused_as_unsupported_in_any_encoding(world: Any) -> None:
    for more in ({}, {"Content_Encoding": "gzip"}):
        status, body, _ = send(world, "POST", "/v1/rest/ingest/Samples/T?streamFormat=csv", b"x,1\n", **more)
        assert (status, body["error"]["@message"].partition(": ")[2]) == (
            400,
            "the local cluster does not support streaming ingestion",
        )
    assert send(world, "POST", "/v1/rest/ingest/Samples/T", b"x", Authorization="")[0] == 401


def test_sign_in_metadata_is_that_of_the_public_cloud(world: Any) -> None:
    assert CloudSettings.get_cloud_info_for_cluster(world.url) == CloudSettings.DEFAULT_CLOUD


def test_sign_in_metadata_is_open_and_a_credential_works(world: Any) -> None:
    status, body, _ = send(world, "GET", "/v1/rest/auth/metadata", Authorization="")
    assert (status, len(body["AzureAD"])) == (200, 6)

    class Credential:
        def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
            return AccessToken(world.token, 2**31)

        def close(self) -> None:
            """Do nothing; the client calls this."""

    builder = KustoConnectionStringBuilder.with_azure_token_credential(world.url, Credential())
    with KustoClient(builder) as client:
        assert client.execute_mgmt("Samples", ".show version").primary_results[0].rows_count == 1


def on_a_port_of_its_own() -> LocalCluster:
    """Start a cluster on a port outside the ephemeral range, so that no other process takes it in the meantime."""
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with suppress(InputError):
            return local.start(databases=["D"], port=port)
    raise AssertionError("no port is free")


def test_stop_releases_the_port_ends_what_runs_and_may_be_called_twice() -> None:
    cluster = on_a_port_of_its_own()
    host, port = urlsplit(cluster.url).hostname, urlsplit(cluster.url).port
    cluster.stop()
    cluster.stop()
    assert "stopped" in repr(cluster)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))
    with local.start(databases=["D"], port=port or 0) as again:
        assert urlsplit(again.url).port == port


def test_the_package_is_light_and_the_engine_comes_with_the_first_query() -> None:
    heavy = "{'tornado', 'duckdb', 'duckdb_kql', 'pandas', 'azure'} & set(sys.modules)"
    code = (
        "import sys, json, urllib.request\n"
        "from kqlmi import local\n"
        f"assert not {heavy}, {heavy}\n"
        "cluster = local.start()\n"
        "def send(text):\n"
        "    body = json.dumps({'db': None, 'csl': text}).encode()\n"
        "    headers = {'Authorization': 'Bearer ' + cluster.token}\n"
        "    request = urllib.request.Request(cluster.url + '/v1/rest/mgmt', body, headers)\n"
        "    urllib.request.urlopen(request).close()\n"
        "send('.show databases')\n"
        "assert 'duckdb' not in sys.modules\n"
        "send('.show databases | count')\n"
        "assert 'duckdb' in sys.modules\n"
        "print('left open')\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("left open\n", "", 0)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"csl": "print 1", "db": "\\ud800"}',
        b'{"csl": "print 1", "properties": {"Options": {"a": 1e999}}}',
        b'{"csl": "print 1", "properties": {"Options": {"a": NaN}}}',
        b'{"csl": "print 1", "properties": "{\\"Options\\": {\\"a\\": \\"\\\\ud800\\"}}"}',
        b'{"csl": "print 1", "properties": {"Options": {"a": ' + b"1" * 5000 + b"}}}",
        b'{"csl": "print 1", "properties": {"Options": {"servertimeout": "' + b"1" * 5000 + b'.00:00:01"}}}',
    ],
)
def test_a_body_that_python_cannot_read_is_400_and_breaks_nothing_after_it(
    world: Any, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert send(world, "POST", "/v2/rest/query", body)[0] == 400
    assert mgmt(world, ".show queries | count")[0] == 200
    assert not caplog.records
