"""Azure resource IDs of the cluster, of managed identities and of event hubs."""

import re

from kqlmi.local.values.faults import bad_request

SUBSCRIPTION = "6b716c6d-6900-4000-8000-737562736372"
GROUP = "kqlmi"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
_HUB = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.EventHub/namespaces/([^/]+)/eventhubs/([^/]+)",
    re.IGNORECASE,
)


def cluster_id(name: str) -> str:
    """Return the resource ID of the cluster."""
    return f"{GROUP_ID}/providers/Microsoft.Kusto/Clusters/{name}"


def identity_id(name: str) -> str:
    """Return the resource ID of the user-assigned identity with a name."""
    return f"{GROUP_ID}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"


def hub_id(namespace: str, hub: str) -> str:
    """Return the resource ID of an event hub."""
    return f"{GROUP_ID}/providers/Microsoft.EventHub/namespaces/{namespace}/eventhubs/{hub}"


def parse_hub(resource_id: str) -> tuple[str, str]:
    """Return the namespace and the event hub in a resource ID, both in lower case."""
    found = _HUB.fullmatch(resource_id)
    if not found:
        raise bad_request(f"'{resource_id}' is not the resource ID of an event hub")
    return found[1].lower(), found[2].lower()


def account_id(account: str) -> str:
    """Return the resource ID of a storage account."""
    return f"{GROUP_ID}/providers/Microsoft.Storage/storageAccounts/{account}"
