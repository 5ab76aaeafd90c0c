"""The identities that are, or could be, assigned to a cluster, as Azure Resource Manager lists them."""

from dataclasses import dataclass
from typing import Any

from kqlmi.arm.arm_errors import translated
from kqlmi.arm.resource import ClusterResource
from kqlmi.errors import InputError, ResourceManagerError
from kqlmi.model.azure.assignment import IdentityBlock
from kqlmi.model.azure.resourceid import ResourceId
from kqlmi.model.entities import SYSTEM, Identity, object_id
from kqlmi.model.explain.observations import OPEN, Outbound

READER = "the role Reader on the cluster"
_IDENTITY_READER = "the role Reader, or Managed Identity Operator, on the identity"
# A running cluster may report ``running`` instead of the state that its last operation left.
_SETTLED = frozenset({"", "succeeded", "failed", "canceled", "running"})


@dataclass(frozen=True, slots=True)
class Assigned:
    """The identities assigned to a cluster: the system identity, if it is enabled, and the user-assigned ones.

    ``changes`` is True if an operation on the cluster is in progress. ``etag``, ``location`` and ``outbound`` are the
    cluster's own.
    """

    identities: tuple[Identity, ...]
    block: IdentityBlock
    location: str = ""
    etag: str = ""
    changes: bool = False
    outbound: Outbound = OPEN


def read(cluster: ClusterResource) -> Assigned:
    """Return the identities assigned to the cluster.

    Raises:
        MissingExtraError: azure-mgmt-kusto is not installed.
        ResourceManagerError: The caller is not allowed to read the cluster, or Azure Resource Manager did not respond.
    """
    with translated("list the assigned identities", READER), cluster.kusto() as client:
        found: Any = client.clusters.get(*cluster.place)
        block: Any = found.identity
        principal, users = (block.principal_id or "", block.user_assigned_identities or {}) if block else ("", {})
        state = str(getattr(found.provisioning_state, "value", found.provisioning_state) or "").casefold()
        restricts = found.restrict_outbound_network_access
        listed = [_user_assigned(key, user) for key, user in users.items() if user and user.principal_id]
        if principal := principal.lower():
            name, tenant = cluster.parts.name, block.tenant_id or ""
            listed.insert(0, Identity(SYSTEM, name, tenant_id=tenant, is_system=True, principal_id=principal))
        return Assigned(
            tuple(listed),
            IdentityBlock(principal, tuple(users)),
            str(found.location or ""),
            str(found.etag or ""),
            state not in _SETTLED,
            Outbound(
                str(getattr(restricts, "value", restricts) or "").casefold() == "enabled",
                tuple(found.allowed_fqdn_list or ()),
            ),
        )


def get(cluster: ClusterResource, text: str) -> Identity | None:
    """Read a user-assigned identity by its resource ID, or by its name in the cluster's resource group.

    Return None if no identity has that name.

    Raises:
        InputError: ``text`` is the resource ID of something else.
        ResourceManagerError: The caller is not allowed to read the identity, or no identity has that resource ID.
    """
    place = ResourceId.parse(text, "Microsoft.ManagedIdentity/userAssignedIdentities")
    if "/" in text and place is None:
        raise InputError(
            f"{text!r} is not the resource ID of a user-assigned identity.",
            hint="Use /subscriptions/…/resourceGroups/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…",
        )
    group, name = (place.group, place.name) if place else (cluster.place[0], text)
    try:
        with (
            translated(f"return the identity {text}", _IDENTITY_READER),
            cluster.msi(place.subscription if place else "") as client,
        ):
            found = client.user_assigned_identities.get(group, name)
            return _user_assigned(str(found.id), found)
    except ResourceManagerError as error:
        if place or not error.nothing_happened:
            raise
        return None


def in_subscription(cluster: ClusterResource) -> tuple[Identity, ...]:
    """Return the user-assigned identities of the cluster's subscription, or raise ResourceManagerError."""
    with translated("list the identities in the subscription", _IDENTITY_READER), cluster.msi() as client:
        return tuple(_user_assigned(str(one.id), one) for one in client.user_assigned_identities.list_by_subscription())


def _user_assigned(resource_id: str, found: Any) -> Identity:
    return Identity(
        object_id(found.principal_id),
        resource_id.rpartition("/")[2],
        client_id=found.client_id or "",
        tenant_id=getattr(found, "tenant_id", "") or "",
        principal_id=found.principal_id.lower(),
        resource_id=resource_id,
    )
