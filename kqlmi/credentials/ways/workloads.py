"""The ways in which programs and machines sign in."""

import os
from pathlib import Path

from kqlmi.credentials import machine
from kqlmi.credentials.way import Credential, Wanted, environment, way
from kqlmi.errors import InputError, printable


@way(
    "managed-identity",
    "sign_in_identity",
    hint="Use --sign-in-identity for another identity of this machine. Outside Azure, connect with --auth azure-cli.",
    entra=False,
)
def _managed_identity(wanted: Wanted) -> Credential:
    identity = machine.wanted(wanted.sign_in_identity)
    # A client ID may also specify a workload identity, but only as a separate argument.
    is_direct = "client_id" in identity or not identity
    return "ManagedIdentityCredential", identity if is_direct else {"identity_config": identity}


@way(
    "service-principal",
    "tenant",
    hint="Check AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH.",
)
def _service_principal(wanted: Wanted) -> Credential:
    who = _application(wanted)
    path = os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH", "")
    # As in azure-identity, a secret takes precedence over a certificate.
    if os.environ.get("AZURE_CLIENT_SECRET") or not path:
        secret = environment("AZURE_CLIENT_SECRET", otherwise=" or AZURE_CLIENT_CERTIFICATE_PATH")
        return "ClientSecretCredential", {**who, "client_secret": secret}
    if not Path(path).is_file():
        raise InputError(
            f"The certificate {printable(path)!r} does not exist.",
            hint="Set AZURE_CLIENT_CERTIFICATE_PATH to the path of the certificate.",
        )
    password = os.environ.get("AZURE_CLIENT_CERTIFICATE_PASSWORD") or None
    chain = os.environ.get("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "").lower() in {"1", "true"}
    certificate = {"certificate_path": path, "password": password, "send_certificate_chain": chain}
    return "CertificateCredential", {**who, **certificate}


@way(
    "workload-identity",
    "tenant",
    hint="Check AZURE_TENANT_ID, AZURE_CLIENT_ID and the file that AZURE_FEDERATED_TOKEN_FILE names.",
)
def _workload_identity(wanted: Wanted) -> Credential:
    who = _application(wanted)
    return "WorkloadIdentityCredential", {**who, "token_file_path": environment("AZURE_FEDERATED_TOKEN_FILE")}


def _application(wanted: Wanted) -> dict[str, str]:
    tenant = wanted.tenant or environment("AZURE_TENANT_ID")
    return {"tenant_id": tenant, "client_id": environment("AZURE_CLIENT_ID")}
