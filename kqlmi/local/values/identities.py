"""The managed identities assigned to the local cluster."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

TENANT_ID = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
"""The tenant of the local cluster and of its callers."""


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Identity:
    """A managed identity assigned to the cluster."""

    display_name: str
    object_id: str = field(default_factory=_new_id)
    client_id: str = field(default_factory=_new_id)
    tenant_id: str = TENANT_ID
    is_system: bool = False


def as_identity(given: str | Identity) -> Identity:
    """Return the identity, or a new one with the given name; ``system`` makes it system-assigned."""
    if isinstance(given, Identity):
        return given
    return Identity(given, is_system=given == "system")


def find(identities: Iterable[Identity], object_id: str) -> Identity | None:
    """Return the identity with an object ID, or the system-assigned identity for ``system``, or None if there is none."""
    wanted = object_id.strip().lower()
    for identity in identities:
        if wanted == identity.object_id.lower() or (wanted == "system" and identity.is_system):
            return identity
    return None
