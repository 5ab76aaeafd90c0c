"""Queued ingestion with Azurite as the storage: what the SDK leaves in a real queue is what the cluster accepts."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient
from azure.storage.queue import (
    AccountSasPermissions,
    QueueServiceClient,
    ResourceTypes,
    generate_account_sas,
)

from tests.local.flows.conftest import CONTAINER, READER, World

pytestmark = pytest.mark.node

ACCOUNT = "devstoreaccount1"
# Azurite's own, published for development.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def queue_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, with a signature, of an empty queue of an Azurite of our own."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not here")
    folder = tmp_path_factory.mktemp("azurite")
    install: list[Any] = [
        npm,
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        folder,
        "azurite@3.35.0",
    ]
    installed = subprocess.run(install, check=False, capture_output=True, text=True, timeout=300)
    if installed.returncode:
        pytest.skip(f"azurite cannot be installed: {installed.stderr[-200:]}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [str(folder / "node_modules/.bin/azurite-queue"), "--queueHost", "127.0.0.1", "--queuePort", str(port)]
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    process = subprocess.Popen([*program, *options], cwd=folder, start_new_session=True)
    try:
        yield _queue(f"http://127.0.0.1:{port}/{ACCOUNT}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _queue(account: str) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            with QueueServiceClient(account, credential=KEY, retry_total=0) as service:
                service.create_queue("ready")
            break
        except AzureError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
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
    deadline = time.monotonic() + 10
    while here.rows("R") != [["x", 1], ["y", 2]]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
