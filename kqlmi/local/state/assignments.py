"""The identities assigned to the cluster, as Azure Resource Manager shows and changes them."""

import hashlib
from typing import Any

from kqlmi.local.state.state import State
from kqlmi.local.values import resources
from kqlmi.local.values.identities import TENANT_ID, Identity

LOCATION = "local"
_TYPES = ("None", "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned")


class ArmError(Exception):
    """An error in the format of Azure Resource Manager."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Store the HTTP status, and the code and message of the body."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def assigned(state: State, block: Any) -> tuple[Identity, ...]:
    """Return the assigned identities after a change; as documented, only the kinds in ``type`` remain."""
    given = block.get("type") if isinstance(block, dict) else None
    users_given = (block.get("userAssignedIdentities") or {}) if isinstance(block, dict) else {}
    if not isinstance(given, str) or not isinstance(users_given, dict):
        raise ArmError(400, "InvalidRequestContent", "identity must be an object, and identity.type a string.")
    kind = ", ".join(part.strip() for part in given.split(","))
    if kind not in _TYPES:
        raise ArmError(400, "InvalidRequestContent", f"identity.type must be one of {'; '.join(_TYPES)}.")
    system = [one for one in state.world.identities if one.is_system]
    if "SystemAssigned" not in kind:
        system = []
    elif not system:
        system = [Identity(state.name, is_system=True)]  # a new principal each time
    takes_users = kind.endswith("UserAssigned")
    if users_given and not takes_users:
        raise ArmError(400, "InvalidRequestContent", f"identity.type is {kind}, but userAssignedIdentities are given.")
    users = {
        resources.identity_id(one.display_name).lower(): one
        for one in state.world.identities
        if takes_users and not one.is_system
    }
    for place, change in users_given.items():
        found = user_assigned(state, place)
        users.pop(place.lower(), None)
        if change is not None:
            users[place.lower()] = found
    if takes_users and not users:
        raise ArmError(400, "InvalidRequestContent", f"identity.type is {kind}, but no user-assigned one would remain.")
    return (*system, *users.values())


def cluster_body(state: State) -> dict[str, Any]:
    """Return the body of the cluster with its identity block."""
    users = [one for one in state.world.identities if not one.is_system]
    system = next((one for one in state.world.identities if one.is_system), None)
    kinds = [name for name, is_there in (("SystemAssigned", system), ("UserAssigned", users)) if is_there]
    block: dict[str, Any] = {"type": ", ".join(kinds) or "None"}
    if system:
        block |= {"principalId": system.object_id, "tenantId": system.tenant_id}
    if users:
        block["userAssignedIdentities"] = {
            resources.identity_id(one.display_name): {"principalId": one.object_id, "clientId": one.client_id}
            for one in users
        }
    return {
        "id": resources.cluster_id(state.name),
        "name": state.name,
        "type": "Microsoft.Kusto/Clusters",
        "location": LOCATION,
        "etag": etag(state),
        "sku": {"name": "Dev(No SLA)_Standard_E2a_v4", "tier": "Basic", "capacity": 1},
        "identity": block,
        "properties": {
            "state": "Running",
            "provisioningState": "Succeeded",
            "uri": state.url,
            "dataIngestionUri": state.ingest_url,
            "restrictOutboundNetworkAccess": "Disabled",
        },
    }


def etag(state: State) -> str:
    """Return a value that changes with the identities of the cluster."""
    assigned_now = "|".join(one.object_id for one in state.world.identities)
    return hashlib.sha256(assigned_now.encode()).hexdigest()[:16]


def identity_body(one: Identity) -> dict[str, Any]:
    """Return the body of a user-assigned identity."""
    return {
        "id": resources.identity_id(one.display_name),
        "name": one.display_name,
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "location": LOCATION,
        "properties": {"tenantId": TENANT_ID, "principalId": one.object_id, "clientId": one.client_id},
    }


def user_assigned(state: State, place: str) -> Identity:
    """Return a user-assigned identity by its resource ID, or raise if it does not exist."""
    if place.lower() not in state.world.user_assigned:
        raise ArmError(404, "ResourceNotFound", f"The user-assigned identity {place} does not exist.")
    return state.world.user_assigned[place.lower()]
