"""Tests of clusters under their real names, through a proxy and with a private CA: which authorities are used."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import kqlmi
from kqlmi.errors import ConnectionFailedError, InputError, SignInError
from kqlmi.local.cluster import LocalCluster
from tests.credentials.conftest import CLUSTER, PUBLIC, US, US_CLUSTER
from tests.standins import front
from tests.standins.entra import CLIENT, TENANT, Entra
from tests.standins.serving import Authority

pytestmark = pytest.mark.usefixtures("application")


@pytest.fixture
def application(directory: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.granted.clear()
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", directory.secret)


class Internet:
    """The hosts that a machine can reach through its proxy: two clouds, and an unknown authority."""

    def __init__(self, cluster: LocalCluster, directory: Entra, tls: Authority, held: ExitStack) -> None:
        self.cluster = held.enter_context(front.before(cluster.url, None, tls.tls))
        self.us = held.enter_context(front.before(cluster.url, f"https://{US}", tls.tls))
        port = int(directory.url.rpartition(":")[2])
        names = {CLUSTER: self.cluster.port, US_CLUSTER: self.us.port, PUBLIC: port, US: port}
        self.proxy, self.asked = held.enter_context(front.proxy(names))


@pytest.fixture
def internet(
    cluster: LocalCluster, directory: Entra, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Internet]:
    with ExitStack() as held:
        made = Internet(cluster, directory, authority, held)
        monkeypatch.setenv("HTTPS_PROXY", made.proxy)
        yield made


def databases(cluster: str) -> tuple[str, ...]:
    with kqlmi.connect(f"https://{cluster}", auth="service-principal", history=False) as session:
        return session.databases()


def test_a_cluster_without_metadata_is_the_public_clouds(internet: Internet, directory: Entra) -> None:
    assert databases(CLUSTER) == ("Samples",)
    assert internet.cluster.tokens == [directory.token]
    assert set(internet.asked) == {CLUSTER, PUBLIC}


def test_a_sovereign_clouds_own_authority_is_used_and_no_other(internet: Internet, directory: Entra) -> None:
    assert databases(US_CLUSTER) == ("Samples",)
    assert internet.us.tokens == [directory.token]
    assert set(internet.asked) == {US_CLUSTER, US}


def test_without_the_ca_nothing_is_sent(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ConnectionFailedError):
        databases(CLUSTER)
    assert (internet.cluster.tokens, set(internet.asked)) == ([], {CLUSTER})


def test_a_host_that_the_proxy_does_not_reach_is_reported(internet: Internet) -> None:
    with pytest.raises(ConnectionFailedError, match=r"other\.kusto\.windows\.net"):
        databases("other.kusto.windows.net")
    assert set(internet.asked) == {"other.kusto.windows.net"}


def test_a_host_that_is_not_a_cluster_receives_no_token(
    internet: Internet, cluster: LocalCluster, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front.proxy({PUBLIC: internet.us.port, US: internet.us.port, US_CLUSTER: internet.cluster.port}) as (
        url,
        asked,
    ):
        monkeypatch.setenv("HTTPS_PROXY", url)
        # A cluster in one cloud that names the sign-in authority of another.
        with pytest.raises(InputError, match="so no token was sent to it"):
            databases(US_CLUSTER)
    assert asked == [US_CLUSTER]
    assert internet.cluster.tokens == []
    assert cluster.url
    assert authority.file


@pytest.mark.parametrize("named", [True, False])
def test_an_unknown_authority_receives_no_secret(
    cluster: LocalCluster, directory: Entra, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    if named:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", directory.url)
    with (
        front.before(cluster.url, directory.url) as endpoint,
        kqlmi.connect(endpoint.url, auth="service-principal", history=False) as session,
    ):
        if named:
            assert session.databases() == ("Samples",)
        else:
            with pytest.raises(SignInError, match="is not a known authority") as caught:
                session.databases()
            assert f"AZURE_AUTHORITY_HOST={directory.url}" in caught.value.hint
    assert directory.granted == (["secret"] if named else [])


def test_plain_http_is_not_accepted_as_an_authority(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1")
    with (
        front.before(cluster.url, "http://127.0.0.1:1") as endpoint,
        kqlmi.connect(endpoint.url, auth="service-principal", history=False) as session,
        pytest.raises(SignInError, match="not a known authority"),
    ):
        session.databases()
