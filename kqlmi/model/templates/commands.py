"""The management commands of flows, as text."""

import json

from kqlmi.model.kql import quoting
from kqlmi.model.templates.values import Values, hidden


def storage_table(values: Values) -> str:
    """Give the command that makes an external table on Azure Storage."""
    return (
        f".create external table {values.name('name')} {values.columns()}\n"
        f"kind=storage dataformat={values['format']}\n"
        f"({hidden(values.storage)})"
    )


def delta_table(values: Values) -> str:
    """Give the command that makes an external table on Delta Lake."""
    return f".create external table {values.name('name')} kind=delta\n({hidden(values.storage)})"


def sql_table(values: Values) -> str:
    """Give the command that makes an external table on SQL Server."""
    return (
        f".create external table {values.name('name')} {values.columns()}\n"
        f"kind=sql table={values.name('table')}\n"
        f"({hidden(values.sql)})"
    )


def cosmos_table(values: Values) -> str:
    """Give the command that makes an external table on Azure Cosmos DB."""
    return (
        f".create external table {values.name('name')} {values.columns()}\n"
        f"kind=sql ({hidden(values.cosmos)})\n"
        "with (sqlDialect='CosmosDbSQL')"
    )


def export_to_table(values: Values) -> str:
    """Give the command that exports to an external table."""
    return f".export to table {values.name('table')} <|\n{values['query']}"


def continuous_export(values: Values) -> str:
    """Give the command that makes a continuous export."""
    return (
        f".create-or-alter continuous-export {values.name('name')}\n"
        f"over ({values.name('source')})\n"
        f"to table {values.name('table')}\n"
        f"with (managedIdentity={quoting.literal(values.identity.object_id)}, intervalBetweenRuns={values['every']}) <|\n"
        f"{values.query()}"
    )


def update_policy(values: Values) -> str:
    """Give the command that adds an update policy to a table."""
    policy = {
        "IsEnabled": True,
        "Source": values["source"],
        "Query": values.query(),
        "IsTransactional": False,
        "ManagedIdentity": values.identity.object_id,
    }
    return f".alter-merge table {values.name('table')} policy update\n{_payload([policy])}"


def query_acceleration(values: Values) -> str:
    """Give the command that accelerates the queries of an external table."""
    policy = {"IsEnabled": True, "Hot": _timespan(values["hot"]), "ManagedIdentity": values.identity.object_id}
    return f".alter external table {values.name('table')} policy query_acceleration\n{_payload(policy)}"


def export_to_storage(values: Values) -> str:
    """Give the command that exports to storage."""
    return f".export to {values['format']} (\n  {hidden(values.storage)}\n) <|\n{values['query']}"


def ingest(values: Values) -> str:
    """Give the command that ingests a file at once."""
    source = quoting.literal(values.storage)
    return f".ingest into table {values.name('table')} (\n  {source}\n) with (format='{values['format']}')"


def queue(values: Values) -> str:
    """Give the command that queues files for ingestion."""
    return (
        f".ingest-from-storage-queued into table database({quoting.literal(values.database)}).{values.name('table')}\n"
        f"with (format='{values['format']}') <|\n"
        f"  .list blobs ({quoting.literal(values.storage)})"
    )


def list_blobs(values: Values) -> str:
    """Give the command that lists files."""
    return f".list blobs (\n  {quoting.literal(values.storage)}\n) MaxFiles=20"


def _payload(policy: object) -> str:
    return quoting.fence(json.dumps(policy, indent=2, ensure_ascii=False))


def _timespan(text: str) -> str:
    """Give an interval as JSON holds it: ``d.hh:mm:ss``."""
    seconds = int(text[:-1]) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[text[-1]]
    days, rest = divmod(seconds, 86400)
    return f"{days}.{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
