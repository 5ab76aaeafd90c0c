"""Tests of each way to sign in, through the real libraries, until its bearer token arrives at the cluster."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

import kqlmi
from kqlmi.errors import InputError, SignInError
from kqlmi.session import Session
from tests.standins import entra, machine
from tests.standins.entra import CLIENT, OTHER_TENANT, TENANT, Entra
from tests.standins.front import Front
from tests.standins.machine import CLIENT_ID, OBJECT_ID, RESOURCE_ID, AzureCli, Machine


def connect(endpoint: Front, auth: str = "default", **options: Any) -> Session:
    return kqlmi.connect(endpoint.url, auth=auth, history=False, **options)


def arrives(endpoint: Front, token: str, auth: str = "default", **options: Any) -> None:
    """Sign in and send two requests, each of which must carry the token."""
    with connect(endpoint, auth, **options) as session:
        assert session.databases() == ("Samples",)
        assert session.databases() == ("Samples",)
    assert endpoint.tokens == [token, token]


@pytest.fixture
def application(fresh: Entra, monkeypatch: pytest.MonkeyPatch) -> Entra:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    return fresh


def test_a_service_principal_by_its_secret(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", application.secret)
    arrives(endpoint, application.token, "service-principal")
    assert application.granted == ["secret"]


@pytest.mark.parametrize("password", ["", "planted-password"])
def test_a_service_principal_by_its_certificate(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, password: str
) -> None:
    file = application.write_certificate(tmp_path / "certificate.pem", password)
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", password)
    arrives(endpoint, application.token, "service-principal")
    assert application.granted == ["certificate"]


def test_another_applications_certificate_is_refused(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = Entra("").write_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    with connect(endpoint, "service-principal") as session, pytest.raises(SignInError, match="AADSTS700027"):
        session.databases()
    assert (application.granted, endpoint.tokens) == ([], [])


def test_a_workload_identity(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(application.federated())
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
    arrives(endpoint, application.token, "workload-identity")
    assert application.granted == ["federated"]


@pytest.mark.parametrize("claims", [{"sub": "system:serviceaccount:other:one"}, {"aud": "elsewhere"}, {"exp": 1}])
def test_a_workload_that_is_not_federated_is_refused(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, claims: dict[str, Any]
) -> None:
    file = tmp_path / "token"
    file.write_text(application.federated(**claims))
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
    with connect(endpoint, "workload-identity") as session, pytest.raises(SignInError, match="AADSTS700"):
        session.databases()
    assert (application.granted, endpoint.tokens) == ([], [])


@pytest.mark.parametrize("tenant", ["", TENANT])
def test_a_user_by_a_device_code_that_is_shown_and_waited_for(endpoint: Front, fresh: Entra, tenant: str) -> None:
    reported: list[str] = []
    arrives(endpoint, fresh.token, "device-code", tenant=tenant, tell=reported.append)
    assert fresh.granted == ["device code"]
    [text] = reported
    assert text.startswith("To sign in, open https://microsoft.com/devicelogin and enter the code KQL5MI7AB by ")


def test_a_device_code_that_is_declined(endpoint: Front, fresh: Entra) -> None:
    fresh.denied = True
    with connect(endpoint, "device-code", tell=lambda _: None) as session, pytest.raises(SignInError, match="declined"):
        session.databases()


def test_the_azure_cli_which_is_run_once_for_many_requests(endpoint: Front, fresh: Entra, tmp_path: Path) -> None:
    cli = AzureCli(tmp_path / "bin", fresh.token)
    arrives(endpoint, fresh.token, "azure-cli", tenant=TENANT)
    assert len(cli.asked) == 1
    assert cli.asked[0].endswith(f"--tenant {TENANT}")


def test_an_azure_cli_without_a_signed_in_user(endpoint: Front, tmp_path: Path) -> None:
    AzureCli(tmp_path / "bin", "").say("", error="ERROR: Please run 'az login' to setup account.")
    with connect(endpoint, "azure-cli") as session, pytest.raises(SignInError, match="Run az login") as caught:
        session.databases()
    assert "\n" not in str(caught.value)


IDENTITIES = [
    ("", "system"),
    ("system", "system"),
    (CLIENT_ID, "client_id"),
    (f"client_id={CLIENT_ID}", "client_id"),
    (f"object_id={OBJECT_ID}", "object_id"),
    (f"resource_id={RESOURCE_ID}", "resource_id"),
    (RESOURCE_ID, "resource_id"),
]
ON_THE_WIRE = {"app_service": "mi_res_id", "imds": "msi_res_id"}


@pytest.mark.parametrize("named", IDENTITIES)
@pytest.mark.parametrize("host", ["app_service", "imds"])
def test_a_managed_identity(
    endpoint: Front, fresh: Entra, monkeypatch: pytest.MonkeyPatch, host: str, named: tuple[str, str]
) -> None:
    identity, kind = named
    monkeypatch.delenv("AZURE_AUTHORITY_HOST")
    with getattr(machine, host)(Machine(fresh.token)) as running:
        _settle_on(monkeypatch, host, running)
        arrives(endpoint, fresh.token, "managed-identity", sign_in_identity=identity)
    assert set(running.asked) == {ON_THE_WIRE[host] if kind == "resource_id" else kind}


def _settle_on(monkeypatch: pytest.MonkeyPatch, host: str, running: Machine) -> None:
    if host == "imds":
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", running.url)
    else:
        monkeypatch.setenv("IDENTITY_ENDPOINT", running.url)
        monkeypatch.setenv("IDENTITY_HEADER", running.header)


@pytest.mark.parametrize("host", ["app_service", "imds"])
def test_an_identity_that_the_machine_does_not_have_is_not_replaced_by_another(
    endpoint: Front, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with getattr(machine, host)(Machine("t")) as running:
        _settle_on(monkeypatch, host, running)
        identity = f"client_id={OBJECT_ID}"
        with (
            connect(endpoint, "managed-identity", sign_in_identity=identity) as session,
            pytest.raises(SignInError) as caught,
        ):
            session.databases()
    assert "--sign-in-identity" in caught.value.hint
    assert (running.asked, endpoint.tokens) == ([], [])


@pytest.mark.parametrize(
    "identity",
    ["cluster", "clientid=x", f"client-id={CLIENT_ID}", f"principal_id={OBJECT_ID}", "client_id=", "resource_id=/x"],
)
def test_an_identity_that_azure_identity_would_not_recognise_is_refused(endpoint: Front, identity: str) -> None:
    with pytest.raises(InputError, match="does not specify a managed identity of this machine"):
        connect(endpoint, "managed-identity", sign_in_identity=identity)


def test_an_identity_that_a_workload_identity_would_replace_is_refused(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "token")
    assert application.url
    for identity in ("system", f"object_id={OBJECT_ID}", RESOURCE_ID):
        with pytest.raises(InputError, match="by its client ID only"):
            connect(endpoint, "managed-identity", sign_in_identity=identity)


def test_the_default_is_the_first_way_that_is_set_up(
    endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", application.secret)
    arrives(endpoint, application.token, tenant=TENANT)
    assert application.granted == ["secret"]


def test_the_default_reaches_the_azure_cli(endpoint: Front, fresh: Entra, tmp_path: Path) -> None:
    AzureCli(tmp_path / "bin", fresh.token)
    with machine.imds(Machine("no token here")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", running.url)
        patch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
        arrives(endpoint, fresh.token)


def test_a_token_from_elsewhere_uses_no_authority(
    endpoint: Front, fresh: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KQLMI_TOKEN", fresh.token)
    arrives(endpoint, fresh.token, "token")
    assert (fresh.granted, endpoint.metadata) == ([], 0)


class Own:
    """A user-defined credential."""

    def __init__(self, token: str) -> None:
        self.token, self.asked, self.closed = token, list[Any](), False

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked.append((scopes, options))
        return AccessToken(self.token, 4_000_000_000)

    def close(self) -> None:
        self.closed = True


def test_a_user_defined_credential_serves_two_sessions_and_stays_open(endpoint: Front, fresh: Entra) -> None:
    own = Own(fresh.token)
    for _ in range(2):
        with connect(endpoint, credential=own, tenant=TENANT) as session:
            session.databases()
    assert own.asked == [((entra.KUSTO,), {"tenant_id": TENANT})] * 2
    assert not own.closed


def test_the_kusto_client_does_not_close_a_shared_credential(endpoint: Front, application: Entra) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_CLIENT_SECRET", application.secret)
        session = connect(endpoint, "service-principal")
    session.databases()
    connection: Any = session.connection
    credential = connection._target.sign_in.credential
    connection._client.close()
    assert credential.get_token(entra.KUSTO).token == application.token
    assert credential.get_token(entra.KUSTO, tenant_id=TENANT).token == application.token
    assert application.token not in repr(credential)
    session.close()
    with pytest.raises(kqlmi.KqlmiError, match="closed"):
        credential.get_token(entra.KUSTO)


def test_a_tenant_that_does_not_exist(endpoint: Front, application: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", application.secret)
    with connect(endpoint, "service-principal", tenant=OTHER_TENANT) as session, pytest.raises(SignInError) as caught:
        session.databases()
    assert OTHER_TENANT in caught.value.message
