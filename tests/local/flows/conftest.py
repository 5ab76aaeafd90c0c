"""Fixtures: a cluster with a container, and helpers for granting and revoking."""

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kqlmi import local
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.ingest.background_ingestion import Ingestor
from kqlmi.local.state.entities import DataConnection
from kqlmi.local.values import kusto_time
from tests.local.conftest import Client, Connect

CONTAINER = "https://acct.blob.core.windows.net/data"
INTERVAL = "intervalBetweenRuns=100ms"  # ``here`` allows this, so that no test waits for a second
READER, CONTRIBUTOR = "Storage Blob Data Reader", "Storage Blob Data Contributor"


class World:
    """A cluster whose container ``data`` is ``folder``; ``store`` may do everything, ``mine`` nothing yet.

    ``tries`` receives an item each time a data connection has tried to receive, successfully or not.
    """

    def __init__(self, cluster: LocalCluster, client: Client, folder: Path, tries: Sequence[object] = ()) -> None:
        self.cluster, self.client, self.folder, self.tries = cluster, client, folder, tries
        self.system, self.mine, self.store = (one.object_id for one in cluster.identities)
        cluster.add_storage(CONTAINER, folder)
        self.assign(self.store, CONTRIBUTOR)
        self.grant("cluster", self.store, "All")
        self.put("a.csv", "x,1\ny,2\n")
        client.mgmt(".create table R (a: string, b: long)")
        client.mgmt(".create table Elsewhere (a: string, b: long)", "My other db")
        client.mgmt(".ingest inline into table Elsewhere <| far,7", "My other db")

    def put(self, path: str, content: str | bytes) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def grant(self, scope: str, object_id: str, usages: str) -> None:
        payload = json.dumps([{"ObjectId": object_id, "AllowedUsages": usages}])
        self.client.mgmt(f".alter-merge {scope} policy managed_identity '{payload}'")

    def revoke(self, scope: str) -> None:
        """Remove every identity except ``store`` from the policy of a scope."""
        payload = json.dumps([{"ObjectId": self.store, "AllowedUsages": "All"}])
        self.client.mgmt(f".alter {scope} policy managed_identity '{payload}'")

    def assign(self, object_id: str, role: str) -> None:
        self.cluster.assign_role(object_id, CONTAINER, role)

    def ingest(self, text: str) -> list[dict[str, Any]]:
        """Run a command at the ingestion endpoint."""
        client = Client(self.cluster.ingest_url, self.cluster.token)
        try:
            return client.mgmt(text)
        finally:
            client.sdk.close()

    def rows(self, text: str, database: str = "Samples", **options: Any) -> list[Any]:
        return [[*row.values()] for row in self.client.query(text, database, **options)]

    def missing(self, text: str, *, query: bool = True, database: str = "Samples", **options: Any) -> str:
        """Return the gate that a refused text lacks, from the machine-readable details."""
        error = self.client.refusal(text, database, query=query, **options)
        return str(details(error).get("missing", error.code))


def details(error: Any) -> dict[str, Any]:
    """Return the machine-readable details of a refusal."""
    body = error_body(error)
    return dict(body.get("innererror", {}).get("@details", {}))


def error_body(error: Any) -> dict[str, Any]:
    return dict(error.response.json()["error"])


@pytest.fixture
def here(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("kqlmi.local.flows.continuous_exports._SHORTEST", kusto_time.SECOND // 10)
    monkeypatch.setattr("kqlmi.local.ingest.background_ingestion._AGAIN", 0.05)
    receive, tries = Ingestor._receive, []

    def counted(ingestor: Ingestor, connection: DataConnection) -> None:
        receive(ingestor, connection)
        tries.append(connection)

    monkeypatch.setattr(Ingestor, "_receive", counted)
    folder = tmp_path / "container"
    folder.mkdir()
    with local.start(databases=["Samples", "My other db"], identities=["system", "mine", "store"]) as cluster:
        yield World(cluster, connect(cluster), folder, tries)


@pytest.fixture
def stranger() -> str:
    """The object ID of an identity that is not assigned."""
    return str(uuid.uuid4())
