"""The flows that are not started by a command: Python for the Azure SDKs, and a shell line."""

from typing import Any, Final

from kqlmi.errors import InputError
from kqlmi.model.azure.resourceid import ResourceId
from kqlmi.model.entities import SYSTEM
from kqlmi.model.explain.fixes import word
from kqlmi.model.templates import fields
from kqlmi.model.templates.forms import LISTING, template
from kqlmi.model.templates.values import Values

# The characters that sh, cmd or IPython's ! interpret even between double quotes.
_UNSAFE = frozenset('"$`\\%!{}\n\r')

_CONNECTION: Final = (
    fields.NAME.called("the name of the data connection"),
    fields.TABLE.called("the target table"),
    fields.RESOURCE,
)
_HUB: Final = (fields.HUB, fields.GROUP, fields.EVENTS)


def line(values: Values) -> str:
    """Return the ``%kqlmi ingest`` line that queues a file, or an empty string if a value cannot be written on it."""
    uri, table, database = (word(text) for text in (values["uri"], values["table"], values.database))
    if not (uri and table and database):
        return ""
    identity, written = values.identity.object_id, values["format"]
    return f"%kqlmi ingest {uri} into {table} --identity {identity} --database {database} --format {written}"


@template("ingest.sdk_queued", *fields.INTO, fields.INGESTION, kind="python", line=line, probe=LISTING)
def _queue(values: Values) -> str:
    return f"""\
from azure.identity import DefaultAzureCredential
from azure.kusto.data import DataFormat, KustoConnectionStringBuilder
from azure.kusto.ingest import BlobDescriptor, IngestionProperties, QueuedIngestClient

builder = KustoConnectionStringBuilder.with_azure_token_credential({values["ingest_uri"]!r}, DefaultAzureCredential())
with QueuedIngestClient(builder) as client:
    # The size of the raw data in bytes; 0 if not known.
    blob = BlobDescriptor({values.storage!r}, size=0)
    client.ingest_from_blob(blob, IngestionProperties({values.database!r}, {values["table"]!r}, DataFormat.{values["format"].upper()}))"""


@template(
    "ingest.lightingest",
    *fields.INTO,
    fields.INGESTION,
    fields.CLIENT,
    kind="shell",
    probe=LISTING,
    notes=("LightIngest lists the source itself; -ingestmi specifies how the cluster reads it.",),
)
def _lightingest(values: Values) -> str:
    is_system = values.identity.object_id == SYSTEM
    client = SYSTEM if is_system else values["client_id"] or values.identity.client_id
    if not client:
        message = f"LightIngest requires the client ID of {values.identity}, which is not known."
        raise InputError(message, hint="Pass it with --client-id.")
    words = [
        f"{values['ingest_uri']};Fed=True",
        f"-database:{values.database}",
        f"-table:{values['table']}",
        f"-source:{values['uri']}",
        f"-format:{values['format']}",
        f"-ingestmi:{client}",
    ]
    for one in words:
        if unsafe := sorted(_UNSAFE & set(one)):
            raise InputError(
                f"{one!r} cannot be written on a shell line, because of {unsafe[0]!r}.", hint="Use ingest.sdk_queued."
            )
    return " ".join(["LightIngest", *(f'"{one}"' for one in words)])


@template("dataconnection.eventhub", *_CONNECTION, *_HUB, kind="python")
def _event_hub(values: Values) -> str:
    return _connection(values, "EventHub", _hub(values))


@template("dataconnection.eventgrid", *_CONNECTION, fields.STORAGE, *_HUB, kind="python")
def _event_grid(values: Values) -> str:
    return _connection(values, "EventGrid", {"storageAccountResourceId": values["storage"], **_hub(values)})


@template("dataconnection.cosmosdb", *_CONNECTION, fields.COSMOS, fields.CATALOG, fields.COLLECTION, kind="python")
def _cosmos(values: Values) -> str:
    named = {"AccountResourceId": "account", "Database": "catalog", "Container": "collection"}
    return _connection(values, "CosmosDb", {f"cosmosDb{key}": values[field] for key, field in named.items()})


def _hub(values: Values) -> dict[str, str]:
    return {
        "eventHubResourceId": values["hub"],
        "consumerGroup": values["consumer_group"],
        "dataFormat": values["format"].upper(),
    }


def _connection(values: Values, kind: str, properties: dict[str, Any]) -> str:
    """Return Python code that creates a data connection.

    A user-assigned identity is specified by its resource ID, the system identity by the cluster's; ``kind`` must be in the
    body, because azure-mgmt-kusto 4.0.0 does not add it.
    """
    where = ResourceId.parse(values["resource_id"].rstrip("/"), "Microsoft.Kusto/clusters")
    if where is None:
        raise InputError("--resource-id is not the resource ID of a cluster.")
    rows = {"tableName": values["table"], **properties}
    written = "\n".join(f"            {name!r}: {value!r}," for name, value in rows.items())
    if values.identity.object_id == SYSTEM:
        identity = "    identity = cluster.id  # means the system identity"
    else:
        identity = (
            "    assigned = cluster.identity.user_assigned_identities or {}\n"
            f"    identity = next(key for key, one in assigned.items() if one.principal_id == {values.identity.principal!r})"
        )
    return f"""\
from azure.identity import DefaultAzureCredential
from azure.mgmt.kusto import KustoManagementClient

options = {{"credential": DefaultAzureCredential()}}
group, name = {where.group!r}, {where.name!r}
with KustoManagementClient(subscription_id={where.subscription!r}, **options) as client:
    cluster = client.clusters.get(group, name)
{identity}
    connection = {{
        "kind": {kind!r},
        "location": cluster.location,
        "properties": {{
{written}
            "managedIdentityResourceId": identity,
        }},
    }}
    place = (group, name, {values.database!r}, {values["name"]!r})
    client.data_connections.begin_create_or_update(*place, connection).wait()"""
