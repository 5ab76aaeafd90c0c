"""Tests of failed sign-ins: one line that names the attempt and the next step, and no secrets."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kqlmi
from kqlmi.credentials import sign_in
from kqlmi.errors import InputError, SignInError
from tests.standins import machine
from tests.standins.entra import CLIENT, TENANT, Entra
from tests.standins.front import Front
from tests.standins.machine import AzureCli, Machine

PLANTED = "planted-Zx81-and-nothing-else"
JWT = "eyJhbGciOiJub25lIn0.eyJwbGFudGVkIjoiWng4MSJ9.cGxhbnRlZA"


def failed(endpoint: Front, auth: str, **options: Any) -> SignInError:
    """Sign in, which must fail, and return the error, which is one line with a hint."""
    with (
        kqlmi.connect(endpoint.url, auth=auth, history=False, **options) as session,
        pytest.raises(SignInError) as caught,
    ):
        session.databases()
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert endpoint.tokens == []
    return caught.value


def test_the_default_reports_which_ways_were_tried(endpoint: Front) -> None:
    with machine.imds(Machine("t")) as running, pytest.MonkeyPatch.context() as patch:
        # A machine without an identity; otherwise several seconds are spent on requests to its address.
        patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"{running.url}/nowhere")
        patch.setenv("AZURE_AUTHORITY_HOST", endpoint.login_endpoint or "")
        error = failed(endpoint, "default")
    assert "tried Environment, WorkloadIdentity, ManagedIdentity, " in error.message
    assert "AzureCli" in error.message
    assert error.message.endswith(", and none is set up here.")
    assert "az login" in error.hint
    assert "--auth device-code" in error.hint


def test_the_default_reports_which_way_was_refused(
    endpoint: Front, fresh: Entra, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fresh.url
    application(monkeypatch, "wrong")
    error = failed(endpoint, "default")
    assert "tried Environment; Environment was refused: " in error.message
    assert "AADSTS7000215" in error.message
    assert capfd.readouterr() == ("", "")


def application(monkeypatch: pytest.MonkeyPatch, secret: str = PLANTED) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", secret)


def by_secret(patch: pytest.MonkeyPatch, _folder: Path) -> str:
    application(patch)
    return "service-principal"


def by_default(patch: pytest.MonkeyPatch, _folder: Path) -> str:
    application(patch)
    return "default"


def by_wrong_certificate(patch: pytest.MonkeyPatch, folder: Path) -> str:
    application(patch, "")
    patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(Entra("").write_certificate(folder / "c.pem", PLANTED)))
    patch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", PLANTED)
    return "service-principal"


def by_wrong_password(patch: pytest.MonkeyPatch, folder: Path) -> str:
    application(patch, "")
    patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(Entra("").write_certificate(folder / "c.pem", "another")))
    patch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", PLANTED)
    return "service-principal"


def by_broken_certificate(patch: pytest.MonkeyPatch, folder: Path) -> str:
    application(patch, "")
    (folder / "c.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n")
    patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(folder / "c.pem"))
    return "service-principal"


def by_workload(patch: pytest.MonkeyPatch, folder: Path) -> str:
    application(patch, "")
    (folder / "token").write_text(JWT)
    patch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(folder / "token"))
    return "workload-identity"


def by_azure_cli(patch: pytest.MonkeyPatch, folder: Path) -> str:
    del patch
    AzureCli(folder / "bin", "").say(f'{{"accessToken":"{PLANTED}","expiresOn":"never"}}')
    return "azure-cli"


def by_azure_cli_that_fails(patch: pytest.MonkeyPatch, folder: Path) -> str:
    del patch
    AzureCli(folder / "bin", "").say("", error=f"AADSTS1: the refresh_token={PLANTED} of {JWT} is not valid.")
    return "azure-cli"


def by_app_service(patch: pytest.MonkeyPatch, _folder: Path) -> str:
    patch.setenv("IDENTITY_HEADER", PLANTED)
    return "managed-identity"


Plant = Callable[[pytest.MonkeyPatch, Path], str]
PLANTS: list[Plant] = [
    by_secret,
    by_default,
    by_wrong_certificate,
    by_wrong_password,
    by_broken_certificate,
    by_workload,
    by_azure_cli,
    by_azure_cli_that_fails,
    by_app_service,
]


@pytest.mark.parametrize("plant", PLANTS)
def test_no_secret_is_in_a_failure(
    endpoint: Front, fresh: Entra, tmp_path: Path, caplog: pytest.LogCaptureFixture, plant: Plant
) -> None:
    # An authority that repeats what it was sent, as no real one should.
    fresh.echo = True
    caplog.set_level(logging.INFO)
    with machine.app_service(Machine("t")) as running, pytest.MonkeyPatch.context() as patch:
        auth = plant(patch, tmp_path)
        if auth == "managed-identity":
            patch.setenv("IDENTITY_ENDPOINT", running.url)
        error = failed(endpoint, auth)
    shown = [*seen(error), caplog.text]
    for one in shown:
        assert PLANTED not in one
        assert JWT not in one
        assert "client_assertion=ey" not in one
    assert not any(
        part.startswith("ey") and part.count(".") == 2 for one in shown for part in one.replace("'", " ").split()
    )


def seen(error: BaseException) -> list[str]:
    """Return every text that an error and the errors chained to it show."""
    texts = ["".join(traceback.format_exception(error))]
    chain: list[BaseException] = [error]
    for one in chain:
        texts += [str(one), repr(one), *getattr(one, "__notes__", ())]
        chain += [found for found in (one.__cause__, one.__context__) if found is not None]
    return texts


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    for plant in PLANTS:
        with pytest.MonkeyPatch.context() as patch:
            found = sign_in(plant(patch, tmp_path))
            assert PLANTED not in f"{found!r} {found.credential!r}"
            found.close()
    assert PLANTED not in repr(sign_in(token=PLANTED))


OPTIONS = [
    ("token", {"tenant": TENANT}, "--tenant"),
    ("none", {"tenant": TENANT}, "--tenant"),
    ("managed-identity", {"tenant": TENANT}, "--tenant"),
    ("default", {"sign_in_identity": "system"}, "--sign-in-identity"),
    ("azure-cli", {"sign_in_identity": "system"}, "--sign-in-identity"),
]


@pytest.mark.parametrize(("mode", "options", "named"), OPTIONS)
def test_an_option_that_would_have_no_effect_is_refused(
    monkeypatch: pytest.MonkeyPatch, mode: str, options: dict[str, str], named: str
) -> None:
    monkeypatch.setenv("KQLMI_TOKEN", "t")
    with pytest.raises(InputError, match=f"does not accept {named}"):
        sign_in(mode, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("tenant", ["-h", "a b", "a/b", "a;b"])
def test_text_that_is_not_a_tenant_is_refused(tenant: str) -> None:
    with pytest.raises(InputError, match="is not the ID or domain of a tenant"):
        sign_in("azure-cli", tenant=tenant)


def test_a_certificate_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    application(monkeypatch, "")
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere/c.pem")
    with pytest.raises(InputError, match=r"/nowhere/c\.pem"):
        sign_in("service-principal")
