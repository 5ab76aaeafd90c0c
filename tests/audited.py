"""A cluster in which every workflow that the local cluster supports runs, each with the grant that it needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient
from azure.mgmt.kusto import KustoManagementClient

import kqlmi
from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.credentials import sign_in
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import SYSTEM, Identity, ObjectId
from tests.waiting import eventually

CONTAINER = "https://acct.blob.core.windows.net/data"
DATABASES = ("Samples", "Other", "Third")
WORKERS = ("reader", "writer", "exporter", "updater", "fetcher", "artist", "ingester", "dumper", "receiver")
NEEDED = {
    "reader": {"Samples": "ExternalTable"},
    "writer": {"Samples": "ExternalTable"},
    "exporter": {"Samples": "AutomatedFlows"},
    "updater": {"Samples": "AutomatedFlows"},
    "fetcher": {"Samples": "ExternalDataRequest"},
    "artist": {"": "SandboxArtifacts"},
    "ingester": {"Samples": "NativeIngestion"},
    "dumper": {"Samples": "ExportRequest"},
    "receiver": {"Samples": "DataConnection"},
}
# Usages that a newer service might have; the last ones are spelt almost like known ones.
STRANGE = ("FutureFlow", "QuantumFlow", "ExternalTables", "AutomatedFlow", "SqlRequests", "Native Ingestion", "AzureAl")
CALLOUT = [{"CalloutType": "sandbox_artifacts", "CalloutUriRegex": "acct\\.blob", "CanCall": True}]
SCRIPT = "result = df.assign(a=open('Temp/a.txt').read().strip())"


class Busy:
    """The cluster, with helpers for granting; ``others`` are identities in addition to those of the workflows."""

    def __init__(self, cluster: LocalCluster, folder: Path, others: tuple[str, ...] = ()) -> None:
        self.cluster, self.folder = cluster, folder
        self.ids = {one.display_name: one.object_id for one in cluster.identities}
        self.others = others
        self.session = kqlmi.connect(cluster.url, token=cluster.token, history=False)
        self.ingestion = KustoConnection(Target(cluster.ingest_url, sign_in(token=cluster.token)))
        cluster.add_storage(CONTAINER, folder)
        for name in self.ids:
            cluster.assign_role(self.ids[name], CONTAINER, "Storage Blob Data Contributor")

    def close(self) -> None:
        self.session.close()
        self.ingestion.close()

    def run(self, text: str, database: str = "Samples") -> list[list[Any]]:
        return [list(row) for row in self.session.run(text, database).rows]

    def put(self, path: str, content: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def grant(self, name: str, usages: str, database: str = "") -> None:
        payload = json.dumps([{"ObjectId": self.ids[name], "AllowedUsages": usages}])
        self.run(f".alter-merge {self.scope(database)} policy managed_identity '{payload}'")

    def revoke(self, name: str, usage: str, database: str = "") -> None:
        """Revoke one usage, with a command that repeats all the others."""
        scope = self.scope(database)
        [[text]] = self.run(f".show {scope} policy managed_identity | project Policy")
        items = json.loads(text)
        for item in items:
            if item["ObjectId"] == self.ids[name]:
                left = [one for one in item["AllowedUsages"].split(", ") if one != usage]
                item["AllowedUsages"] = ", ".join(left)
        payload = json.dumps([item for item in items if item["AllowedUsages"]])
        self.run(f".alter {scope} policy managed_identity '{payload}'")

    @staticmethod
    def scope(database: str) -> str:
        return f"database ['{database}']" if database else "cluster"

    def where(self, name: str, path: str) -> str:
        return f"'{CONTAINER}/{path};managed_identity={self.ids[name]}'"

    def external(self, table: str, strings: str, database: str = "Samples") -> None:
        shape = "(a: string, b: long) kind=storage dataformat=csv"
        self.run(f".create-or-alter external table {table} {shape} ({strings})", database)

    def export(self, name: str, table: str, identity: str = "", database: str = "Samples", more: str = "1h") -> None:
        as_identity = f"managedIdentity='{self.ids[identity]}', " if identity else ""
        properties = f"with ({as_identity}intervalBetweenRuns={more})"
        self.run(f".create-or-alter continuous-export {name} over (R) to table {table} {properties} <| R", database)

    def update(self, table: str, identity: str, query: str = "S", database: str = "Samples") -> None:
        policy = [{"IsEnabled": True, "Source": "S", "Query": query, "ManagedIdentity": self.ids[identity]}]
        self.run(f".alter table {table} policy update @'{json.dumps(policy).replace(chr(39), chr(39) * 2)}'", database)

    def viewer(self, name: str, *databases: str) -> None:
        for database in databases:
            self.run(f".add database ['{database}'] viewers ('aadapp={self.ids[name]}')")

    def furnish(self) -> None:
        """Set up every workflow."""
        for path in ("in/a.csv", "in2/a.csv", "queued/a.csv"):
            self.put(path, "x,1\ny,2\n")
        self.put("a.txt", "from storage\n")
        for database in DATABASES:
            for table in ("R", "S", "Made"):
                self.run(f".create table {table} (a: string, b: long)", database)
        for table in ("I", "Q", "K", "H"):
            self.run(f".create table {table} (a: string, b: long)")
        for name, grants in NEEDED.items():
            for database, usage in grants.items():
                self.grant(name, usage, database)
        self.run(".enable plugin python")
        self.run(f".alter-merge cluster policy callout @'{json.dumps(CALLOUT)}'")
        self.external("T", self.where("reader", "in"))
        self.external("W", self.where("writer", "out"))
        self.external("C", self.where("writer", "continuous"))
        self.viewer("exporter", "Samples")
        self.viewer("updater", "Samples", "Other")
        self.run(".ingest inline into table R <| far,7", "Other")
        self.export("E", "C", "exporter", more="1s")
        query = "S | join kind=inner (database('Other').R) on b | project a = a1, b"
        self.update("Made", "updater", query)
        self.run(
            f".create function Fetch() {{ externaldata (a: string, b: long) [{self.where('fetcher', 'in/a.csv')}] }}"
        )
        self.connect_hub()

    def connect_hub(self) -> None:
        cluster = self.cluster
        hub = cluster.hub("namespace", "hub").resource_id
        cluster.assign_role(self.ids["receiver"], hub, "Azure Event Hubs Data Receiver")
        users = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        group = cluster.resource_id.partition("/providers")[0]
        properties = {
            "eventHubResourceId": hub,
            "consumerGroup": "$Default",
            "tableName": "H",
            "dataFormat": "JSON",
            "managedIdentityResourceId": f"{group}/{users}/receiver",
        }
        with KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
            body = {"kind": "EventHub", "location": "local", "properties": properties}
            place = (cluster.resource_group, cluster.name, "Samples", "dc")
            client.data_connections.begin_create_or_update(*place, body).wait()

    def unassign(self, *names: str) -> None:
        """Unassign identities from the cluster through Azure Resource Manager."""
        cluster = self.cluster
        group = cluster.resource_id.partition("/providers")[0]
        users = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        block = {
            "type": "SystemAssigned, UserAssigned",
            "userAssignedIdentities": {f"{users}/{name}": None for name in names},
        }
        with KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
            client.clusters.begin_update(cluster.resource_group, cluster.name, {"identity": block}).result()

    def assigned(self) -> tuple[Identity, ...]:
        """Return the identities of the cluster as Azure Resource Manager lists them."""
        cluster = self.cluster
        with KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
            found: Any = client.clusters.get(cluster.resource_group, cluster.name).identity
        users = [
            Identity(ObjectId(one.principal_id), place.rpartition("/")[2])
            for place, one in (found.user_assigned_identities or {}).items()
        ]
        return (Identity(SYSTEM, is_system=True, principal_id=found.principal_id), *users)

    @property
    def quick(self) -> dict[str, Callable[[], object]]:
        """Return the workflows that finish at once; each raises if it is refused."""
        fetch = self.where("fetcher", "in/a.csv")
        options = f"dynamic({{'StorageContainers': [{self.where('fetcher', 'in2')}], 'DataFormat': 'csv'}})"
        shape = "(a: string, b: long)"
        texts = {
            "external_table.storage": "external_table('T')",
            "export.to_external_table": ".export to table W <| print a = 'x', b = 1",
            "externaldata": f"externaldata {shape} [{fetch}]",
            "a function": "Fetch()",
            "inline_external_table": f"inline_external_table {shape} kind=storage dataformat=csv ({self.where('fetcher', 'in2')})",
            "infer_storage_schema": f"evaluate infer_storage_schema({options})",
            "ingest.into": f".ingest into table I ({self.where('ingester', 'in/a.csv')}) with (format='csv')",
            "export.to_storage": f".export to csv ({self.where('dumper', 'dumped')}) <| print a = 'x'",
        }

        def list_blobs() -> None:
            assert len(self.ingestion.execute(f".list blobs ({self.where('ingester', 'in')})", "Samples"))

        def update_policy() -> None:
            before = self.count("Made")
            self.run(".ingest inline into table S <| near,7")
            assert self.count("Made") == before + 1

        runs: dict[str, Callable[[], object]] = {name: lambda text=text: self.run(text) for name, text in texts.items()}  # type: ignore[misc]
        return {**runs, "list_blobs": list_blobs, "update_policy": update_policy}

    @property
    def slow(self) -> dict[str, Callable[[], object]]:
        """Return the workflows that take a while, or run in the background."""
        artifacts = f"bag_pack('a.txt', {self.where('artist', 'a.txt')})"
        plugin = f"python(typeof(*), {json.dumps(SCRIPT)}, external_artifacts={artifacts})"

        def continuous_export() -> None:
            shown = ".show continuous-export E exported-artifacts"
            before = len(self.run(shown))
            self.run(".ingest inline into table R <| x,1")
            eventually(lambda: len(self.run(shown)) > before)

        def queue_by_command() -> None:
            before, listing = self.count("K"), f".list blobs ({self.where('ingester', 'queued')})"
            self.ingestion.execute(
                f".ingest-from-storage-queued into table K with (format='csv') <| {listing}", "Samples"
            )
            eventually(lambda: self.count("K") > before)

        def queue_by_sdk() -> None:
            before = self.count("Q")
            builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(
                self.cluster.ingest_url, self.cluster.token
            )
            with QueuedIngestClient(builder) as client:
                source = BlobDescriptor(self.where("ingester", "queued/a.csv").strip("'"), size=8)
                client.ingest_from_blob(source, IngestionProperties("Samples", "Q", DataFormat.CSV))
            eventually(lambda: self.count("Q") > before)

        def data_connection() -> None:
            before = self.count("H")
            self.cluster.hub("namespace", "hub").send([{"a": "x", "b": 1}])
            eventually(lambda: self.count("H") > before)

        return {
            "python.external_artifacts": lambda: self.run(f"print a = '', b = 1 | evaluate {plugin}"),
            "continuous_export": continuous_export,
            "ingest.queued_cmd": queue_by_command,
            "ingest.sdk_queued": queue_by_sdk,
            "dataconnection.eventhub": data_connection,
        }

    def count(self, table: str) -> int:
        return int(self.run(f"{table} | count")[0][0])

    def work(self, *, slow: bool = False) -> None:
        """Run every workflow that finishes at once, and optionally the slow ones; AssertionError names one that stopped."""
        for name, run in (self.quick | (self.slow if slow else {})).items():
            try:
                run()
            except (kqlmi.KqlmiError, AssertionError) as error:
                raise AssertionError(f"{name} stopped: {error}") from error


def start(others: tuple[str, ...] = ()) -> LocalCluster:
    return kqlmi.local.start(databases=DATABASES, identities=["system", *WORKERS, *others], usages=STRANGE)
