"""Ways to sign in."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kqlmi.errors import InputError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


@dataclass(frozen=True, slots=True)
class SignIn:
    """How a connection signs in: ``mode`` for people, and what makes it true; no repr shows a secret."""

    mode: str
    token: str | None = field(default=None, repr=False)
    credential: "TokenCredential | None" = field(default=None, repr=False)


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise InputError(f"Signing in this way needs the environment variable {name}.")
    return value


def _default() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _interactive() -> Any:
    from azure.identity import InteractiveBrowserCredential

    return InteractiveBrowserCredential()


def _device_code() -> Any:
    from azure.identity import DeviceCodeCredential

    return DeviceCodeCredential()


def _azure_cli() -> Any:
    from azure.identity import AzureCliCredential

    return AzureCliCredential()


def _managed_identity() -> Any:
    from azure.identity import ManagedIdentityCredential

    # By its client ID where AZURE_CLIENT_ID names one, otherwise the system identity of this machine.
    client_id = os.environ.get("AZURE_CLIENT_ID")
    return ManagedIdentityCredential(client_id=client_id) if client_id else ManagedIdentityCredential()


def _service_principal() -> Any:
    from azure.identity import ClientSecretCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    return ClientSecretCredential(*(_environment(name) for name in names))


_MODES: dict[str, Callable[[], Any]] = {
    "default": _default,
    "interactive": _interactive,
    "device-code": _device_code,
    "azure-cli": _azure_cli,
    "managed-identity": _managed_identity,
    "service-principal": _service_principal,
}
MODES = (*_MODES, "token", "none")


def sign_in(mode: str = "default", *, token: str | None = None, credential: Any = None) -> SignIn:
    """Give the way to sign in.

    Args:
        mode: One of ``MODES``; secrets come from the environment: ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID`` and
            ``AZURE_CLIENT_SECRET`` for service-principal, ``KQLMI_TOKEN`` for token.
        token: A bearer token that was had elsewhere.
        credential: Any azure-identity credential.

    Raises:
        InputError: The mode is not known, or the environment lacks what it needs.
    """
    if token is not None or (mode == "token" and credential is None):
        found = (_environment("KQLMI_TOKEN") if token is None else token).strip()
        if not found or not found.isascii() or not found.isprintable():
            raise InputError("That is not a token: it is empty, or holds a character that no header can carry.")
        return SignIn("token", token=found)
    if credential is not None:
        return SignIn(type(credential).__name__, credential=credential)
    if mode == "none":
        return SignIn(mode)
    if mode not in _MODES:
        raise InputError(f"There is no sign-in mode {mode!r}.", hint=f"Use one of: {', '.join(MODES)}.")
    return SignIn(mode, credential=_MODES[mode]())
