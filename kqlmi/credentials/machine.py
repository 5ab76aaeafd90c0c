"""The managed identity of the machine that kqlmi runs on, as people name it."""

import os
import re
from typing import Final

from kqlmi.errors import InputError, printable

SYSTEM: Final = "system"
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RESOURCE_ID: Final = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)
_FORMS: Final = {"client_id": _GUID, "object_id": _GUID, "resource_id": _RESOURCE_ID}
_HINT: Final = "Write system, client_id=GUID, object_id=GUID or resource_id=/subscriptions/…/userAssignedIdentities/…"


def wanted(text: str) -> dict[str, str]:
    """Return the key and the value by which azure-identity asks for an identity; nothing for the system identity.

    It is that which ``text`` names, or AZURE_CLIENT_ID where it is empty, or the system identity.

    Raises:
        InputError: That names no identity, or this machine would take another one for it.
    """
    from_environment = os.environ.get("AZURE_CLIENT_ID", "")
    if not text and from_environment and not _GUID.fullmatch(from_environment):
        raise InputError(
            "The environment variable AZURE_CLIENT_ID holds no client ID.", hint=f"--sign-in-identity: {_HINT}"
        )
    found = _named(text or from_environment or SYSTEM)
    if text and "client_id" not in found and _federates():
        # azure-identity then takes the workload identity, whatever it is asked for.
        raise InputError(
            "This machine signs in by workload identity, which is named by its client ID only.",
            hint="Write --sign-in-identity client_id=GUID, or --auth workload-identity.",
        )
    return found


def _named(text: str) -> dict[str, str]:
    if text == SYSTEM:
        return {}
    key, equals, value = text.partition("=")
    if not equals:
        key, value = ("resource_id" if text.startswith("/") else "client_id"), text
    # azure-identity takes the system identity for a key that it does not know.
    if key not in _FORMS or not _FORMS[key].fullmatch(value):
        raise InputError(f"{printable(text)!r} names no managed identity of this machine.", hint=_HINT)
    return {key: value}


def _federates() -> bool:
    names = ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    elsewhere = any(os.environ.get(name) for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT"))
    return not elsewhere and all(os.environ.get(name) for name in names)
