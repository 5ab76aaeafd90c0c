"""The management commands of flows, as text."""

import json
from typing import Final

from kqlmi.model.kql import quoting
from kqlmi.model.templates import fields
from kqlmi.model.templates.forms import template
from kqlmi.model.templates.values import Values, hidden

_MADE: Final = fields.NAME.called("the name of the external table")
_EXTERNAL: Final = fields.TABLE.called("the external table")
_AT_INGESTION: Final = fields.INGESTION.maybe()


@template("external_table.storage", _MADE, fields.URI, fields.LINE, fields.FORMAT)
def _storage_table(values: Values) -> str:
    return (
        f".create external table {values.name('name')} {values.columns()}\n"
        f"kind=storage dataformat={values['format']}\n"
        f"({hidden(values.storage)})"
    )


@template("external_table.delta", _MADE, fields.URI)
def _delta_table(values: Values) -> str:
    return f".create external table {values.name('name')} kind=delta\n({hidden(values.storage)})"


@template(
    "external_table.sql",
    _MADE,
    fields.SERVER,
    fields.CATALOG,
    fields.TABLE.called("the table in SQL Server"),
    fields.SCHEMA,
)
def _sql_table(values: Values) -> str:
    return (
        f".create external table {values.name('name')} {values.columns()}\n"
        f"kind=sql table={values.name('table')}\n"
        f"({hidden(values.sql)})"
    )


@template("external_table.cosmosdb", _MADE, fields.ACCOUNT, fields.CATALOG, fields.COLLECTION, fields.SCHEMA)
def _cosmos_table(values: Values) -> str:
    return (
        f".create external table {values.name('name')} {values.columns()}\n"
        f"kind=sql ({hidden(values.cosmos)})\n"
        "with (sqlDialect='CosmosDbSQL')"
    )


@template(
    "export.to_external_table",
    _EXTERNAL,
    fields.QUERY,
    notes=("The identity is the one that the external table names; this text names none.",),
)
def _export_to_table(values: Values) -> str:
    return f".export to table {values.name('table')} <|\n{values['query']}"


@template(
    "continuous_export",
    fields.NAME.called("the name of the export"),
    _EXTERNAL,
    fields.SOURCE,
    fields.QUERY.maybe(),
    fields.EVERY,
    notes=("It replaces a continuous export of the same name.",),
)
def _continuous_export(values: Values) -> str:
    return (
        f".create-or-alter continuous-export {values.name('name')}\n"
        f"over ({values.name('source')})\n"
        f"to table {values.name('table')}\n"
        f"with (managedIdentity={quoting.literal(values.identity.object_id)}, intervalBetweenRuns={values['every']}) <|\n"
        f"{values.query()}"
    )


@template(
    "update_policy",
    fields.TABLE.called("the table that rows go to"),
    fields.SOURCE,
    fields.QUERY.maybe(),
    notes=("It adds to the update policies that the table has; .alter would replace them.",),
)
def _update_policy(values: Values) -> str:
    policy = {
        "IsEnabled": True,
        "Source": values["source"],
        "Query": values.query(),
        "IsTransactional": False,
        "ManagedIdentity": values.identity.object_id,
    }
    return f".alter-merge table {values.name('table')} policy update\n{_payload([policy])}"


@template(
    "query_acceleration",
    _EXTERNAL,
    fields.HOT,
    notes=("It replaces the query acceleration policy that the table has.",),
)
def _query_acceleration(values: Values) -> str:
    policy = {"IsEnabled": True, "Hot": _timespan(values["hot"]), "ManagedIdentity": values.identity.object_id}
    return f".alter external table {values.name('table')} policy query_acceleration\n{_payload(policy)}"


@template("export.to_storage", fields.URI, fields.QUERY, fields.WRITTEN)
def _export_to_storage(values: Values) -> str:
    return f".export to {values['format']} (\n  {hidden(values.storage)}\n) <|\n{values['query']}"


@template("ingest.into", *fields.INTO)
def _ingest(values: Values) -> str:
    source = quoting.literal(values.storage)
    return f".ingest into table {values.name('table')} (\n  {source}\n) with (format='{values['format']}')"


@template("ingest.queued_cmd", *fields.INTO, _AT_INGESTION, is_ingestion=True)
def _queue(values: Values) -> str:
    return (
        f".ingest-from-storage-queued into table database({quoting.literal(values.database)}).{values.name('table')}\n"
        f"with (format='{values['format']}') <|\n"
        f"  .list blobs ({quoting.literal(values.storage)})"
    )


@template("list_blobs", fields.URI, _AT_INGESTION, is_ingestion=True)
def _list_blobs(values: Values) -> str:
    return f".list blobs (\n  {quoting.literal(values.storage)}\n) MaxFiles=20"


def _payload(policy: object) -> str:
    return quoting.fence(json.dumps(policy, indent=2, ensure_ascii=False))


def _timespan(text: str) -> str:
    """Return an interval as JSON holds it: ``d.hh:mm:ss``."""
    seconds = int(text[:-1]) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[text[-1]]
    days, rest = divmod(seconds, 86400)
    return f"{days}.{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
