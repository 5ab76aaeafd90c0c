"""Tests of the audiences for which a cluster may request a token, and of where a given token is sent."""

import json
from importlib.resources import files

import pytest
from azure.core.credentials import AccessToken

import kqlmi
from kqlmi.cluster.connection import Target
from kqlmi.cluster.ingest import IngestClient
from kqlmi.credentials import sign_in
from kqlmi.credentials.audiences import KUSTO_SUFFIXES
from kqlmi.errors import InputError, SignInError
from tests.standins.entra import CLIENT, TENANT, Entra
from tests.standins.front import Front


@pytest.fixture
def application(fresh: Entra, monkeypatch: pytest.MonkeyPatch) -> Entra:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", fresh.secret)
    return fresh


def databases(endpoint: Front) -> tuple[str, ...]:
    with kqlmi.connect(endpoint.url, auth="service-principal", history=False) as session:
        return session.databases()


@pytest.mark.parametrize(
    "resource",
    [
        "https://management.azure.com",
        "https://graph.microsoft.com",
        "https://api.securitycenter.windows.com",
        "https://evil.example",
        "https://kusto.windows.net.evil.example",
        "https://evilkusto.windows.net",
        "https://.kusto.windows.net",
        "http://kusto.kusto.windows.net",
        "https://management.azure.com/.kusto.windows.net",
        "https://management.azure.com#.kusto.windows.net",
        "https://management.azure.com?.kusto.windows.net",
        "https://management.azure.com\\.kusto.windows.net",
        "https://kusto.kusto.windows.net@management.azure.com",
        "https://management.azure.com:443/.kusto.windows.net",
        "https://management.azure.com/.default https://kusto.kusto.windows.net",
        "https://kusto.kusto.windows.net\nhttps://graph.microsoft.com",
        "00000003-0000-0000-c000-000000000000",
        "",
    ],
)
def test_a_cluster_receives_no_token_for_another_audience(endpoint: Front, application: Entra, resource: str) -> None:
    endpoint.resource_id = resource
    with pytest.raises(SignInError, match="which is not Kusto") as caught:
        databases(endpoint)
    assert "--audience" in caught.value.hint
    assert (application.granted, endpoint.tokens) == ([], [])


class Credential:
    """A user-defined credential, which returns a token for any audience."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken(scopes[0], 2**33)


def asked(resource: str, audience: str = "") -> str:
    credential = sign_in(credential=Credential(), audience=audience).for_cluster
    assert credential is not None
    return str(credential.get_token(f"{resource}/.default").token)


@pytest.mark.parametrize("resource", [f"https://Mine.westeurope{suffix}" for suffix in KUSTO_SUFFIXES.split()])
def test_kustos_own_audience_is_accepted(resource: str) -> None:
    assert asked(resource) == f"{resource}/.default"


def test_an_audience_that_the_user_names_is_accepted_and_no_other() -> None:
    resource = "https://adx.monitor.azure.com"
    with pytest.raises(SignInError):
        asked(resource, "https://adx.loganalytics.azure.com")
    assert asked(resource, "https://ADX.monitor.azure.com/") == f"{resource}/.default"


def test_the_list_is_that_of_the_sdk_except_for_other_services() -> None:
    text = files("azure.kusto.data").joinpath("wellKnownKustoEndpoints.json").read_text(encoding="utf-8")
    clouds = json.loads(text)["AllowedEndpointsByLogin"].values()
    found = {suffix for cloud in clouds for suffix in cloud["AllowedKustoSuffixes"] if suffix.startswith(".kusto")}
    assert set(KUSTO_SUFFIXES.split()) <= found


@pytest.mark.parametrize("mode", ["token", "none"])
def test_a_given_token_needs_no_audience(mode: str) -> None:
    with pytest.raises(InputError, match="audience has no effect"):
        sign_in(mode, audience="https://kusto.kusto.windows.net")


@pytest.mark.parametrize(
    ("ingest_url", "goes"),
    [
        ("https://ingest-mine.westeurope.kusto.windows.net", True),
        ("https://mine.westeurope.kusto.windows.net", True),
        ("https://ingest-other.westeurope.kusto.windows.net", False),
        ("https://mine.westeurope.kusto.windows.net.evil.example", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_a_token_is_sent_only_to_the_cluster_that_it_was_passed_for(ingest_url: str, goes: bool) -> None:  # noqa: FBT001
    target = Target("https://mine.westeurope.kusto.windows.net", sign_in(token="abc"), ingest_url)  # noqa: S106
    if goes:
        IngestClient(target)
    else:
        with pytest.raises(InputError, match="was not sent to"):
            IngestClient(target)


def test_the_environments_token_is_sent_only_to_its_cluster_unless_requested(
    endpoint: Front, fresh: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KQLMI_TOKEN", fresh.token)
    monkeypatch.setenv("KQLMI_AUTH", "token")
    monkeypatch.setenv("KQLMI_CLUSTER", "mine.westeurope")
    with pytest.raises(InputError, match="was not sent to"):
        kqlmi.connect(endpoint.url)
    assert endpoint.tokens == []
    with kqlmi.connect(endpoint.url, auth="token", history=False) as session:
        assert session.databases() == ("Samples",)
    monkeypatch.setenv("KQLMI_CLUSTER", endpoint.url)
    for cluster in ("", endpoint.url.upper().replace("HTTP", "http")):
        with kqlmi.connect(cluster, history=False) as session:
            assert session.databases() == ("Samples",)
