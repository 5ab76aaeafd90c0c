"""The identities of a cluster, and those that it could have, as Azure Resource Manager lists them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kqlmi.arm.asking import asking
from kqlmi.arm.resource import ClusterResource
from kqlmi.errors import InputError, ResourceManagerError
from kqlmi.model.assignment import IdentityBlock
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, did_you_mean, object_id

_RESOURCE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/(?P<name>[^/]+)",
    re.IGNORECASE,
)
READER = "the role Reader on the cluster"
_SETTLED = frozenset({"", "succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True)
class Assigned:
    """What is assigned to a cluster: the system identity, where it is on, and the user-assigned ones.

    ``changes`` tells that an operation on the cluster goes on. ``etag`` and ``location`` are the cluster's own.
    """

    identities: tuple[Identity, ...]
    block: IdentityBlock
    location: str = ""
    etag: str = ""
    changes: bool = False


def read(cluster: ClusterResource) -> Assigned:
    """Give what is assigned to the cluster.

    Raises:
        MissingExtraError: azure-mgmt-kusto is not installed.
        ResourceManagerError: The caller may not read the cluster, or Azure Resource Manager gave no answer.
    """
    with asking("tell which identities are assigned", READER), cluster.kusto() as client:
        return _assigned(cluster, client.clusters.get(*cluster.place))


def _assigned(cluster: ClusterResource, found: Any) -> Assigned:
    block: Any = found.identity
    users = tuple(block.user_assigned_identities or {}) if block else ()
    state = str(getattr(found.provisioning_state, "value", found.provisioning_state) or "").casefold()
    return Assigned(
        tuple(_identities(cluster.name, block)),
        IdentityBlock(((block and block.principal_id) or "").lower(), users),
        str(found.location or ""),
        str(found.etag or ""),
        # A cluster that runs calls itself so, in this place too.
        state not in _SETTLED | {"running"},
    )


def find(cluster: ClusterResource, text: str) -> Identity:
    """Give the user-assigned identity that ``text`` names: by resource ID, or by name in the cluster's subscription.

    Of several with one name, that of the cluster's own resource group is meant.

    Raises:
        InputError: There is none, or several.
        ResourceManagerError: They may not be read.
    """
    reader = "the role Reader, or Managed Identity Operator, on the identity"
    if "/" in text:
        place = _RESOURCE_ID.fullmatch(text)
        if place is None:
            raise InputError(
                f"{text!r} is not the resource ID of a user-assigned identity.",
                hint="Write /subscriptions/…/resourceGroups/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…",
            )
        with asking(f"tell of the identity {text}", reader), cluster.msi(place["subscription"]) as client:
            return _identity(client.user_assigned_identities.get(place["group"], place["name"]))
    with asking(f"tell of the identity {text}", reader), cluster.msi() as client:
        try:
            with asking(f"tell of the identity {text}", reader):
                return _identity(client.user_assigned_identities.get(cluster.place[0], text))
        except ResourceManagerError as error:
            if not error.nothing_happened:
                raise
        listed = list(map(_identity, client.user_assigned_identities.list_by_subscription()))
    wanted = text.casefold()
    found = [one for one in listed if wanted in (one.display_name.casefold(), one.object_id, one.client_id.casefold())]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{text!r} names several identities: {', '.join(one.resource_id for one in found)}.",
            hint="Give the resource ID.",
        )
    raise InputError(
        f"There is no user-assigned identity {text!r} in the cluster's subscription.",
        hint=did_you_mean(text, [one.display_name for one in listed]) if listed else "Give its resource ID.",
    )


def _identity(found: Any) -> Identity:
    return Identity(
        object_id(found.principal_id),
        found.name,
        client_id=found.client_id or "",
        tenant_id=found.tenant_id or "",
        principal_id=found.principal_id.lower(),
        resource_id=found.id,
    )


def _identities(cluster: str, block: Any) -> Iterator[Identity]:
    if block is None:
        return
    if block.principal_id:
        yield Identity(
            SYSTEM, cluster, tenant_id=block.tenant_id or "", is_system=True, principal_id=block.principal_id.lower()
        )
    for resource_id, user in (block.user_assigned_identities or {}).items():
        if user and user.principal_id:
            name, principal = resource_id.rpartition("/")[2], user.principal_id.lower()
            yield Identity(
                ObjectId(principal),
                name,
                client_id=user.client_id or "",
                principal_id=principal,
                resource_id=resource_id,
            )
