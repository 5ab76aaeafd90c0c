"""The role assignments of an identity on its targets, and the caller's permissions, as Azure Resource Manager lists them."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from kqlmi.arm.arm_errors import translated
from kqlmi.arm.resource import ClusterResource
from kqlmi.errors import ResourceManagerError
from kqlmi.model.explain.fixes import container
from kqlmi.model.explain.observations import RolesOn, Unread

_READER: Final = "the role Reader on the subscription"
_AUTHORIZATION: Final = "providers/Microsoft.Authorization"
_VERSION: Final = "2022-04-01"
_RESOURCES_VERSION: Final = "2021-04-01"
_ABOVE: Final = "/providers/microsoft.management/"
# Azure's built-in roles have the same ID everywhere.
_NAMES: Final[Mapping[str, str]] = {
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "a638d3c7-ab3a-418d-83e6-5f17a39d4fde": "Azure Event Hubs Data Receiver",
    "f526a384-b230-433a-b45c-95f59c4a2dec": "Azure Event Hubs Data Owner",
}


def on_target(principal: str, target: str, cluster: ClusterResource) -> RolesOn | Unread:
    """Return the roles of a principal, also through groups, on a resource, given by its ID or the URL of its container.

    A role with a condition does not count.

    Raises:
        ResourceManagerError: The caller is not allowed to read the assignments, or Azure Resource Manager did not respond.
    """
    if not principal:
        return Unread("the object ID of the identity is not known")
    resource = target if target.startswith("/") else _container(cluster, target)
    if isinstance(resource, Unread):
        return resource
    subscription = "/".join(resource.split("/")[:3])
    given = f"assignedTo('{principal}')"
    found = _list(cluster, f"{subscription}/{_AUTHORIZATION}/roleAssignments", _VERSION, given)
    roles = (
        _NAMES.get(str(one.get("roleDefinitionId")).lower().rpartition("/")[2], "")
        for one in (dict(row.get("properties") or {}) for row in found)
        if not one.get("condition") and _covers(str(one.get("scope")), resource)
    )
    return RolesOn(resource, tuple(dict.fromkeys(filter(None, roles))))


def may_change(cluster: ClusterResource) -> bool:
    """Return whether the caller's permissions include changing the cluster and its data connections."""
    found = list(_list(cluster, f"{cluster.resource_id}/{_AUTHORIZATION}/permissions", _VERSION))
    wanted = ("microsoft.kusto/clusters/write", "microsoft.kusto/clusters/databases/dataconnections/write")
    return all(
        any(_matches(one, "actions", action) and not _matches(one, "notActions", action) for one in found)
        for action in wanted
    )


def _matches(permission: Mapping[str, Any], name: str, action: str) -> bool:
    return any(fnmatchcase(action, str(one).lower()) for one in permission.get(name) or ())


def _covers(scope: str, resource: str) -> bool:
    place, wanted = scope.rstrip("/").casefold(), resource.casefold()
    return wanted == place or wanted.startswith(f"{place}/") or place.startswith(_ABOVE)


def _container(cluster: ClusterResource, url: str) -> str | Unread:
    """Return the resource ID of the container in a URL, if its account is in the cluster's subscription."""
    found = container(url)
    if found is None:
        return Unread("kqlmi cannot check this for other resources than Azure Storage and Event Hubs")
    account, name = found
    given = f"resourceType eq 'Microsoft.Storage/storageAccounts' and name eq '{account}'"
    subscription = f"/subscriptions/{cluster.parts.subscription}"
    for one in _list(cluster, f"{subscription}/resources", _RESOURCES_VERSION, given):
        found_id = str(one.get("id"))
        # The path of a URL is made of it.
        if str(one.get("name")).casefold() == account and found_id.startswith("/subscriptions/"):
            return f"{found_id}/blobServices/default/containers/{name}"
    return Unread(f"the storage account {account} is not visible in the subscription of the cluster")


def _list(cluster: ClusterResource, path: str, version: str, given: str = "") -> Iterator[Mapping[str, Any]]:
    """Yield the items of a list, from all of its pages."""
    from azure.core.exceptions import HttpResponseError
    from azure.core.rest import HttpRequest

    base = str(cluster.options.get("base_url") or "https://management.azure.com").rstrip("/")
    url = f"{base}{path}?api-version={version}{f'&$filter={quote(given)}' if given else ''}"
    with translated("list the role assignments", _READER), cluster.kusto() as client:
        while url:
            answer = client.send_request(HttpRequest("GET", url))
            if answer.status_code >= HTTPStatus.BAD_REQUEST:
                raise HttpResponseError(response=answer)
            page = answer.json()
            yield from page["value"]
            url = str(page.get("nextLink") or "")
            if url and not url.startswith(f"{base}/"):
                raise ResourceManagerError("Azure Resource Manager returned a link to another host.")
