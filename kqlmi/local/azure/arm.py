"""The Azure Resource Manager routes of the local cluster: the cluster, managed identities and data connections."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kqlmi.local.ingest import connections
from kqlmi.local.state import assignments
from kqlmi.local.state.assignments import LOCATION, ArmError
from kqlmi.local.state.entities import DataConnection
from kqlmi.local.state.state import State, key, without
from kqlmi.local.values import lenient_json, resources
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.identities import Identity
from kqlmi.local.values.resources import GROUP, SUBSCRIPTION

_VERSIONS = {
    "": ("2021-04-01",),  # Azure Resource Manager itself
    "microsoft.kusto": ("2023-08-15", "2024-04-13", "2025-02-14"),
    "microsoft.authorization": ("2022-04-01",),
    "microsoft.managedidentity": ("2018-11-30", "2023-01-31", "2024-11-30"),
}
_NAME = re.compile(r"[A-Za-z0-9][\w. -]{0,127}", re.ASCII)


@dataclass(frozen=True)
class Request:
    """A request; ``path`` contains the segments that the route's pattern captured, by name, and ``role`` is the caller's."""

    state: State
    path: Mapping[str, str]
    body: Any
    version: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    role: str


@dataclass(frozen=True)
class Answer:
    """A response; the headers of a 202 contain the URL of its operation."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Callable[[Request], Answer]
_ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register a function for a method and a path; ``{name}`` captures a segment of the path."""
    expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def register(function: Route) -> Route:
        _ROUTES.append((method, re.compile(expression, re.IGNORECASE), function))
        return function

    return register


def require_role(role: str, method: str, path: str) -> None:
    """Raise if an Azure role does not allow a method: ``Reader`` may only read, and ``none`` nothing."""
    if role == "none" or (role == "Reader" and method != "GET"):
        does = "read" if method == "GET" else "write"
        what = f"The client does not have authorization to perform action '{does}' over scope '{path}'."
        raise ArmError(403, "AuthorizationFailed", what)


def handle(
    state: State,
    method: str,
    path: str,
    *,
    query: Mapping[str, str],
    body: bytes,
    headers: Mapping[str, str],
    role: str,
) -> Answer:
    """Respond to a request whose token has been checked, or raise ``ArmError``."""
    for wanted, pattern, function in _ROUTES:
        found = pattern.fullmatch(path)
        if found and wanted == method:
            provider = path.lower().rpartition("/providers/")[2].partition("/")[0]
            version = _version(provider, query)
            captured = found.groupdict()
            _require_own(state, captured)
            return function(Request(state, captured, _json(body), version, headers, query, role))
    raise ArmError(404, "InvalidResourceType", f"The local cluster has no route {method} {path}.")


_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
_IDENTITIES = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
_CLUSTERS = f"{_GROUP}/providers/Microsoft.Kusto/clusters"
_CONNECTIONS = f"{_CLUSTERS}/{{cluster}}/databases/{{database}}/dataConnections"


@route("GET", _CLUSTERS)
def clusters(request: Request) -> Answer:
    """Return the only cluster of the resource group."""
    return Answer(body={"value": [assignments.cluster_body(request.state)]})


@route("GET", f"{_CLUSTERS}/{{cluster}}")
def cluster(request: Request) -> Answer:
    """Return the cluster with its identity block."""
    return Answer(body=assignments.cluster_body(request.state))


@route("PATCH", f"{_CLUSTERS}/{{cluster}}")
def update_cluster(request: Request) -> Answer:
    """Change the identities of the cluster, and nothing else."""
    block = request.body.get("identity")
    if other := request.body.keys() - {"identity", "location"}:
        raise ArmError(400, "InvalidRequestContent", f"Only the identity can be changed, not '{min(other)}'.")
    with request.state.lock:
        only = request.headers.get("If-Match", "*").strip('"')
        if only not in ("*", assignments.etag(request.state)):
            raise ArmError(412, "PreconditionFailed", "The ETag of the cluster does not match the If-Match header.")
        if block is not None:
            assigned = assignments.assigned(request.state, block)
            request.state.change(lambda w: replace(w, identities=assigned))
    return _accepted(request)


@route("GET", f"{_GROUP}/providers/Microsoft.Kusto/locations/{{location}}/operationResults/{{operation}}")
def operation(request: Request) -> Answer:
    """Return the status of an operation: in progress at the first request, succeeded afterwards."""
    state, name = request.state, request.path["operation"]
    with state.lock:
        if name not in state.operations:
            raise ArmError(404, "OperationNotFound", f"The operation {name} does not exist.")
        status = state.operations[name]
        state.operations = {**state.operations, name: "Succeeded"}
    return Answer(body={"id": name, "name": name, "status": status}, headers={"Retry-After": "0"})


@route("GET", f"/subscriptions/{{subscription}}{_IDENTITIES}")
@route("GET", f"{_GROUP}{_IDENTITIES}")
def identities(request: Request) -> Answer:
    """Return the user-assigned identities of the resource group, whether or not they are assigned to the cluster."""
    shown = [assignments.identity_body(one) for one in request.state.world.user_assigned.values()]
    return Answer(body={"value": shown})


@route("GET", f"{_GROUP}{_IDENTITIES}/{{name}}")
def identity(request: Request) -> Answer:
    """Return one user-assigned identity."""
    found = assignments.user_assigned(request.state, resources.identity_id(request.path["name"]))
    return Answer(body=assignments.identity_body(found))


@route("PUT", f"{_GROUP}{_IDENTITIES}/{{name}}")
def create_identity(request: Request) -> Answer:
    """Create a user-assigned identity; an existing one stays unchanged."""
    name = request.path["name"]
    if not _NAME.fullmatch(name) or not isinstance(request.body.get("location"), str):
        raise ArmError(400, "InvalidRequestContent", "A user-assigned identity needs a name and a location.")
    state, place = request.state, resources.identity_id(name).lower()
    with state.lock:
        existing = state.world.user_assigned.get(place)
        created = existing or Identity(name)
        state.change(lambda w: replace(w, user_assigned={**w.user_assigned, place: created}))
    return Answer(200 if existing else 201, assignments.identity_body(created))


@route("DELETE", f"{_GROUP}{_IDENTITIES}/{{name}}")
def delete_identity(request: Request) -> Answer:
    """Delete a user-assigned identity; policy entries that name it remain."""
    state, place = request.state, resources.identity_id(request.path["name"]).lower()
    with state.lock:
        if place not in state.world.user_assigned:
            return Answer(204)
        gone = state.world.user_assigned[place]
        kept = tuple(one for one in state.world.identities if one.object_id != gone.object_id)
        state.change(lambda w: replace(w, user_assigned=without(w.user_assigned, place), identities=kept))
    return Answer(200)


@route("GET", _CONNECTIONS)
def data_connections(request: Request) -> Answer:
    """Return the data connections of a database."""
    state, database = request.state, _database(request)
    found = [one for one in state.world.connections.values() if one.database == database]
    return Answer(body={"value": [connections.render(state, one) for one in found]})


@route("GET", f"{_CONNECTIONS}/{{connection}}")
def data_connection(request: Request) -> Answer:
    """Return one data connection."""
    return Answer(body=connections.render(request.state, _existing(request)))


@route("PUT", f"{_CONNECTIONS}/{{connection}}")
def put_data_connection(request: Request) -> Answer:
    """Create or replace a data connection."""
    if unknown := request.body.keys() - {"kind", "location", "properties", "id", "name", "type"}:
        raise ArmError(400, "InvalidRequestContent", f"The body has an unknown property '{min(unknown)}'.")
    if not isinstance(request.body.get("location"), str):
        raise ArmError(400, "InvalidRequestContent", "A data connection needs a location.")
    return _keep(request, request.body)


@route("PATCH", f"{_CONNECTIONS}/{{connection}}")
def update_data_connection(request: Request) -> Answer:
    """Change some properties of an existing data connection."""
    existing = _existing(request)
    given = request.body.get("properties") or {}
    if not isinstance(given, dict):
        raise ArmError(400, "InvalidRequestContent", "properties must be an object.")
    return _keep(request, {**request.body, "properties": {**existing.properties, **given}})


def _keep(request: Request, body: dict[str, Any]) -> Answer:
    state, name = request.state, request.path["connection"]
    try:
        made = connections.parse(state, _database(request), name, body)
    except KustoError as error:
        raise ArmError(400, "BadRequest", error.detail) from error
    with state.lock:
        place = (key(made.database), name.lower())
        existing = state.world.connections.get(place)
        # Documented: a new connection starts with the events that are sent from now on.
        offset = existing.offset if existing and existing.hub == made.hub else len(state.world.hubs[made.hub])
        kept = replace(made, offset=offset)
        state.change(lambda w: replace(w, connections={**w.connections, place: kept}))
    state.work.set()
    return _accepted(request, connections.render(state, kept), status=200 if existing else 201)


def _existing(request: Request) -> DataConnection:
    place = (key(_database(request)), request.path["connection"].lower())
    if place not in request.state.world.connections:
        raise ArmError(404, "ResourceNotFound", f"The data connection {request.path['connection']} does not exist.")
    return request.state.world.connections[place]


@route("DELETE", f"{_CONNECTIONS}/{{connection}}")
def delete_data_connection(request: Request) -> Answer:
    """Delete a data connection."""
    state, place = request.state, (key(_database(request)), request.path["connection"].lower())
    with state.lock:
        if place not in state.world.connections:
            return Answer(204)
        state.change(lambda w: replace(w, connections=without(w.connections, place)))
    return _accepted(request)


def _accepted(request: Request, body: Any = None, *, status: int = 202) -> Answer:
    name = str(uuid.uuid4())
    with request.state.lock:
        request.state.operations = {**request.state.operations, name: "InProgress"}
    path = f"{resources.GROUP_ID}/providers/Microsoft.Kusto/locations/{LOCATION}/operationResults/{name}"
    where = f"{request.state.url}{path}?api-version={request.version}"
    return Answer(status, body, {"Azure-AsyncOperation": where, "Location": where, "Retry-After": "0"})


def _database(request: Request) -> str:
    try:
        return request.state.database(request.path["database"]).name
    except KustoError as error:
        raise ArmError(404, "ResourceNotFound", error.detail) from error


def _require_own(state: State, captured: Mapping[str, str]) -> None:
    own = {"subscription": SUBSCRIPTION, "group": GROUP, "cluster": state.name}
    for name, wanted in own.items():
        if captured.get(name, wanted).lower() != wanted.lower():
            raise ArmError(404, "ResourceNotFound", f"The local cluster has only the {name} {wanted}.")


def _version(provider: str, query: Mapping[str, str]) -> str:
    given = query.get("api-version", "")
    if given not in _VERSIONS[provider]:
        known = ", ".join(_VERSIONS[provider])
        what = f"The api-version '{given}' is invalid. The supported versions are {known}."
        raise ArmError(400, "InvalidResourceType" if given else "MissingApiVersionParameter", what)
    return given


def _json(body: bytes) -> Any:
    if not body:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ArmError(400, "InvalidRequestContent", f"The request is not JSON: {error}") from error
    if not isinstance(found, dict) or not lenient_json.is_text(found):
        raise ArmError(400, "InvalidRequestContent", "The request must be a JSON object without unpaired surrogates.")
    return found
