"""Regression tests for defects that an adversarial review of identities, ingestion and kept states found."""

import base64
import gzip
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import IngestionProperties, QueuedIngestClient

import kqlmi
from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local.cluster import LocalCluster
from tests.local.flows.conftest import World
from tests.local.flows.supported import connect_hub, give_receiver
from tests.waiting import eventually


def count(cluster: LocalCluster, table: str = "T") -> int:
    with kqlmi.connect(cluster.url, token=cluster.token, database="D", history=False) as session:
        return int(session.run(f"{table} | count").rows[0][0])


def queue(cluster: LocalCluster, file: Path) -> None:
    builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(cluster.ingest_url, cluster.token)
    with QueuedIngestClient(builder) as client:
        client.ingest_from_file(str(file), IngestionProperties("D", "T", DataFormat.CSV))


def test_a_queued_file_is_ingested_once_however_often_the_cluster_starts(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("1\n2\n")
    with local.start(databases=["D"], path=tmp_path / "kept") as cluster:
        with kqlmi.connect(cluster.url, token=cluster.token, database="D", history=False) as session:
            session.run(".create table T (n: long)")
        queue(cluster, tmp_path / "f.csv")
        eventually(lambda: count(cluster) == 2)
    (tmp_path / "later.csv").write_text("3\n")
    for rows in (3, 4):
        with local.start(path=tmp_path / "kept") as cluster:
            queue(cluster, tmp_path / "later.csv")  # anything waiting is ingested before it
            eventually(lambda rows=rows: count(cluster) >= rows)  # type: ignore[misc]
            assert count(cluster) == rows
            eventually(lambda: list((tmp_path / "kept" / "uploads").iterdir()) == [])


def test_what_was_queued_before_a_stop_is_ingested_after_it(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("1\n2\n")
    with local.start(databases=["D"], path=tmp_path / "kept") as cluster:
        with kqlmi.connect(cluster.url, token=cluster.token, database="D", history=False) as session:
            session.run(".create table T (n: long)")
        assert cluster._server
        cluster._server._service._ingestor.stop()
        queue(cluster, tmp_path / "f.csv")
    with local.start(path=tmp_path / "kept") as cluster:
        eventually(lambda: count(cluster) == 2)


def test_a_stopped_cluster_writes_no_more(tmp_path: Path) -> None:
    first = local.start(databases=["D"], identities=["mine"], path=tmp_path)
    hub = first.hub("ns", "hub")
    first.stop()
    with local.start(path=tmp_path) as second:
        with kqlmi.connect(second.url, token=second.token, database="D", history=False) as session:
            session.run(".create table T (n: long)")
        hub.send(["late"])
        first.assign_role("x", "https://acct.blob.core.windows.net/data", "Owner")
    with local.start(path=tmp_path) as third:
        assert count(third) == 0


@pytest.mark.parametrize(
    "extra", [{"$decimal": "abc"}, {"$decimal": "7"}, {"$object": [1]}, {"a": {"$x": [1.5, None]}}]
)
def test_no_property_of_a_policy_is_taken_for_an_internal_marker(tmp_path: Path, extra: dict[str, Any]) -> None:
    entry = {"ObjectId": "system", "AllowedUsages": "All", "Extra": extra}
    show = ".show cluster policy managed_identity"
    with (
        local.start(databases=["D"], identities=["system"], path=tmp_path) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token, history=False) as session,
    ):
        session.run(f".alter cluster policy managed_identity '{json.dumps([entry])}'")
        before = session.run(show).rows
    with local.start(path=tmp_path) as cluster, kqlmi.connect(cluster.url, token=cluster.token) as session:
        assert session.run(show).rows == before


def test_an_unpaired_surrogate_is_refused_at_the_edge(here: World) -> None:
    with pytest.raises(InputError, match="surrogate"):
        here.cluster.hub("ns", "hub").send(["\ud800"])
    assert post(here, {"DatabaseName": "Samples", "TableName": "\ud800", "BlobPath": "x"}) == 400
    assert here.rows("print 1") == [[1]]


def post(here: World, message: Any, *, encoding: str = "utf-8", before: str = "") -> int:
    content = base64.b64encode(json.dumps(message).encode()).decode()
    body = f"{before}<QueueMessage><MessageText>{content}</MessageText></QueueMessage>".encode(encoding)
    url = f"{here.cluster.ingest_url}/kqlmi-ingest/messages?sig={here.cluster._state.signature}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST")) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize(
    ("encoding", "before"),
    [("utf-8", "<!DOCTYPE x>"), ("utf-16", "<!DOCTYPE x [<!ENTITY y 'z'>]>"), ("utf-16", "")],
)
def test_a_message_is_plain_xml_in_utf_8(here: World, encoding: str, before: str) -> None:
    assert post(here, {}, encoding=encoding, before=before) == 400


