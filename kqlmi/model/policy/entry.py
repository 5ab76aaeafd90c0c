"""One object of a ManagedIdentity policy: an identity and its allowed usages."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Self

from kqlmi.errors import PolicyError
from kqlmi.model import jsontext
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, object_id, usage_name

_FILLED_IN = ("ClientId", "TenantId", "DisplayName", "IsSystem")
_EARLIER = "kqlmi.isEarlier"  # only in records, never sent
_KNOWN = frozenset({"ObjectId", "AllowedUsages", _EARLIER, *_FILLED_IN})


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy object: an identity and its allowed usages.

    ``usages`` keeps the spelling that was read. ``extra`` contains unknown properties, as JSON text by name.
    ``is_earlier`` marks an identity that used to be the cluster's system identity; it is not part of the policy's
    JSON, so comparisons ignore it.
    """

    object_id: ObjectId
    usages: tuple[str, ...]
    client_id: str = ""
    tenant_id: str = ""
    display_name: str = ""
    is_system: bool = False
    extra: tuple[tuple[str, str], ...] = ()
    is_earlier: bool = field(default=False, compare=False)

    @property
    def identity(self) -> ObjectId:
        """Return the identity as it appears in grants: ``system`` if it was read as that word or with ``IsSystem``."""
        return SYSTEM if self.is_system and not self.is_earlier else self.object_id

    def without(self, usages: Iterable[str]) -> Self:
        """Return the entry without some usages."""
        gone = set(usages)
        return replace(self, usages=tuple(usage for usage in self.usages if usage_name(usage) not in gone))

    @property
    def names(self) -> frozenset[str]:
        """Return the usages as they appear in grants."""
        return _names(self.usages)

    @property
    def described(self) -> Identity:
        """Return the identity with the description that the service filled in."""
        return _described(self.identity, self.object_id, self.display_name, self.client_id, self.tenant_id)

    def payload(self, *, complete: bool = False) -> dict[str, Any]:
        """Return the JSON object that a command sends, or, if ``complete``, everything that was read, for storage."""
        filled = (self.client_id, self.tenant_id, self.display_name, self.is_system)
        return {
            "ObjectId": self.object_id,
            "AllowedUsages": ", ".join(self.usages),
            **(dict(zip(_FILLED_IN, filled, strict=True)) if complete else {}),
            **({_EARLIER: True} if complete and self.is_earlier else {}),
            **{name: jsontext.Raw(text) for name, text in self.extra},
        }


def read_entry(item: Any, place: int) -> Entry:
    """Read an item of a policy's JSON array, whose place is counted from 1.

    Raises:
        PolicyError: The item is not a policy object.
    """
    if not isinstance(item, dict):
        raise PolicyError(f"Item {place} of the policy is not a JSON object.")
    for name in ("ObjectId", "AllowedUsages"):
        if not isinstance(item.get(name), str):
            raise PolicyError(
                f"Object {place} of the policy has no string property {name}.", hint=_spelling(item, name)
            )
    filled = {name: item.get(name) for name in _FILLED_IN}
    extra = tuple((name, jsontext.dump(value)) for name, value in item.items() if name not in _KNOWN)
    return (Entry if extra else _plain_entry)(
        object_id=_object_id(item["ObjectId"]),
        usages=_usages(item["AllowedUsages"]),
        client_id=_interned(str(filled["ClientId"] or "")),
        tenant_id=_interned(str(filled["TenantId"] or "")),
        display_name=_interned(str(filled["DisplayName"] or "")),
        is_system=str(filled["IsSystem"]).lower() == "true",
        extra=extra,
        is_earlier=item.get(_EARLIER) is True,
    )


# The policies of a cluster repeat identities and sets of usages in each database, so equal values are stored once.
_SHARED: Final = 8192
_plain_entry = lru_cache(_SHARED)(Entry)
_object_id = lru_cache(_SHARED)(object_id)
_interned = lru_cache(_SHARED)(str)


@lru_cache(_SHARED)
def _described(identity: ObjectId, own_id: ObjectId, name: str, client_id: str, tenant_id: str) -> Identity:
    principal_id = "" if own_id == SYSTEM else own_id
    return Identity(identity, name, client_id, tenant_id, is_system=identity == SYSTEM, principal_id=principal_id)


@lru_cache(_SHARED)
def _usages(text: str) -> tuple[str, ...]:
    usages = (usage.strip() for usage in text.split(","))
    return tuple(_interned(usage) for usage in usages if usage)


@lru_cache(_SHARED)
def _names(usages: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(usage_name, usages))


def _spelling(item: dict[str, Any], name: str) -> str:
    near = next((key for key in item if key.casefold() == name.casefold() and key != name), None)
    return f"Write {name} instead of {near}." if near else ""
