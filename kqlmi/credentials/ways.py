"""The ways to sign in through azure-identity, a function each."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kqlmi.credentials import machine
from kqlmi.errors import InputError, printable

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")

Make = Callable[[Mapping[str, Any]], Any]
"""Makes a credential; it is given the keyword arguments that name the authority, none where ``entra`` is False."""


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was said about signing in; ``tell`` is called with what a person has to do, such as entering a code."""

    tenant: str = ""
    identity: str = ""
    tell: Callable[[str], None] = _to_stderr


@dataclass(frozen=True, slots=True)
class Way:
    """A way to sign in: ``prepare`` checks what it needs, and sends nothing.

    ``hint`` is what to type after it failed. ``entra`` tells whether it asks the authority of the cluster's cloud,
    ``options`` which of ``tenant`` and ``identity`` it takes.
    """

    prepare: Callable[[Wanted], Make]
    hint: str
    entra: bool
    options: frozenset[str]


WAYS: dict[str, Way] = {}


def _way(
    name: str, *options: str, hint: str, entra: bool = True
) -> Callable[[Callable[[Wanted], Make]], Callable[[Wanted], Make]]:
    def register(prepare: Callable[[Wanted], Make]) -> Callable[[Wanted], Make]:
        WAYS[name] = Way(prepare, hint, entra, frozenset(options))
        return prepare

    return register


def checked_tenant(text: str) -> str:
    """Give a tenant's ID or domain; InputError where it is neither."""
    if text and not _TENANT.fullmatch(text):
        raise InputError(f"{printable(text)!r} is no tenant.", hint="Write its ID, or a domain of it.")
    return text


def environment(name: str, *, otherwise: str = "") -> str:
    """Give an environment variable; InputError where it is not set, naming what would do as well."""
    value = os.environ.get(name, "")
    if not value:
        raise InputError(f"Signing in this way needs the environment variable {name}{otherwise}.")
    return value


def _tenant(wanted: Wanted) -> dict[str, Any]:
    return {"tenant_id": wanted.tenant} if wanted.tenant else {}


@_way(
    "default",
    "tenant",
    hint="Run az login in a terminal and connect with --auth azure-cli, or with --auth device-code.",
)
def _default(wanted: Wanted) -> Make:
    def make(entra: Mapping[str, Any]) -> Any:
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential(additionally_allowed_tenants=list(_tenant(wanted).values()), **entra)

    return make


@_way("interactive", "tenant", hint="Where this machine has no browser, connect with --auth device-code.")
def _interactive(wanted: Wanted) -> Make:
    def make(entra: Mapping[str, Any]) -> Any:
        from azure.identity import InteractiveBrowserCredential

        return InteractiveBrowserCredential(**_tenant(wanted), **entra)

    return make


@_way("device-code", "tenant", hint="Connect again for a new code; --tenant names another tenant.")
def _device_code(wanted: Wanted) -> Make:
    def prompt(link: str, code: str, until: Any) -> None:
        wanted.tell(f"To sign in, open {printable(link)} and enter the code {printable(code)} by {until:%H:%M} UTC.")

    def make(entra: Mapping[str, Any]) -> Any:
        from azure.identity import DeviceCodeCredential

        return DeviceCodeCredential(prompt_callback=prompt, **_tenant(wanted), **entra)

    return make


@_way("azure-cli", "tenant", hint="Run az login in a terminal, and connect again.", entra=False)
def _azure_cli(wanted: Wanted) -> Make:
    def make(_entra: Mapping[str, Any]) -> Any:
        from azure.identity import AzureCliCredential

        return AzureCliCredential(process_timeout=30, **_tenant(wanted))

    return make


@_way(
    "managed-identity",
    "identity",
    hint="--identity names another identity of this machine; away from Azure, connect with --auth azure-cli.",
    entra=False,
)
def _managed_identity(wanted: Wanted) -> Make:
    identity: Mapping[str, Any] = machine.wanted(wanted.identity)

    def make(_entra: Mapping[str, Any]) -> Any:
        from azure.identity import ManagedIdentityCredential

        # Only as an argument of its own does a client ID name a workload identity as well.
        if "client_id" in identity or not identity:
            return ManagedIdentityCredential(**identity)
        return ManagedIdentityCredential(identity_config=identity)

    return make


@_way(
    "service-principal",
    "tenant",
    hint="Look at AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH.",
)
def _service_principal(wanted: Wanted) -> Make:
    who = (wanted.tenant or environment("AZURE_TENANT_ID"), environment("AZURE_CLIENT_ID"))
    path = os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH", "")
    # As azure-identity has it: a secret goes before a certificate.
    if os.environ.get("AZURE_CLIENT_SECRET") or not path:
        secret = environment("AZURE_CLIENT_SECRET", otherwise=" or AZURE_CLIENT_CERTIFICATE_PATH")
        return lambda entra: _by_secret(*who, secret, entra)
    if not Path(path).is_file():
        raise InputError(
            f"There is no file {printable(path)!r}.", hint="AZURE_CLIENT_CERTIFICATE_PATH names the certificate."
        )
    password = os.environ.get("AZURE_CLIENT_CERTIFICATE_PASSWORD") or None
    chain = os.environ.get("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "").lower() in {"1", "true"}
    return lambda entra: _by_certificate(*who, path, {"password": password, "send_certificate_chain": chain, **entra})


def _by_secret(tenant: str, client: str, secret: str, options: Mapping[str, Any]) -> Any:
    from azure.identity import ClientSecretCredential

    return ClientSecretCredential(tenant, client, secret, **options)


def _by_certificate(tenant: str, client: str, path: str, options: Mapping[str, Any]) -> Any:
    from azure.identity import CertificateCredential

    return CertificateCredential(tenant, client, path, **options)


@_way(
    "workload-identity",
    "tenant",
    hint="Look at AZURE_TENANT_ID, AZURE_CLIENT_ID and the file that AZURE_FEDERATED_TOKEN_FILE names.",
)
def _workload_identity(wanted: Wanted) -> Make:
    named = {
        "tenant_id": wanted.tenant or environment("AZURE_TENANT_ID"),
        "client_id": environment("AZURE_CLIENT_ID"),
        "token_file_path": environment("AZURE_FEDERATED_TOKEN_FILE"),
    }

    def make(entra: Mapping[str, Any]) -> Any:
        from azure.identity import WorkloadIdentityCredential

        return WorkloadIdentityCredential(**named, **entra)

    return make