@pytest.mark.parametrize(
    "path", ["kqlmi-uploads/x", "kqlmi-uploads/" + "n" * 300, "kqlmi-ingest/messages?sig=%ed%a0%80"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_an_odd_request_does_not_cause_a_500(here: World, path: str, method: str) -> None:
    request = urllib.request.Request(f"{here.cluster.ingest_url}/{path}", data=b"", method=method)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)  # noqa: S310
    caught.value.close()
    assert 400 <= caught.value.code < 500


@pytest.mark.parametrize("bad", ['{"t": "2024-01-01T00:00:00.1234567Z"}', '{"a":' * 50_000, '{"a": 1} x'])
def test_a_bad_event_does_not_block_the_good_ones(here: World, bad: str) -> None:
    here.client.mgmt(".drop table R")
    here.client.mgmt(".create table R (a: string, t: datetime)")
    here.grant("database Samples", here.mine, "DataConnection")
    hub = here.cluster.hub("namespace", "hub")
    hub.send([{"a": "before the connection"}])
    connect_hub(here, here.mine)
    give_receiver(here, here.mine)
    hub.send([{"a": "x"}, bad, {"a": "y"}])
    eventually(lambda: here.rows("R | project a") == [["x"], ["y"]])
    assert len(here.client.mgmt(".show ingestion failures")) == 1


def test_a_failing_update_policy_loses_the_events_and_reports_it_once(here: World) -> None:
    here.grant("database Samples", here.mine, "DataConnection, AutomatedFlows")
    here.client.mgmt(f".add database Samples viewers ('aadapp={here.mine}')")
    here.client.mgmt(".create table Made (a: string, b: long)")
    policy = f'[{{"Source": "R", "Query": "R", "IsTransactional": true, "ManagedIdentity": "{here.mine}"}}]'
    here.client.mgmt(f".alter table Made policy update '{policy}'")
    connect_hub(here, here.mine)
    give_receiver(here, here.mine)
    here.client.mgmt(f".drop database Samples viewers ('aadapp={here.mine}')")
    here.cluster.hub("namespace", "hub").send([{"a": "x", "b": 1}])
    eventually(lambda: len(here.client.mgmt(".show ingestion failures")) == 2)
    here.client.mgmt(f".add database Samples viewers ('aadapp={here.mine}')")
    here.cluster.hub("namespace", "hub").send([{"a": "y", "b": 2}])
    eventually(lambda: here.rows("R") == [["y", 2]])
    assert len(here.client.mgmt(".show ingestion failures")) == 2


def test_a_hidden_string_of_a_function_is_never_shown(here: World, connect: Any) -> None:
    secret = "sEcReT-99"  # noqa: S105 - the test searches for it
    here.client.mgmt(f".create function F() {{ print h'{secret}' + 1 }}")
    viewer = connect(here.cluster, here.cluster.token_for("viewer"))
    assert secret not in str(viewer.refusal("F()", query=True))
    assert secret not in str(viewer.mgmt(".show queries"))


@pytest.mark.parametrize("written", ["{file}", "../../../../../../../../../..{file}", "%2e%2e/..{file}", "none.csv"])
def test_a_message_reads_and_deletes_no_file_that_was_not_uploaded(here: World, tmp_path: Path, written: str) -> None:
    victim = tmp_path / "victim.csv"
    victim.write_text("x,1\n")
    token = here.ingest(".get kusto identity token")[0]["AuthorizationContext"]
    message = {
        "DatabaseName": "Samples",
        "TableName": "R",
        "BlobPath": f"{here.cluster.ingest_url}/kqlmi-uploads/{written.format(file=victim)}?sig=x",
        "AdditionalProperties": {"authorizationContext": token, "format": "csv"},
    }
    assert post(here, message) == 201
    eventually(lambda: not here.cluster._state.world.jobs)
    assert here.cluster._server
    here.cluster._server._service._ingestor.stop()
    assert victim.exists()
    assert here.rows("R") == []
    [failure] = here.client.mgmt(".show ingestion failures")
    assert "no such blob" in failure["Details"]


def test_an_upload_survives_a_restart_and_is_gone_once_it_is_ingested(tmp_path: Path) -> None:
    kept, source = tmp_path / "kept", tmp_path / "f.csv.gz"
    source.write_bytes(gzip.compress(b"1\n2\n"))
    with local.start(databases=["D"], path=kept) as cluster:
        with kqlmi.connect(cluster.url, token=cluster.token, database="D", history=False) as session:
            session.run(".create table T (n: long)")
        assert cluster._server
        cluster._server._service._ingestor.stop()
        queue(cluster, source)
        [file] = (kept / "uploads").iterdir()
        (kept / "uploads" / "of somebody else.csv").touch()
        (kept / "uploads" / f".{file.name}.01234567.new").touch()  # as a killed process leaves it
        assert (file.stat().st_mode & 0o077) == 0 or sys.platform == "win32"
    with local.start(path=kept) as cluster:
        eventually(lambda: count(cluster) == 2)
        eventually(lambda: not cluster._state.world.uploads)
        eventually(lambda: [one.name for one in (kept / "uploads").iterdir()] == ["of somebody else.csv"])
