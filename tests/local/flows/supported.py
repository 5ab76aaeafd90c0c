"""The catalogue's workflows that the local cluster supports, as tests use them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient
from azure.mgmt.kusto import KustoManagementClient

from tests.local.flows.conftest import CONTAINER, CONTRIBUTOR, INTERVAL, READER, World
from tests.waiting import eventually

FILES = [["x", 1], ["y", 2]]
SCRIPT = "result = df.assign(a=open('Temp/a.txt').read().strip())"
RECEIVER = "Azure Event Hubs Data Receiver"
CALLOUT = [{"CalloutType": "sandbox_artifacts", "CalloutUriRegex": "acct\\.blob", "CanCall": True}]


@dataclass(frozen=True)
class Flow:
    """A workflow of the catalogue, with the functions by which a test runs it.

    ``define`` and ``use`` take the world and the identity as written in the text; ``use`` returns the rows. ``other_gate`` is
    the gate that is closed if the identity lacks its Azure role or database role.
    """

    id: str
    use: Callable[[World, str], list[Any]]
    rows: list[Any]
    define: Callable[[World, str], object] = lambda _here, _identity: None
    prepare: Callable[[World], object] = lambda _here: None
    role: str = READER
    other_gate: str = "azure role"
    give: Callable[[World, str], None] | None = None
    is_silent: bool = False


def location(identity: str, path: str = "") -> str:
    return f"h@'{CONTAINER}{path};managed_identity={identity}'"


def table_at(identity: str, path: str) -> str:
    shape = "kind=storage dataformat=csv"
    return f".create-or-alter external table T (a: string, b: long) {shape} ({location(identity, path)})"


def define_table(path: str) -> Callable[[World, str], object]:
    return lambda here, identity: here.client.mgmt(table_at(identity, path))


def read_table(here: World, _identity: str) -> list[Any]:
    return here.rows("external_table('T') | order by a asc")


def externaldata(here: World, identity: str) -> list[Any]:
    return here.rows(f"externaldata (a: string, b: long) [{location(identity, '/a.csv')}]")


def inline_table(here: World, identity: str) -> list[Any]:
    text = f"inline_external_table (a: string, b: long) kind=storage dataformat=csv ({location(identity)})"
    return here.rows(text)


def infer(here: World, identity: str) -> list[Any]:
    options = f"dynamic({{'StorageContainers': [{location(identity)}], 'DataFormat': 'csv'}})"
    return here.rows(f"let o = {options}; evaluate infer_storage_schema(o)")


def ingest(here: World, identity: str) -> list[Any]:
    here.client.mgmt(f".ingest into table R ({location(identity, '/a.csv')}) with (format='csv')")
    return here.rows("R")


def export(here: World, identity: str) -> list[Any]:
    text = f".export to csv ({location(identity, '/out')}) with (namePrefix='p') <| print a = 'x', b = 1"
    (row,) = here.client.mgmt(text)
    assert row["NumRecords"] == 1
    return [line.split(",") for line in (here.folder / row["Path"].removeprefix(CONTAINER)[1:]).read_text().split()]


def export_to_table(here: World, _identity: str) -> list[Any]:
    here.client.mgmt(".export to table T <| print a = 'x', b = 1")
    return [line.split(",") for path in (here.folder / "out").iterdir() for line in path.read_text().split()]


def python(here: World, identity: str) -> list[Any]:
    artifacts = f"bag_pack('a.txt', {location(identity, '/a.txt')})"
    return here.rows(
        f"print a = '', b = 1 | evaluate python(typeof(*), {json.dumps(SCRIPT)}, external_artifacts={artifacts})"
    )


def enable_python(here: World) -> None:
    here.client.mgmt(".enable plugin python")
    here.client.mgmt(f".alter-merge cluster policy callout @'{json.dumps(CALLOUT)}'")
    here.put("a.txt", "from storage\n")


def define_update(here: World, identity: str) -> None:
    here.client.mgmt(".create table Made (a: string, n: long)")
    query = "R | join kind=inner (database('My other db').Elsewhere) on $left.b == $right.b | project a = a1, n = b"
    policy = [{"IsEnabled": True, "Source": "R", "Query": query, "IsTransactional": True, "ManagedIdentity": identity}]
    here.client.mgmt(f".alter table Made policy update @'{json.dumps(policy).replace(chr(39), chr(39) * 2)}'")


def ingest_seven(here: World, _identity: str) -> list[Any]:
    here.client.mgmt(".ingest inline into table R <| near,7")
    return here.rows("Made")


def give_viewer(here: World, identity: str) -> None:
    for database in ("Samples", "My other db"):
        here.client.mgmt(f".add database ['{database}'] viewers ('aadapp={identity}')")


def define_export(here: World, identity: str) -> None:
    text = ".create-or-alter continuous-export E over (R) to table T "
    here.client.mgmt(f'{text} with (managedIdentity="{identity}", {INTERVAL}) <| R')


def impersonating_table(here: World) -> None:
    where = f"h@'{CONTAINER}/out;impersonate'"
    here.client.mgmt(f".create external table T (a: string, b: long) kind=storage dataformat=csv ({where})")


def wait_for_run(here: World, _identity: str) -> list[Any]:
    """Return the rows that the next run writes, or raise the failure that it records."""
    shown = ".show continuous-export E failures"
    before = len(here.client.mgmt(shown))
    seen = len(here.client.mgmt(".show continuous-export E exported-artifacts"))
    here.client.mgmt(".ingest inline into table R <| x,1")
    failed: list[Any] = []
    exported: list[Any] = []

    def ran() -> bool:
        failed[:] = here.client.mgmt(shown)[before:]
        exported[:] = here.client.mgmt(".show continuous-export E exported-artifacts")[seen:]
        return bool(failed or exported)

    eventually(ran)
    if failed:
        raise RunFailedError(failed[-1]["Details"])
    path = here.folder / exported[-1]["Path"].removeprefix(CONTAINER)[1:]
    return [line.split(",") for line in path.read_text().split()]


class RunFailedError(Exception):
    """A workflow failed in the background; its text is the recorded failure, or "silence"."""


def give_everything_but_the_role(here: World, identity: str) -> None:
    here.client.mgmt(f".add database Samples viewers ('aadapp={identity}')")


def listing(identity: str) -> str:
    return f".list blobs ({location(identity, '/in')})"


def list_blobs(here: World, identity: str) -> list[Any]:
    return [[row["BlobUri"].rpartition("/")[2], row["SizeInBytes"]] for row in here.ingest(listing(identity))]


def queue_by_command(here: World, identity: str) -> list[Any]:
    before = len(here.client.mgmt(".show ingestion failures"))
    here.ingest(f".ingest-from-storage-queued into table R with (format='csv') <| {listing(identity)}")
    return wait_for_rows(here, before)


def queue_by_sdk(here: World, identity: str) -> list[Any]:
    before = len(here.client.mgmt(".show ingestion failures"))
    builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(
        here.cluster.ingest_url, here.cluster.token
    )
    with QueuedIngestClient(builder) as client:
        source = BlobDescriptor(f"{CONTAINER}/a.csv;managed_identity={identity}", size=8)
        client.ingest_from_blob(source, IngestionProperties("Samples", "R", DataFormat.CSV))
    return wait_for_rows(here, before)


def wait_for_rows(here: World, failed: int) -> list[Any]:
    """Return what arrived in R once nothing is queued, or raise the recorded failure, or silence."""
    eventually(lambda: not here.cluster._state.world.jobs)
    return arrived(here, failed)


def arrived(here: World, failed: int) -> list[Any]:
    rows = here.rows("R | order by b asc")
    failures = here.client.mgmt(".show ingestion failures")
    if not rows:
        raise RunFailedError(failures[-1]["Details"] if len(failures) > failed else "silence")
    here.client.mgmt(".drop table R")
    here.client.mgmt(".create table R (a: string, b: long)")
    return rows


def connect_hub(here: World, identity: str, kind: str = "EventHub") -> None:
    cluster = here.cluster
    own = identity == here.mine
    users = "Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    group = cluster.resource_id.partition("/providers")[0]
    properties = {
        "eventHubResourceId": cluster.hub("namespace", "hub").resource_id,
        "consumerGroup": "$Default",
        "tableName": "R",
        "dataFormat": "JSON",
        "managedIdentityResourceId": f"{group}/providers/{users}" if own else identity,
    }
    with KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
        body = {"kind": kind, "location": "local", "properties": properties}
        place = (cluster.resource_group, cluster.name, "Samples", "dc")
        client.data_connections.begin_create_or_update(*place, body).wait()


def send(here: World, _identity: str) -> list[Any]:
    seen = len(here.tries)
    here.cluster.hub("namespace", "hub").send([{"a": "x", "b": 1}])
    # After a failed attempt, the event waits.
    eventually(lambda: len(here.tries) >= seen + 2 or here.rows("R | count") != [[0]])
    return arrived(here, 0)[-1:]  # waiting events arrive together with it


def give_receiver(here: World, identity: str) -> None:
    here.cluster.assign_role(identity, here.cluster.hub("namespace", "hub").resource_id, RECEIVER)


FLOWS = [
    Flow("external_table.storage", read_table, FILES, define_table("/in")),
    Flow("export.to_external_table", export_to_table, [["x", "1"]], define_table("/out"), role=CONTRIBUTOR),
    Flow("export.to_storage", export, [["x", "1"]], role=CONTRIBUTOR),
    Flow("ingest.into", ingest, FILES),
    Flow("externaldata", externaldata, FILES),
    Flow("inline_external_table", inline_table, FILES),
    Flow("infer_storage_schema", infer, [["Column1:string, Column2:long"]]),
    Flow("python.external_artifacts", python, [["from storage", 1]], prepare=enable_python),
    Flow("update_policy", ingest_seven, [["far", 7]], define_update, other_gate="database role", give=give_viewer),
    Flow("list_blobs", list_blobs, [["a.csv", 8]]),
    Flow("ingest.queued_cmd", queue_by_command, FILES),
    Flow("ingest.sdk_queued", queue_by_sdk, FILES),
    Flow("dataconnection.eventhub", send, [["x", 1]], connect_hub, give=give_receiver, is_silent=True),
    Flow(
        "continuous_export",
        wait_for_run,
        [["x", "1"]],
        define_export,
        prepare=impersonating_table,
        role=CONTRIBUTOR,
    ),
]
