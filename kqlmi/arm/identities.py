"""The identities that are assigned to a cluster, as Azure Resource Manager lists them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kqlmi.errors import InputError, KqlmiError, MissingExtraError, printable
from kqlmi.model.entities import SYSTEM, Identity, object_id

_RESOURCE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\.Kusto/clusters/(?P<name>[^/]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ClusterResource:
    """A cluster in Azure Resource Manager.

    ``options`` are the keyword arguments of azure-mgmt clients beside ``subscription_id``: ``credential``, and where it
    is not the public cloud's, ``base_url`` and what goes with it.
    """

    resource_id: str
    options: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no resource ID of a cluster."""
        _ = self.parts

    @property
    def parts(self) -> re.Match[str]:
        """Give ``subscription``, ``group`` and ``name``."""
        found = _RESOURCE_ID.fullmatch(self.resource_id)
        if found is None:
            raise InputError(
                f"{self.resource_id!r} is not the resource ID of a cluster.",
                hint="Write /subscriptions/…/resourceGroups/…/providers/Microsoft.Kusto/clusters/…",
            )
        return found


def assigned(cluster: ClusterResource) -> tuple[Identity, ...]:
    """Give the system identity, where it is on, and the user-assigned ones; these by the names of their resources.

    Raises:
        MissingExtraError: azure-mgmt-kusto is not installed.
        KqlmiError: The caller may not read the cluster, or Azure Resource Manager gave no answer.
    """
    try:
        from azure.core.exceptions import AzureError
        from azure.mgmt.kusto import KustoManagementClient
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Assigned identities are read by azure-mgmt-kusto.", hint="Install it: pip install 'kqlmi[azure]'."
        ) from error
    found = cluster.parts
    try:
        with KustoManagementClient(subscription_id=found["subscription"], **cluster.options) as client:
            block = client.clusters.get(found["group"], found["name"]).identity
    except AzureError as error:
        reason = printable(str(getattr(error, "message", "") or error).splitlines()[0])
    else:
        return tuple(_identities(found["name"], block))
    # Raised out here, it drags nothing along: the library's own error may repeat what was sent.
    raise KqlmiError(
        f"Azure Resource Manager does not tell which identities are assigned: {reason}",
        hint="It needs the right to read the cluster, as the role Reader gives it.",
    )


def _identities(cluster: str, block: Any) -> Iterator[Identity]:
    if block is None:
        return
    if block.principal_id:
        yield Identity(
            SYSTEM, cluster, tenant_id=block.tenant_id or "", is_system=True, principal_id=block.principal_id.lower()
        )
    for resource_id, user in (block.user_assigned_identities or {}).items():
        if user.principal_id:
            name = resource_id.rpartition("/")[2]
            yield Identity(object_id(user.principal_id), name, client_id=user.client_id or "")
