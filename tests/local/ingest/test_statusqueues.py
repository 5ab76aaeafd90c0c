"""Tests of the status queues that azure-kusto-ingest reads, with its own client and with that of Azure Storage."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from azure.kusto.data import KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient, ReportLevel
from azure.kusto.ingest.status import KustoIngestStatusQueues
from azure.storage.queue import QueueClient, QueueServiceClient

from kqlmi import local
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.ingest.ingestion_queue import accept
from kqlmi.local.values.faults import KustoError
from tests.local.conftest import Client
from tests.waiting import eventually

CONTAINER = "https://acct.blob.core.windows.net/data"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster on which the identity ``loader`` may read the container, and ``mine`` may not."""
    folder = tmp_path_factory.mktemp("container")
    (folder / "a.csv").write_text("x,1\n")
    with local.start(databases=["Samples"], identities=["loader", "mine"]) as started:
        started.add_storage(CONTAINER, folder)
        loader = started.identities[0].object_id
        started.assign_role(loader, CONTAINER, "Storage Blob Data Reader")
        client = Client(started.url, started.token)
        client.mgmt(".create table R (a: string, b: long)")
        client.mgmt(
            f'.alter cluster policy managed_identity \'[{{"ObjectId": "{loader}", "AllowedUsages": "NativeIngestion"}}]\''
        )
        client.sdk.close()
        yield started


@pytest.fixture
def ingest(cluster: LocalCluster) -> Iterator[QueuedIngestClient]:
    cluster._state.change(lambda world: replace(world, reports={}))
    builder = KustoConnectionStringBuilder.with_aad_application_token_authentication(cluster.ingest_url, cluster.token)
    with QueuedIngestClient(builder) as client:
        yield client


def queue(cluster: LocalCluster, client: QueuedIngestClient, which: int, level: ReportLevel) -> str:
    """Queue the file as one of the identities, and return its source ID once the file was processed."""
    source = str(uuid4())
    blob = f"{CONTAINER}/a.csv;managed_identity={cluster.identities[which].object_id}"
    properties = IngestionProperties("Samples", "R", report_level=level)
    client.ingest_from_blob(BlobDescriptor(blob, size=0, source_id=source), properties)
    eventually(lambda: not cluster._state.world.jobs)
    return source


@pytest.mark.parametrize(
    ("level", "successes", "failures"),
    [
        (ReportLevel.DoNotReport, 0, 0),
        (ReportLevel.FailuresOnly, 0, 1),
        (ReportLevel.FailuresAndSuccesses, 1, 1),
    ],
)
def test_the_result_of_a_file_is_reported_if_requested(
    cluster: LocalCluster, ingest: QueuedIngestClient, level: ReportLevel, successes: int, failures: int
) -> None:
    good, bad = queue(cluster, ingest, 0, level), queue(cluster, ingest, 1, level)
    status = KustoIngestStatusQueues(ingest)
    found: Any = status.success.peek()  # the client returns some of several messages twice
    assert [one.IngestionSourceId for one in found] == [good] * successes
    found = status.failure.pop(9)
    assert [one.IngestionSourceId for one in found] == [bad] * failures
    for one in found:
        assert (one.Database, one.Table, one.IngestionSourcePath) == ("Samples", "R", f"{CONTAINER}/a.csv")
        assert (one.ErrorCode, one.FailureStatus) == ("BadRequest_InvalidManagedIdentity", "Permanent")
    assert status.failure.is_empty()
    assert status.success.is_empty() is not bool(successes)


@pytest.fixture
def failed(cluster: LocalCluster, ingest: QueuedIngestClient) -> Iterator[QueueClient]:
    """The queue of failures, with two messages in it."""
    queue(cluster, ingest, 1, ReportLevel.FailuresOnly)
    queue(cluster, ingest, 1, ReportLevel.FailuresOnly)
    [resource] = KustoIngestStatusQueues(ingest).failure.get_queues_func()
    with QueueServiceClient(resource.account_uri, retry_total=0) as service:
        yield service.get_queue_client(resource.object_name)


def test_a_message_that_was_received_is_hidden_and_only_its_receipt_deletes_it(failed: QueueClient) -> None:
    first = failed.receive_message(visibility_timeout=60)
    assert first
    assert first.dequeue_count == 1
    [second] = failed.peek_messages(max_messages=32)
    assert second.id != first.id
    with pytest.raises(HttpResponseError, match="receipt does not belong"):
        failed.delete_message(first.id, "wrong")
    failed.delete_message(first.id, first.pop_receipt)
    with pytest.raises(HttpResponseError, match="does not contain this message"):
        failed.delete_message(first.id, first.pop_receipt)
    assert len(failed.peek_messages(max_messages=32)) == 1


@pytest.mark.parametrize(("count", "hidden"), [(0, 30), (33, 30), (1, 0), (1, 604801)])
def test_a_number_out_of_range_is_refused(failed: QueueClient, count: int, hidden: int) -> None:
    with pytest.raises(HttpResponseError, match="must be from 1"):
        next(failed.receive_messages(messages_per_page=count, visibility_timeout=hidden))


def test_a_wrong_signature_sees_nothing(cluster: LocalCluster) -> None:
    with QueueServiceClient(f"{cluster.ingest_url}/?sig=wrong", retry_total=0) as service:
        for name in ("kqlmi-failed", "kqlmi-successful"):
            with pytest.raises(HttpResponseError, match="signature"):
                service.get_queue_client(name).peek_messages()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"ReportLevel": 3}, "0, 1 or 2"),
        ({"ReportLevel": True}, "0, 1 or 2"),
        ({"ReportLevel": 2, "ReportMethod": 1}, "only to queues"),
    ],
)
def test_an_unsupported_report_method_is_refused(cluster: LocalCluster, more: dict[str, Any], says: str) -> None:
    state = cluster._state
    state.authorizations = {**state.authorizations, "here": next(iter(state.callers.values()))}
    properties = {"DatabaseName": "Samples", "TableName": "R", "BlobPath": CONTAINER}
    text = json.dumps({**properties, "AdditionalProperties": {"authorizationContext": "here"}, **more})
    body = f"<QueueMessage><MessageText>{base64.b64encode(text.encode()).decode()}</MessageText></QueueMessage>"
    with pytest.raises(KustoError, match=says):
        accept(state, body.encode())
    assert state.world.jobs == ()
