"""Tests that no URL, link or script leads out of the folders behind the containers."""

import os
from pathlib import Path
from typing import Any

import pytest
from azure.kusto.data.exceptions import KustoApiError

from tests.local.conftest import Client
from tests.local.flows.conftest import CONTAINER, World

OUTSIDE = "do-not-tell"
HOSTS = "https://acct.blob.core.windows.net"

HOSTILE = [
    f"{CONTAINER}/../secret.csv",
    f"{CONTAINER}/x/../../secret.csv",
    f"{CONTAINER}/%2e%2e/secret.csv",
    f"{CONTAINER}/%2E%2E%2Fsecret.csv",
    f"{CONTAINER}/..%2fsecret.csv",
    f"{CONTAINER}/%252e%252e/secret.csv",
    f"{CONTAINER}/..%5csecret.csv",
    f"{CONTAINER}/..\\secret.csv",
    f"{CONTAINER}/%c0%ae%c0%ae/secret.csv",
    f"{CONTAINER}/\uff0e\uff0e/secret.csv",
    f"{CONTAINER}//etc/passwd",
    f"{CONTAINER}/%2fetc%2fpasswd",
    f"{CONTAINER}/./secret.csv",
    f"{CONTAINER}/link.csv",
    f"{CONTAINER}/up/secret.csv",
    f"{CONTAINER}/up",
    f"{CONTAINER}/*.csv",
    f"{CONTAINER}/**",
    f"{CONTAINER}/%2a.csv",
    f"{CONTAINER}/[s]ecret.csv",
    f"{CONTAINER}/a.csv%00.txt",
    f"{CONTAINER}/a.csv%0a",
    f"{CONTAINER}/'); ATTACH '{{out}}/evil.db' AS evil; --.csv",
    f"{CONTAINER}/x'); COPY (SELECT 1) TO '{{out}}/evil.csv'; --.csv",
    f"{CONTAINER}/x' || (SELECT content FROM read_text('{{out}}/secret.csv')) || '.csv",  # noqa: S608 - the purpose of the test
    f"{CONTAINER}/{{out}}/secret.csv",
    f"{HOSTS}/other/../data/../secret.csv",
    f"{HOSTS}/nothere/secret.csv",
    f"{HOSTS}/../secret.csv",
    f"{HOSTS}/",
    HOSTS,
    "https://acct.blob.core.windows.net.evil.example/data/a.csv",
    "https://evil.example/acct.blob.core.windows.net/data/a.csv",
    "https://acct.blob.core.windows.net@evil.example/data/a.csv",
    "https://acct.blob.core.windows.net:8443/data/a.csv",
    "https://user:pw@acct.blob.core.windows.net/data/a.csv",
    "http://acct.blob.core.windows.net/data/a.csv",
    "file://{out}/secret.csv",
    "{out}/secret.csv",
    "/etc/passwd",
    "s3://bucket/a.csv",
    "https://bucket.s3.eu-west-1.amazonaws.com/a.csv",
    "http://127.0.0.1:1/a.csv",
    "abfss://data@acct.dfs.core.windows.net/../secret.csv",
    "abfss://data@acct.blob.core.windows.net/a.csv",
    "adl://acct.azuredatalakestore.net/a.csv",
    "hf://datasets/x/y.csv",
    "glob('{out}/*')",
    "https://[::1]/data/a.csv",
    "https://",
    "",
    ";",
    "\x00",
]


@pytest.fixture
def trapped(here: World) -> World:
    outside = here.folder.parent
    (outside / "secret.csv").write_text(f"{OUTSIDE},1\n")
    (here.folder / "link.csv").symlink_to(outside / "secret.csv")
    (here.folder / "up").symlink_to(outside)
    return here


def files(folder: Path) -> set[str]:
    return {str(Path(place, name)) for place, _, names in os.walk(folder) for name in names}


