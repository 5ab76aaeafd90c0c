"""Tests of queued ingestion with Azurite as the storage: the cluster accepts what the SDK puts in a real queue."""

import base64
import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient
from azure.storage.queue import (
    AccountSasPermissions,
    QueueServiceClient,
    ResourceTypes,
    generate_account_sas,
)

from tests.local.flows.conftest import CONTAINER, READER, World
from tests.waiting import eventually

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("azurite")]

AZURITE = "3.35.0"
# Databases and telemetry, which a queue in memory does not use, are most of its size: something tiny replaces them.
UNUSED = dict.fromkeys(("applicationinsights", "mysql2", "sequelize", "tedious"), "npm:args@5.0.3")
PACKAGE = {"dependencies": {"azurite": AZURITE}, "overrides": UNUSED}
ACCOUNT = "devstoreaccount1"
# Azurite's well-known key, published for development.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def queue_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, with a signature, of an empty queue in a separate Azurite, on a port that it chooses."""
    program = [str(_installed() / "node_modules/.bin/azurite-queue"), "--queueHost", "127.0.0.1", "--queuePort", "0"]
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    folder = tmp_path_factory.mktemp("azurite")
    process = subprocess.Popen(
        [*program, *options], cwd=folder, start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        # Its first lines, of which this one is the last.
        listens = next((line for line in process.stdout if "successfully listens on" in line), None)
        assert listens, "Azurite ended before it listened"
        with process.stdout:
            yield _queue(f"{listens.split()[-1]}/{ACCOUNT}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _installed() -> Path:
    """Return the folder in which Azurite is installed; later runs reuse it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node.js: install it (Debian: apt-get install nodejs npm)")
    folder = Path(__file__).parents[3] / "build" / f"azurite-{AZURITE}"
    if not (folder / "node_modules/.bin/azurite-queue").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps(PACKAGE), encoding="utf-8")
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
        done = subprocess.run(install, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"azurite cannot be installed: {done.stderr[-200:]}")
    return folder


def _queue(account: str) -> str:
    with QueueServiceClient(account, credential=KEY) as service:
        service.create_queue("ready")
    signature = generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, add=True, process=True, create=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    return f"{account}/ready?{signature}"


def test_a_message_in_azurites_queue_is_ingested(here: World, queue_url: str) -> None:
    here.grant("database Samples", here.mine, "NativeIngestion")
    here.assign(here.mine, READER)
    state = here.cluster._state
    state.elsewhere = {"SecuredReadyForAggregationQueue": [queue_url]}
    builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(
        here.cluster.ingest_url, here.cluster.token
    )
    with QueuedIngestClient(builder) as client:
        source = BlobDescriptor(f"{CONTAINER}/a.csv;managed_identity={here.mine}", size=8)
        client.ingest_from_blob(source, IngestionProperties("Samples", "R", DataFormat.CSV))
    account, _, signature = queue_url.partition("/ready?")
    with QueueServiceClient(f"{account}?{signature}") as service:
        queue: Any = service.get_queue_client("ready")
        (message,) = list(queue.receive_messages())
    assert b"managed_identity=" in base64.b64decode(message.content)
    forwarded = f"<QueueMessage><MessageText>{message.content}</MessageText></QueueMessage>".encode()
    url = f"{here.cluster.ingest_url}/kqlmi-ingest/messages?sig={state.signature}"
    with urllib.request.urlopen(urllib.request.Request(url, data=forwarded, method="POST")) as answer:  # noqa: S310
        assert answer.status == 201
    eventually(lambda: here.rows("R") == [["x", 1], ["y", 2]])
