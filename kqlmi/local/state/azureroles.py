"""Azure roles of principals on containers and event hubs, independent of the policies of the cluster."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from kqlmi.local.values import connectionstrings, resources
from kqlmi.local.values.connectionstrings import Location
from kqlmi.local.values.faults import bad_request

READERS = ("Storage Blob Data Reader", "Storage Blob Data Contributor", "Storage Blob Data Owner")
WRITERS = READERS[1:]
RECEIVERS = ("Azure Event Hubs Data Receiver", "Azure Event Hubs Data Owner")
ROLE_IDS = {
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Azure Event Hubs Data Receiver": "a638d3c7-ab3a-418d-83e6-5f17a39d4fde",
    "Azure Event Hubs Data Owner": "f526a384-b230-433a-b45c-95f59c4a2dec",
    # Documented as insufficient: they manage the account, and do not open its data.
    "Owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
}
"""The IDs of Azure's built-in roles."""

_HUB = re.compile(r"sb://([a-z0-9-]+)\.servicebus\.windows\.net/([\w.-]+)/?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class AzureRoles:
    """Role assignments, as tuples of (object ID, scope, role)."""

    assignments: frozenset[tuple[str, str, str]] = frozenset()

    def assigned(self, object_id: str, url: str, role: str) -> "AzureRoles":
        """Return the assignments with one added."""
        if role not in ROLE_IDS:
            raise bad_request(f"the local cluster does not know the role '{role}', only {', '.join(ROLE_IDS)}")
        return replace(self, assignments=self.assignments | {(object_id.strip().lower(), scope_of(url), role)})

    def unassigned(self, object_id: str, url: str, role: str) -> "AzureRoles":
        """Return the assignments with one removed."""
        return replace(self, assignments=self.assignments - {(object_id.strip().lower(), scope_of(url), role)})

    def holds(self, object_id: str, scope: str, roles: Iterable[str]) -> bool:
        """Check whether a principal has any of some roles."""
        return any((object_id.lower(), scope, role) in self.assignments for role in roles)


def scope_of(url: str) -> str:
    """Return the scope of a container or event hub, which all spellings of its URL or resource ID share."""
    if url.startswith("/subscriptions/"):
        return hub_scope(*resources.parse_hub(url))
    if found := _HUB.fullmatch(url):
        return hub_scope(found[1].lower(), found[2].lower())
    return container_scope(container(url))


def container(url: str) -> Location:
    """Parse the URL of a container, which must not include a blob or a credential."""
    location = connectionstrings.parse(url)
    if location.is_onelake:
        raise bad_request("the local cluster does not support data in OneLake, whose access is decided by Fabric")
    if location.path or location.shown != location.url:
        raise bad_request(f"{location.url} is not a container; use https://<account>.blob.core.windows.net/<container>")
    return location


def container_scope(location: Location) -> str:
    """Return the scope of a location's container."""
    return f"container {location.account}/{location.container}"


def hub_scope(namespace: str, hub: str) -> str:
    """Return the scope of an event hub."""
    return f"hub {namespace}/{hub}"
