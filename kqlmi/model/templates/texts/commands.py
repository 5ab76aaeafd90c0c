"""The management commands of flows."""

import json
from typing import Final

from kqlmi.model.kql import quoting
from kqlmi.model.templates import fields
from kqlmi.model.templates.forms import LISTING, kql, template
from kqlmi.model.templates.values import Values

_CREATED: Final = fields.NAME.called("the name of the external table")
_TABLE: Final = ".create external table {name} {schema}\n"
_AT_INGESTION: Final = fields.INGESTION.maybe()

kql(
    "external_table.storage",
    _TABLE + "kind=storage dataformat={format}\n(h{storage})",
    *(_CREATED, fields.URI, fields.LINE, fields.FORMAT),
)
kql("external_table.delta", ".create external table {name} kind=delta\n(h{storage})", _CREATED, fields.URI)
kql(
    "external_table.sql",
    _TABLE + "kind=sql table={table}\n(h{sql})",
    *(_CREATED, fields.SERVER, fields.CATALOG, fields.TABLE.called("the table in SQL Server"), fields.SCHEMA),
)
kql(
    "external_table.cosmosdb",
    _TABLE + "kind=sql (h{cosmos})\nwith (sqlDialect='CosmosDbSQL')",
    *(_CREATED, fields.ACCOUNT, fields.CATALOG, fields.COLLECTION, fields.SCHEMA),
)
kql(
    "export.to_external_table",
    ".export to table {table} <|\n{query}",
    *(fields.EXTERNAL, fields.QUERY),
    notes=("The identity is the one that the external table specifies; the command does not specify one.",),
)
kql(
    "continuous_export",
    ".create-or-alter continuous-export {name}\n"
    "over ({source})\n"
    "to table {table}\n"
    "with (managedIdentity={identity}, intervalBetweenRuns={every}) <|\n"
    "{query}",
    *(fields.NAME.called("the name of the export"), fields.EXTERNAL, fields.SOURCE, fields.QUERY.maybe(), fields.EVERY),
    notes=("The command replaces any continuous export of the same name.",),
)


@template(
    "update_policy",
    *(fields.TABLE.called("the target table"), fields.SOURCE, fields.QUERY.maybe()),
    notes=("The command adds to the table's update policies; .alter would replace them.",),
)
def _update_policy(values: Values) -> str:
    policy = {
        "IsEnabled": True,
        "Source": values["source"],
        "Query": values["query"] or quoting.name(values["source"]),
        "IsTransactional": False,
        "ManagedIdentity": values.identity.object_id,
    }
    return f".alter-merge table {quoting.name(values['table'])} policy update\n{_payload([policy])}"


@template(
    "query_acceleration",
    *(fields.EXTERNAL, fields.HOT),
    notes=("The command replaces the table's query acceleration policy.",),
)
def _query_acceleration(values: Values) -> str:
    hot = f"{values['hot'].removesuffix('d')}.00:00:00"
    policy = {"IsEnabled": True, "Hot": hot, "ManagedIdentity": values.identity.object_id}
    return f".alter external table {quoting.name(values['table'])} policy query_acceleration\n{_payload(policy)}"


kql(
    "export.to_storage",
    ".export to {format} (\n  h{storage}\n) <|\n{query}",
    *(fields.URI, fields.QUERY, fields.WRITTEN),
)
kql(
    "ingest.into",
    ".ingest into table {table} (\n  {storage}\n) with (format='{format}')",
    *fields.INTO,
    probe=LISTING,
)
kql(
    "ingest.queued_cmd",
    ".ingest-from-storage-queued into table database({database}).{table}\n"
    "with (format='{format}') <|\n"
    "  .list blobs ({storage})",
    *(*fields.INTO, _AT_INGESTION),
    is_ingestion=True,
    probe=LISTING,
)
kql(
    "list_blobs",
    ".list blobs (\n  {storage}\n) MaxFiles=20",
    *(fields.URI, _AT_INGESTION),
    is_ingestion=True,
    probe=LISTING,
)


def _payload(policy: object) -> str:
    return quoting.fence(json.dumps(policy, indent=2, ensure_ascii=False))
