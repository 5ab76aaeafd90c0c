"""Principals, their security roles, and the callers of the local cluster."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from kqlmi.local.values.faults import bad_request, unsupported
from kqlmi.local.values.identities import TENANT_ID, Identity


class Role(StrEnum):
    """A security role; its value is the word that commands use."""

    ADMINS = "admins"
    USERS = "users"
    VIEWERS = "viewers"
    MONITORS = "monitors"
    INGESTORS = "ingestors"

    @property
    def title(self) -> str:  # type: ignore[override]
        """The role's name in results, such as ``Admin``."""
        return self.value[:-1].capitalize()


READ_DATA = frozenset({Role.ADMINS, Role.USERS, Role.VIEWERS})
READ_SCHEMA = READ_DATA | {Role.MONITORS}
INGEST = frozenset({Role.ADMINS, Role.INGESTORS})
CREATE = frozenset({Role.ADMINS, Role.USERS})
MONITOR = frozenset({Role.ADMINS, Role.MONITORS})
ADMIN = frozenset({Role.ADMINS})

_TYPES = {
    "aadapp": "Microsoft Entra app",
    "aaduser": "Microsoft Entra user",
    "aadgroup": "Microsoft Entra group",
}


@dataclass(frozen=True)
class Principal:
    """A user or an application; ``kind`` is ``aadapp``, ``aaduser`` or ``aadgroup``."""

    kind: str
    object_id: str
    display_name: str
    tenant_id: str = TENANT_ID
    other_id: str = ""

    @property
    def fqn(self) -> str:
        """The fully qualified name, as used in commands."""
        return f"{self.kind}={self.object_id};{self.tenant_id}" if self.tenant_id else f"{self.kind}={self.object_id}"

    @property
    def type_name(self) -> str:
        """The type of the principal, as shown in results."""
        return _TYPES[self.kind]

    def is_same(self, other: "Principal") -> bool:
        """Check whether two principals are the same; an application can be identified by its object ID or its client ID."""
        mine, theirs = ({one.object_id.lower(), one.other_id.lower()} - {""} for one in (self, other))
        tenants = {self.tenant_id.lower(), other.tenant_id.lower()} - {""}
        return self.kind == other.kind and bool(mine & theirs) and len(tenants) <= 1


@dataclass(frozen=True)
class Caller:
    """The owner of an access token; ``roles`` apply to all databases."""

    principal: Principal
    roles: frozenset[Role] = field(default=frozenset())


def new_app(display_name: str) -> Principal:
    """Return an application with a new object ID and client ID."""
    return Principal("aadapp", str(uuid.uuid4()), display_name, other_id=str(uuid.uuid4()))


def of_identity(identity: Identity) -> Principal:
    """Return the principal of a managed identity, which can be assigned roles in databases."""
    return Principal(
        "aadapp", identity.object_id, identity.display_name, identity.tenant_id, other_id=identity.client_id
    )


def parse_fqn(text: str, known: Iterable[Principal], identities: Iterable[Identity]) -> Principal:
    """Read ``aadapp=<id>;<tenant>``, ``aaduser=…`` or ``aadgroup=…``; return the known principal if one matches."""
    kind, equals, rest = text.partition("=")
    name, _, tenant = rest.partition(";")
    kind, name = kind.strip().lower(), name.strip()
    if kind == "msauser":
        raise unsupported("principals of the kind msauser")
    if kind not in _TYPES or not equals or not name:
        raise bad_request(
            f"'{text}' is not a principal; use aadapp=<object ID>;<tenant>, aaduser=<name> or aadgroup=<name>"
        )
    given = Principal(kind, name, name, tenant.strip())
    apps = map(of_identity, identities)
    return next((principal for principal in (*known, *apps) if principal.is_same(given)), given)
