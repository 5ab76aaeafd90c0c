"""Tests that queued files and sent events become rows while their identity may be used."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient
from azure.mgmt.kusto import KustoManagementClient

from tests.local.conftest import Client, Connect
from tests.local.flows.conftest import CONTAINER, READER, World, details
from tests.waiting import eventually

RECEIVER = "Azure Event Hubs Data Receiver"


def await_tries(here: World) -> None:
    """Wait until events have been tried twice more, so that one attempt began after the call."""
    seen = len(here.tries)
    eventually(lambda: len(here.tries) >= seen + 2)


def failures(here: World) -> list[dict[str, Any]]:
    return here.client.mgmt(".show ingestion failures")


@pytest.fixture
def queue(here: World) -> Iterator[QueuedIngestClient]:
    builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(
        here.cluster.ingest_url, here.cluster.token
    )
    with QueuedIngestClient(builder) as client:
        yield client


def properties(**more: Any) -> IngestionProperties:
    return IngestionProperties(database="Samples", table="R", **{"data_format": DataFormat.CSV, **more})


def blob(identity: str, path: str = "a.csv") -> BlobDescriptor:
    return BlobDescriptor(f"{CONTAINER}/{path};managed_identity={identity}", size=8)


def test_a_file_that_the_sdk_queues_becomes_rows(here: World, queue: QueuedIngestClient) -> None:
    here.grant("database Samples", here.mine, "NativeIngestion")
    here.assign(here.mine, READER)
    queue.ingest_from_blob(blob(here.mine), ingestion_properties=properties())
    eventually(lambda: here.rows("R") == [["x", 1], ["y", 2]])
    here.put("h.tsv", "a\tb\nz\t3\n")
    chosen = properties(data_format=DataFormat.TSV, ignore_first_record=True)
    queue.ingest_from_blob(blob(here.mine, "h.tsv"), ingestion_properties=chosen)
    eventually(lambda: here.rows("R | where a == 'z'") == [["z", 3]])
    assert failures(here) == []


def test_files_and_frames_that_the_sdk_uploads_become_rows(
    here: World, queue: QueuedIngestClient, tmp_path: Any
) -> None:
    path = tmp_path / f"{'local' * 40}.csv"  # a blob's name may have 1,024 characters
    path.write_text("f,1\n")
    queue.ingest_from_file(str(path), properties(additional_tags=["seen nowhere"]))
    queue.ingest_from_dataframe(pd.DataFrame({"a": ["d"], "b": [2]}), properties())
    eventually(lambda: here.rows("R | order by b asc") == [["f", 1], ["d", 2]])


def test_a_queued_file_that_fails_is_recorded_and_the_next_continues(here: World, queue: QueuedIngestClient) -> None:
    for source, chosen in (
        (blob(here.mine), properties()),
        (blob(here.store, "none.csv"), properties()),
        (BlobDescriptor(f"{CONTAINER}/a.csv;impersonate", size=8), properties()),
        (BlobDescriptor(f"{CONTAINER}/a.csv?sv=1&sig=abcdefgh", size=8), properties()),
        (blob(here.store), properties(ingest_if_not_exists=["x"])),
    ):
        queue.ingest_from_blob(source, ingestion_properties=chosen)
    queue.ingest_from_blob(blob(here.store), IngestionProperties("Samples", "Nowhere", DataFormat.CSV))
    queue.ingest_from_blob(blob(here.store), properties())
    eventually(lambda: here.rows("R | count") == [[2]])
    noted = failures(here)
    assert [row["Table"] for row in noted] == ["R", "R", "R", "R", "R", "Nowhere"]
    assert "does not support the property 'ingestIfNotExists'" in noted[4]["Details"]
    assert noted[0]["ErrorCode"] == "BadRequest_InvalidManagedIdentity"
    assert {row["IngestionSourcePath"] for row in noted} == {f"{CONTAINER}/a.csv", f"{CONTAINER}/none.csv"}
    for secret in ("abcdefgh", "managed_identity"):
        assert secret not in str([row["IngestionSourcePath"] for row in noted]) + noted[3]["Details"]


def test_queueing_requires_the_ingestor_role(here: World) -> None:
    for role, is_allowed in (("viewer", False), ("ingestor", True)):
        token = here.cluster.token_for(role, database="Samples")
        builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(here.cluster.ingest_url, token)
        with QueuedIngestClient(builder) as client:
            if is_allowed:
                client.ingest_from_blob(blob(here.store), ingestion_properties=properties())
                eventually(lambda: here.rows("R | count") == [[2]])
            else:
                with pytest.raises(Exception, match="not authorized"):
                    client.ingest_from_blob(blob(here.store), ingestion_properties=properties())


@pytest.fixture
def ingest(here: World, connect: Connect) -> Client:
    """A client of the ingestion endpoint."""
    client = connect(here.cluster)
    client.sdk.close()
    client.__init__(here.cluster.ingest_url, here.cluster.token)  # type: ignore[misc]
    return client


def test_blobs_are_listed_and_queued_by_a_command(here: World, ingest: Client) -> None:
    here.put("in/b.csv", "z,3\n")
    here.put("in/c.txt", "w,4\n")
    where = f"h'{CONTAINER}/in;managed_identity={here.mine}'"
    listing = f".list blobs ({where}) Suffix='.csv' MaxFiles=5"
    queued = f".ingest-from-storage-queued into table database('Samples').R EnableTracking=true with (format='csv') <| {listing}"
    for text in (listing, queued):
        assert details(ingest.refusal(text))["missing"] == "grant"
    here.grant("database Samples", here.mine, "NativeIngestion")
    for text in (listing, queued):
        assert details(ingest.refusal(text))["missing"] == "azure role"
    here.assign(here.mine, READER)
    row = {"BlobUri": f"{CONTAINER}/in/b.csv", "SizeInBytes": 4, "CapturedVariables": "{}"}
    assert ingest.mgmt(listing) == [row]
    assert ingest.mgmt(queued)[0]["IngestionOperationId"]
    eventually(lambda: here.rows("R") == [["z", 3]])
    each = f"h'{CONTAINER}/in/b.csv;managed_identity={here.mine}'"
    ingest.mgmt(f".ingest-from-storage-queued into table R <| {each} {each}")
    eventually(lambda: here.rows("R | count") == [[3]])


def test_a_file_whose_grant_is_revoked_after_queueing_is_not_ingested(here: World, ingest: Client) -> None:
    here.grant("database Samples", here.mine, "NativeIngestion")
    here.assign(here.mine, READER)
    state = here.cluster._state
    with state.lock:  # the ingestion waits for this lock
        ingest.mgmt(".show version")
        here.cluster.unassign_role(here.mine, CONTAINER, READER)
    text = f".ingest-from-storage-queued into table R <| h'{CONTAINER}/a.csv;managed_identity={here.mine}'"
    assert details(ingest.refusal(text))["missing"] == "azure role"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".list blobs ('{0};impersonate')", "without ';impersonate'"),
        (".list blobs ('{0};managed_identity=system', '{0};managed_identity=system')", "one connection string"),
        (".list blobs ('{0};managed_identity=system') MaxFiles=many", "number"),
        (f".list blobs ('{{0}};managed_identity=system') MaxFiles={'1' * 5000}", "number"),
        (".show databases", "ingest endpoint"),
        (
            ".ingest-from-storage-queued into table R with (zipPattern='x') <| '{0};managed_identity=system'",
            "'zippattern'",
        ),
    ],
)
def test_the_ingestion_endpoint_refuses_what_it_does_not_support(ingest: Client, text: str, says: str) -> None:
    assert says in ingest.refusal(text.format(CONTAINER)).description


def test_each_endpoint_takes_its_own_commands_only(here: World, ingest: Client) -> None:
    assert ingest.mgmt(".show version")[0]["ServiceType"] == "DataManagement"
    assert here.client.mgmt(".show version")[0]["ServiceType"] == "Engine"
    assert here.cluster.url in ingest.refusal("print 1", query=True).description
    assert here.cluster.ingest_url in here.client.refusal(".get ingestion resources").description


class Connected:
    """A data connection of the database Samples that runs as an identity."""

    def __init__(self, here: World, **more: Any) -> None:
        self.here, self.cluster = here, here.cluster
        self.hub = here.cluster.hub("namespace", "hub")
        self.client = KustoManagementClient(subscription_id=self.cluster.subscription_id, **self.cluster.arm_options)
        cluster = self.client.clusters.get(self.cluster.resource_group, self.cluster.name)
        users: Any = cluster.identity
        resource_id = next(place for place in users.user_assigned_identities if place.endswith("/mine"))
        self.properties = {
            "eventHubResourceId": self.hub.resource_id,
            "consumerGroup": "$Default",
            "tableName": "R",
            "dataFormat": "JSON",
            "managedIdentityResourceId": resource_id,
            **more,
        }

    def create(self) -> None:
        body = {"kind": "EventHub", "location": "local", "properties": self.properties}
        place = (self.cluster.resource_group, self.cluster.name, "Samples", "dc")
        self.client.data_connections.begin_create_or_update(*place, body).wait()


@pytest.fixture
def connected(here: World) -> Iterator[Connected]:
    made = Connected(here)
    yield made
    made.client.close()


def test_events_arrive_while_the_usage_is_granted_and_otherwise_wait_silently(connected: Connected) -> None:
    here = connected.here
    here.grant("database Samples", here.mine, "DataConnection")
    connected.create()
    connected.hub.send([{"a": "too early", "b": 0}])
    await_tries(here)
    assert here.rows("R") == []
    here.cluster.assign_role(here.mine, connected.hub.resource_id, RECEIVER)
    eventually(lambda: here.rows("R") == [["too early", 0]])
    connected.hub.send([{"a": "x", "b": 1}, {"a": "y"}])
    eventually(lambda: here.rows("R | count") == [[3]])
    here.revoke("database Samples")
    connected.hub.send([{"a": "z", "b": 2}])
    await_tries(here)
    assert here.rows("R | count") == [[3]]
    assert failures(here) == []
    here.grant("cluster", here.mine, "All")
    eventually(lambda: here.rows("R | where a == 'z'") == [["z", 2]])
    assert here.rows("R | where a == 'y'") == [["y", None]]


def test_an_event_that_is_not_a_row_is_recorded_and_the_others_arrive(connected: Connected) -> None:
    here = connected.here
    here.grant("cluster", here.mine, "DataConnection")
    here.cluster.assign_role(here.mine, "sb://namespace.servicebus.windows.net/hub", RECEIVER)
    connected.create()
    connected.hub.send([{"a": "x", "b": 1}, "{broken", {"b": "many"}, [{"a": "in a list"}], {"a": "y", "b": 2}])
    eventually(lambda: here.rows("R") == [["x", 1], ["", None], ["in a list", None], ["y", 2]])
    assert [row["IngestionSourcePath"] for row in failures(here)] == ["namespace/hub"]


def test_events_can_be_csv(here: World) -> None:
    here.grant("cluster", here.mine, "DataConnection")
    made = Connected(here, dataFormat="CSV")
    here.cluster.assign_role(here.mine, made.hub.resource_id, RECEIVER)
    made.create()
    made.hub.send(['"x, y",1', "z,2\nw,3"])
    eventually(lambda: here.rows("R") == [["x, y", 1], ["z", 2], ["w", 3]])
    made.client.close()
