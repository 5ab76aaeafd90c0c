"""The Azure Resource Manager routes for resources, role assignments and permissions, which only read.

Source: the REST reference of Azure Resource Manager (Resources - List) and of Azure role-based access control (Role
Assignments - List For Subscription, Permissions - List For Resource).
"""

import re
import uuid
from typing import Any

from kqlmi.local.azure.arm import Answer, Request, route
from kqlmi.local.state.assignments import ArmError
from kqlmi.local.state.azureroles import ROLE_IDS
from kqlmi.local.values import resources

_ASSIGNED = re.compile(r"assignedTo\('([0-9a-fA-F-]{36})'\)")
_NAMED = re.compile(r"resourceType eq 'Microsoft.Storage/storageAccounts' and name eq '([a-z0-9]+)'")
_DEFINITIONS = f"/subscriptions/{resources.SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
_ACTIONS = {"Owner": ["*"], "Reader": ["*/read"]}


@route("GET", "/subscriptions/{subscription}/resources")
def accounts(request: Request) -> Answer:
    """Return the storage account of a name, if it has a container."""
    name = _filtered(request, _NAMED)
    found = sorted({account for account, _ in request.state.world.containers if account == name})
    kind = "Microsoft.Storage/storageAccounts"
    return Answer(body={"value": [{"id": resources.account_id(one), "name": one, "type": kind} for one in found]})


@route("GET", "/subscriptions/{subscription}/providers/Microsoft.Authorization/roleAssignments")
def role_assignments(request: Request) -> Answer:
    """Return the role assignments of a principal on containers and event hubs."""
    principal = _filtered(request, _ASSIGNED).lower()
    found = sorted(request.state.world.azure_roles.assignments)
    return Answer(body={"value": [_assignment(*one) for one in found if one[0] == principal]})


@route("GET", "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Kusto/clusters/{cluster}"
       "/providers/Microsoft.Authorization/permissions")  # fmt: skip
def permissions(request: Request) -> Answer:
    """Return the permissions of the caller on the cluster."""
    return Answer(body={"value": [{"actions": _ACTIONS[request.role], "notActions": []}]})


def _filtered(request: Request, expected: re.Pattern[str]) -> str:
    given = request.query.get("$filter", "")
    found = expected.fullmatch(given)
    if found is None:
        raise ArmError(400, "InvalidFilterInQueryString", f"The local cluster does not support the filter '{given}'.")
    return found[1]


def _assignment(principal: str, scope: str, role: str) -> dict[str, Any]:
    kind, _, place = scope.partition(" ")
    first, _, second = place.partition("/")
    container = f"{resources.account_id(first)}/blobServices/default/containers/{second}"
    where = resources.hub_id(first, second) if kind == "hub" else container
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{principal} {scope} {role}"))
    properties = {
        "principalId": principal,
        "principalType": "ServicePrincipal",
        "roleDefinitionId": f"{_DEFINITIONS}/{ROLE_IDS[role]}",
        "scope": where,
    }
    assignment_id = f"{where}/providers/Microsoft.Authorization/roleAssignments/{name}"
    return {"id": assignment_id, "name": name, "properties": properties}