def attempts(url: str, identity: str) -> list[tuple[str, bool]]:
    """Return each way of reading or writing a URL, and whether it is a query."""
    text = f"{url};managed_identity={identity}".replace("\\", "\\\\").replace("'", "\\'").replace("\x00", "\\0")
    return [
        (f"externaldata (a: string, b: long) ['{text}'] with (format='csv')", True),
        (f"inline_external_table (a: string, b: long) kind=storage dataformat=csv ('{text}')", True),
        (f"evaluate infer_storage_schema(dynamic({{'StorageContainers': ['{text}'], 'DataFormat': 'csv'}}))", True),
        (f"print a = 1 | evaluate python(typeof(*), 'result = df', external_artifacts=bag_pack('x', '{text}'))", True),
        (f".ingest into table R ('{text}') with (format='csv')", False),
        (f".export to csv ('{text}') <| print a = 'x'", False),
        (f".create-or-alter external table H (a: string, b: long) kind=storage dataformat=csv ('{text}')", False),
    ]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_reaches_nothing_outside(trapped: World, url: str) -> None:
    here, outside = trapped, trapped.folder.parent
    here.client.mgmt(".enable plugin python")
    callout = '[{"CalloutType": "sandbox_artifacts", "CalloutUriRegex": ".*", "CanCall": true}]'
    here.client.mgmt(f".alter cluster policy callout '{callout}'")
    before = files(outside)
    for text, is_query in attempts(url.replace("{out}", str(outside)), here.store):
        seen = run(here, text, is_query=is_query)
        assert OUTSIDE not in seen, text
        assert str(outside) not in seen or str(outside) in url.replace("{out}", str(outside)), text
    new = files(outside) - before
    assert all(Path(path).resolve().is_relative_to(here.folder) for path in new), new
    assert (outside / "secret.csv").read_text() == f"{OUTSIDE},1\n"
    assert here.rows("print 1") == [[1]]


def run(here: World, text: str, *, is_query: bool) -> str:
    """Return the rows, or the refusal in Kusto's format, as text."""
    try:
        rows: Any = here.client.query(text) if is_query else here.client.mgmt(text)
        if "external table H" in text:
            rows = here.client.query("external_table('H')")
            here.client.mgmt(".export to table H <| print a = 'x', b = 1")
    except KustoApiError as error:
        return str(error)
    return str(rows)


def test_links_in_a_container_are_not_blobs(trapped: World) -> None:
    text = (
        f"inline_external_table (a: string, b: long) kind=storage dataformat=csv (h'{CONTAINER};managed_identity={{}}')"
    )
    assert trapped.rows(text.format(trapped.store)) == [["x", 1], ["y", 2]]


def test_links_in_a_container_are_neither_listed_nor_queued(trapped: World) -> None:
    def listed(path: str) -> str:
        return f".list blobs (h'{CONTAINER}{path};managed_identity={trapped.store}')"

    assert [row["BlobUri"] for row in trapped.ingest(listed(""))] == [f"{CONTAINER}/a.csv"]
    client = Client(trapped.cluster.ingest_url, trapped.cluster.token)
    for path in ("/link.csv", "/up", "/up/secret.csv"):
        for text in (listed(path), f".ingest-from-storage-queued into table R <| {listed(path)}"):
            assert "no blob" in client.refusal(text).description
    client.sdk.close()


def test_a_folder_that_a_link_replaces_is_not_written_through(trapped: World) -> None:
    text = f".export to csv (h'{CONTAINER}/up/new;managed_identity={trapped.store}') <| print a = 'x'"
    assert trapped.client.refusal(text).status == 400
    assert not (trapped.folder.parent / "new").exists()


@pytest.mark.parametrize("secret", ["?sv=2020&sig=abcdefgh", ";sharedkey1234", ";token=eyJhbGciOi"])
def test_credentials_are_refused_and_never_repeated(trapped: World, secret: str) -> None:
    for text, is_query in attempts(f"{CONTAINER}/a.csv{secret}", trapped.store):
        seen = run(trapped, text, is_query=is_query)
        assert "does not support" in seen or "not enabled" in seen
        assert secret[1:] not in seen
    shown = str(trapped.client.mgmt(".show ingestion failures"))
    assert secret[1:] not in shown
