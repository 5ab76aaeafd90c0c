"""A cluster in Azure Resource Manager, and the clients that reach it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kqlmi.errors import InputError, require_extra
from kqlmi.model.azure.resourceid import ResourceId

if TYPE_CHECKING:
    from azure.mgmt.kusto import KustoManagementClient
    from azure.mgmt.msi import ManagedServiceIdentityClient

# In seconds. The clients' defaults are 300 for a connection and for a response, and 30 between polls of an operation.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "connection_timeout": 10,
    "read_timeout": 60,
    "retry_total": 2,
    "polling_interval": 5,
}
# A longer wait than this, in seconds, is reported in the error instead of being made.
_WAITED_FOR: Final = 10
# The endpoints of the clouds that have their own, by the ending of a cluster's host there.
_CLOUDS: Final[Mapping[str, str]] = {
    ".kusto.usgovcloudapi.net": "https://management.usgovcloudapi.net",
    ".kusto.chinacloudapi.cn": "https://management.chinacloudapi.cn",
}


def options_for(credential: Any, host: str) -> dict[str, Any]:
    """Return the options of azure-mgmt clients for the cloud that a cluster's host is in."""
    endpoint = next((url for ending, url in _CLOUDS.items() if host.casefold().endswith(ending)), "")
    cloud = {"base_url": endpoint, "credential_scopes": [f"{endpoint}/.default"]} if endpoint else {}
    return {"credential": credential, **cloud}


@dataclass(frozen=True, slots=True)
class ClusterResource:
    """A cluster in Azure Resource Manager.

    ``options`` are the keyword arguments of azure-mgmt clients except ``subscription_id``: ``credential``, and outside the
    public cloud ``base_url`` and ``credential_scopes``.
    """

    resource_id: str
    options: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        _ = self.parts

    @property
    def parts(self) -> ResourceId:
        """The parts of the resource ID.

        Raises:
            InputError: It is not the resource ID of a cluster.
        """
        found = ResourceId.parse(self.resource_id, "Microsoft.Kusto/clusters")
        if found is None:
            raise InputError(
                f"{self.resource_id!r} is not the resource ID of a cluster.",
                hint="Use /subscriptions/…/resourceGroups/…/providers/Microsoft.Kusto/clusters/…",
            )
        return found

    @property
    def place(self) -> tuple[str, str]:
        """The resource group and the name, as the client expects them."""
        return self.parts.group, self.parts.name

    @property
    def pause(self) -> float:
        """The time in seconds between two polls of an operation."""
        return float({**_DEFAULTS, **self.options}["polling_interval"])

    def kusto(self) -> "KustoManagementClient":
        """Return a client for the cluster, which the caller closes."""
        with require_extra(
            "azure", "Requests to Azure Resource Manager need azure-mgmt-kusto, which is not installed."
        ):
            from azure.mgmt.kusto import KustoManagementClient
        return KustoManagementClient(**self._client_options(self.parts.subscription))

    def msi(self, subscription: str = "") -> "ManagedServiceIdentityClient":
        """Return a client for user-assigned identities in the cluster's or another subscription. The caller closes it."""
        with require_extra("azure", "Requests to Azure Resource Manager need azure-mgmt-msi, which is not installed."):
            from azure.mgmt.msi import ManagedServiceIdentityClient
        return ManagedServiceIdentityClient(**self._client_options(subscription or self.parts.subscription))

    def _client_options(self, subscription: str) -> dict[str, Any]:
        return {**_DEFAULTS, "retry_policy": _retries(), **self.options, "subscription_id": subscription}


def _retries() -> Any:
    """Return the library's retry policy, without retries for which Azure requests a long wait."""
    from azure.core.pipeline.policies import RetryPolicy

    class Retries(RetryPolicy[Any, Any]):
        """A retry policy like the library's, except that it does not wait silently for minutes."""

        def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
            wait = self.get_retry_after(response) or 0
            return wait <= _WAITED_FOR and bool(super().is_retry(settings, response))

    return Retries(retry_total=_DEFAULTS["retry_total"])
