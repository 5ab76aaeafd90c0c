"""The managed identity of the machine that kqlmi runs on, as users specify it."""

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
_SPELLINGS: Final = "system, client_id=GUID, object_id=GUID or resource_id=/subscriptions/…/userAssignedIdentities/…"


def wanted(text: str) -> dict[str, str]:
    """Return the key and the value with which azure-identity requests an identity, or nothing for the system identity.

    ``text`` specifies the identity. If it is empty, AZURE_CLIENT_ID or else the system identity is used.

    Raises:
        InputError: ``text`` does not specify an identity, or this machine would use another identity instead.
    """
    from_environment = os.environ.get("AZURE_CLIENT_ID", "")
    if not text and from_environment and not _GUID.fullmatch(from_environment):
        raise InputError(
            "The environment variable AZURE_CLIENT_ID is not a client ID.",
            hint=f"Correct it, or pass --sign-in-identity with {_SPELLINGS}",
        )
    found = _named(text or from_environment or SYSTEM)
    if text and "client_id" not in found and _federates():
        # azure-identity would use the workload identity, whichever identity is requested.
        raise InputError(
            "This machine signs in with a workload identity, which can be specified by its client ID only.",
            hint="Use --sign-in-identity client_id=GUID, or --auth workload-identity.",
        )
    return found


def _named(text: str) -> dict[str, str]:
    if text == SYSTEM:
        return {}
    key, equals, value = text.partition("=")
    if not equals:
        key, value = ("resource_id" if text.startswith("/") else "client_id"), text
    # azure-identity uses the system identity if it does not know the key.
    if key not in _FORMS or not _FORMS[key].fullmatch(value):
        raise InputError(
            f"{printable(text)!r} does not specify a managed identity of this machine.", hint=f"Use {_SPELLINGS}"
        )
    return {key: value}


def _federates() -> bool:
    names = ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    elsewhere = any(os.environ.get(name) for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT"))
    return not elsewhere and all(os.environ.get(name) for name in names)
