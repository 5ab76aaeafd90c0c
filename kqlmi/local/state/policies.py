"""The ManagedIdentity policy of the local cluster: parsing, merging and rendering."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kqlmi.local.language import payloads
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError, bad_request
from kqlmi.local.values.identities import Identity

_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_FILLED_IN = frozenset({"ObjectId", "AllowedUsages", "ClientId", "TenantId", "DisplayName", "IsSystem"})


@dataclass(frozen=True)
class Entry:
    """The usages of one identity; ``extra`` contains the properties that this cluster does not know."""

    identity: Identity
    usages: tuple[str, ...]
    extra: Mapping[str, Any]

    @cached_property
    def text(self) -> str:
        """The entry as the service shows it; cached, as a policy of a thousand entries is shown repeatedly."""
        identity = self.identity
        properties = {
            "ObjectId": identity.object_id,
            "ClientId": identity.client_id,
            "TenantId": identity.tenant_id,
            "DisplayName": identity.display_name,
            "IsSystem": identity.is_system,
            "AllowedUsages": ", ".join(self.usages),
            **self.extra,
        }
        return lenient_json.dumps(properties)

    def merged(self, other: "Entry") -> "Entry":
        """Return this entry with the usages and properties of another added."""
        added = (usage for usage in other.usages if usage not in self.usages)
        return Entry(other.identity, (*self.usages, *added), {**self.extra, **other.extra})


Policy = tuple[Entry, ...]
"""Zero or more entries, one for each identity; None means that there is no policy."""


def merge(policy: Policy | None, addition: Policy) -> Policy:
    """Return the policy with the identities and usages of ``addition`` added."""
    entries = {entry.identity.object_id: entry for entry in policy or ()}
    for entry in addition:
        existing = entries.get(entry.identity.object_id)
        entries[entry.identity.object_id] = existing.merged(entry) if existing else entry
    return tuple(entries.values())


def render(policy: Policy | None) -> str:
    """Return a policy as the service shows it; ``null`` without a policy."""
    if policy is None:
        return "null"
    return f"[{','.join(entry.text for entry in policy)}]"


def parse(text: str, identities: Iterable[Identity], usages: Iterable[str]) -> Policy:
    """Parse the payload of a command, and raise if the service would refuse it."""
    items = payloads.read("ManagedIdentity", text)
    if not isinstance(items, list):
        raise _refused(f"a JSON array of policy objects is expected, not {lenient_json.dumps(items)[:60]}")
    known = {usage.strip().lower(): usage for usage in usages}
    by_id = {identity.object_id.lower(): identity for identity in identities}
    by_id |= {"system": one for one in list(by_id.values()) if one.is_system}  # noqa: B035 - at most one is
    entries = tuple(_entry(item, by_id, known) for item in items)
    return merge(None, entries)


def _refused(what: str) -> KustoError:
    return bad_request(f"ManagedIdentity policy: {what}")


def _entry(item: Any, by_id: Mapping[str, Identity], known: Mapping[str, str]) -> Entry:
    if not isinstance(item, dict):
        raise _refused(f"each element must be an object, not {lenient_json.dumps(item)[:60]}")
    object_id = _text(item, "ObjectId")
    if object_id.strip().lower() != "system" and not _GUID.fullmatch(object_id):
        raise _refused(f"ObjectId '{object_id}' is neither a GUID nor 'system'")
    usages = _usages(_text(item, "AllowedUsages"), known)
    identity = by_id.get(object_id.strip().lower())
    if identity is None:
        own = "(message of the local cluster; Azure's may differ)"
        raise _refused(f"the managed identity '{object_id}' is not assigned to this cluster {own}")
    return Entry(identity, usages, {name: value for name, value in item.items() if name not in _FILLED_IN})


def _text(item: dict[str, Any], name: str) -> str:
    if name not in item:
        raise _refused(f"{name} is missing in {lenient_json.dumps(item)[:200]}")
    value = item[name]
    if not isinstance(value, str) or not value.strip():
        raise _refused(f"{name} must be a non-empty string, not {lenient_json.dumps(value)[:60]}")
    return value


def _usages(text: str, known: Mapping[str, str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for written in text.split(","):
        usage = known.get(written.strip().lower())
        if usage is None:
            raise _refused(f"'{written.strip()}' is not a usage that this cluster knows")
        found[usage] = None
    return tuple(found)
