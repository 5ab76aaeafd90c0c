"""Data connections, which ingest the events of a hub into a table with a managed identity."""

from typing import Any

from kqlmi.local import enforce
from kqlmi.local.enforce import Use
from kqlmi.local.state import azureroles
from kqlmi.local.state.azureroles import RECEIVERS
from kqlmi.local.state.entities import DataConnection
from kqlmi.local.state.state import State
from kqlmi.local.storage.formats import format_of
from kqlmi.local.values import identities, resources
from kqlmi.local.values.faults import bad_request, unsupported
from kqlmi.local.values.identities import Identity

FLOWS = {
    "EventHub": "dataconnection.eventhub",
    "EventGrid": "dataconnection.eventgrid",
    "CosmosDb": "dataconnection.cosmosdb",
    "IotHub": "dataconnection.iothub",  # takes no managed identity
}
_UNSUPPORTED = ("compression", "databaseRouting", "eventSystemProperties", "mappingRuleName", "retrievalStartDate")
_KNOWN = {
    *("eventHubResourceId", "consumerGroup", "tableName", "dataFormat", "managedIdentityResourceId"),
    *("managedIdentityObjectId", "provisioningState", *_UNSUPPORTED),
}
_ABSENT: tuple[object, ...] = (None, "", [], "None", "Single")


def parse(state: State, database: str, name: str, body: dict[str, Any]) -> DataConnection:
    """Parse the body of a data connection, and raise if its identity is not allowed."""
    kind, properties = body.get("kind"), body.get("properties")
    if not isinstance(kind, str) or kind not in FLOWS:
        raise bad_request(f"the 'kind' of a data connection must be one of {', '.join(FLOWS)}, not {kind!r}")
    if not isinstance(properties, dict):
        raise bad_request("a data connection needs 'properties'")
    resource_id = str(properties.get("managedIdentityResourceId") or "")
    if not resource_id:
        raise bad_request("the local cluster supports only data connections with a managedIdentityResourceId")
    use = Use(FLOWS[kind], database)
    enforce.permit(state, use, _object_id(state, resource_id))
    if kind != "EventHub":
        raise unsupported(f"data connections of the kind {kind}")
    _refuse_unknown(properties)
    hub = resources.parse_hub(str(properties.get("eventHubResourceId")))
    if hub not in state.world.hubs:
        raise bad_request(f"there is no hub {'/'.join(hub)}; create it with cluster.hub")
    if not properties.get("consumerGroup"):
        raise bad_request("a data connection needs a 'consumerGroup'")
    table = str(properties.get("tableName") or "")
    state.database(database).table(table)
    written = format_of("", str(properties.get("dataFormat") or "csv"))
    if written == "raw":  # documented
        raise bad_request("Event Hubs data connections do not support the format 'raw'")
    if written == "parquet":
        raise unsupported("events in Parquet format")
    return DataConnection(name, database, table, hub, resource_id, {**properties, "dataFormat": written})


def _refuse_unknown(properties: dict[str, Any]) -> None:
    if unknown := sorted(properties.keys() - _KNOWN):
        raise bad_request(f"the local cluster does not know the property '{unknown[0]}' of a data connection")
    for one in _UNSUPPORTED:
        if properties.get(one) not in _ABSENT:
            raise unsupported(f"the property '{one}' of a data connection")


def render(state: State, connection: DataConnection) -> dict[str, Any]:
    """Return a data connection as Azure Resource Manager shows it."""
    name = f"{state.name}/{connection.database}/{connection.name}"
    place = f"databases/{connection.database}/dataConnections/{connection.name}"
    return {
        "id": f"{resources.cluster_id(state.name)}/{place}",
        "name": name,
        "type": "Microsoft.Kusto/Clusters/Databases/DataConnections",
        "location": "local",
        "kind": "EventHub",
        "properties": {
            **connection.properties,
            "dataFormat": str(connection.properties["dataFormat"]).upper(),
            "managedIdentityObjectId": _object_id(state, connection.identity),
            "provisioningState": "Succeeded",
        },
    }


def receiver(state: State, connection: DataConnection) -> Identity:
    """Return the identity of a data connection, or raise if it is not allowed to receive events now."""
    use = Use(FLOWS["EventHub"], connection.database)
    identity = enforce.permit(state, use, _object_id(state, connection.identity))
    scope = azureroles.hub_scope(*connection.hub)
    if not state.world.azure_roles.holds(identity.object_id, scope, RECEIVERS):
        who = f"the managed identity '{identity.display_name}'"
        url = f"sb://{connection.hub[0]}.servicebus.windows.net/{connection.hub[1]}"
        raise enforce.refuse_role(use, identity.object_id, who, roles=RECEIVERS, url=url)
    return identity


def _object_id(state: State, resource_id: str) -> str:
    """Return the object ID of the identity with this resource ID; an unknown ID is returned unchanged.

    The cluster's own resource ID means its system-assigned identity.
    """
    if resource_id.lower() == resources.cluster_id(state.name).lower():
        system = identities.find(state.world.identities, "system")
        return system.object_id if system else "system"
    found = state.world.user_assigned.get(resource_id.lower())
    return found.object_id if found else resource_id
