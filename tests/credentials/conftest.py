"""Fixtures: a local cluster, and the environment of a machine that signs in to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi.local.cluster import LocalCluster
from tests.standins import entra, front
from tests.standins.entra import Entra
from tests.standins.front import Front
from tests.standins.serving import Authority, certify

PUBLIC = "login.microsoftonline.com"
US = "login.microsoftonline.us"
CLUSTER = "mycluster.westeurope.kusto.windows.net"
US_CLUSTER = "mycluster.kusto.usgovcloudapi.net"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return certify(tmp_path_factory.mktemp("ca"), PUBLIC, US, CLUSTER, US_CLUSTER)


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"]) as started:
        yield started


@pytest.fixture(scope="session")
def directory(cluster: LocalCluster, authority: Authority) -> Iterator[Entra]:
    with entra.running(Entra(cluster.token), authority.tls) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path) -> None:
    """Remove everything that the test machine offers for signing in, and trust the CA."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "IMDS_", "MSI_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("KQLMI_TOKEN", raising=False)


@pytest.fixture
def fresh(directory: Entra, monkeypatch: pytest.MonkeyPatch) -> Entra:
    """The directory, trusted by the environment, with nothing granted yet."""
    directory.granted.clear()
    directory.pending, directory.echo, directory.denied = 1, False, False
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", directory.url)
    return directory


@pytest.fixture
def endpoint(cluster: LocalCluster, directory: Entra) -> Iterator[Front]:
    """The cluster behind an endpoint whose metadata names the directory for signing in."""
    with front.before(cluster.url, directory.url) as running:
        yield running
