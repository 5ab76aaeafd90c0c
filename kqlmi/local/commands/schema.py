"""Commands that show the schema of databases, as rows and as a script, and failed ingestions."""

from collections.abc import Iterable, Iterator

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.engine.kqltext import quote
from kqlmi.local.flows import update_policies
from kqlmi.local.language.lexer import mask_hidden
from kqlmi.local.state.entities import ContinuousExport, ExternalTable
from kqlmi.local.state.state import Database
from kqlmi.local.values import kusto_time
from kqlmi.local.values.principals import READ_SCHEMA
from kqlmi.local.values.tables import Column, schema_text

_KINDS = {"Blob": "storage", "Delta": "delta", "Sql": "sql"}
_DIALECTS = {"cosmosdb": "CosmosDbSQL", "mysql": "MySQL", "postgresql": "PostgreSQL"}


@command(
    ".show databases entities",
    schema="DatabaseName: string, EntityType: string, EntityName: string, DocString: string, Folder: string, "
    "CslInputSchema: string, Content: string, CslOutputSchema: string, Properties: dynamic",
)
def databases_entities_show(call: Call) -> Rows:
    """Yield the tables, external tables and functions of all databases that the caller may see."""
    for database in call.state.visible(call.caller):
        for name, table in database.tables.items():
            yield (database.name, "Table", name, "", "", "", "", schema_text(table.columns), "{}")
        for one in database.external_tables.values():
            schema = schema_text(one.columns)
            yield (database.name, "ExternalTable", one.name, one.docstring, one.folder, "", "", schema, "{}")
        for function in database.functions.values():
            texts = (function.docstring, function.folder, function.parameters, mask_hidden(function.body))
            yield (database.name, "Function", function.name, *texts, "", "{}")


@command(".show database {name:database} schema as csl script", schema="DatabaseSchemaScript: string")
def database_schema_script_show(call: Call) -> Rows:
    """Return the commands that recreate the database, with hidden strings masked."""
    database = call.allowed(READ_SCHEMA)
    return [(text,) for text in script(database)]


@command(
    ".show ingestion failures",
    schema="OperationId: guid, Database: string, Table: string, FailedOn: datetime, IngestionSourcePath: string, "
    "Details: string, FailureKind: string, RootActivityId: guid, OperationKind: string, "
    "OriginatesFromUpdatePolicy: bool, ErrorCode: string, Principal: string, ShouldRetry: bool, User: string, "
    "IngestionProperties: string",
)
def ingestion_failures_show(call: Call) -> Rows:
    """Yield the failed ingestions in the databases that the caller may see."""
    visible = {database.name for database in call.state.visible(call.caller)}
    for one in call.state.world.ingestion_failures:
        if one.database in visible:
            kind = "Permanent" if one.is_permanent else "Transient"
            yield (
                *(one.operation_id, one.database, one.table, one.timestamp, one.source, one.details, kind),
                *(one.activity_id, "DataIngestPull", one.is_from_update_policy, one.error_code, one.principal),
                *(not one.is_permanent, "", ""),
            )


def script(database: Database) -> Iterator[str]:
    """Yield the commands that create the tables, functions, exports and policies of a database."""
    for name, table in database.tables.items():
        yield f".create-merge table {_name(name)} ({_declared(table.columns)})"
    for function in database.functions.values():
        yield f".create-or-alter function {_name(function.name)}{function.parameters} {mask_hidden(function.body)}"
    for external in database.external_tables.values():
        yield _external(external)
        if external.acceleration:
            yield f".alter external table {_name(external.name)} policy query_acceleration {quote(external.acceleration)}"
    for name, policies in database.update_policies.items():
        yield f".alter table {_name(name)} policy update {quote(update_policies.render(policies))}"
    for export in database.exports.values():
        yield _export(export)


def _external(table: ExternalTable) -> str:
    strings = ", ".join(f"h{quote(text)}" for text in table.shown)
    laid = table.layout
    texts = {"folder": table.folder, "docstring": table.docstring}
    head = f".create-or-alter external table {_name(table.name)} ({_declared(table.columns)}) kind={_KINDS[table.kind]}"
    if table.kind != "Blob":
        if table.kind == "Sql":
            texts |= {} if table.dialect == "sql" else {"sqlDialect": _DIALECTS[table.dialect]}
            head += f" table={_name(table.target)}" if table.target else ""
        return f"{head} ({strings}) with ({', '.join(f'{name}={quote(text)}' for name, text in texts.items())})"
    texts |= {"namePrefix": laid.prefix, "fileExtension": laid.extension, "includeHeaders": laid.headers}
    given = ", ".join(f"{name}={quote(text)}" for name, text in texts.items())
    given += f", compressed={'true' if laid.is_compressed else 'false'}"
    if table.partitions:
        by = (
            f"{_name(one.name)}:{one.type}{f' = {one.expression}' * bool(one.expression)}" for one in table.partitions
        )
        path_format = f" pathformat=({table.path_format})" * bool(table.path_format)
        head += f" partition by ({', '.join(by)}){path_format}"
    return f"{head} dataformat={laid.format} ({strings}) with ({given})"


def _export(export: ContinuousExport) -> str:
    properties = [f"intervalBetweenRuns=time({kusto_time.format_timespan(export.interval)})"]
    if export.forced_latency:
        properties.append(f"forcedLatency=time({kusto_time.format_timespan(export.forced_latency)})")
    if export.is_disabled:
        properties.append("isDisabled=true")
    if export.managed_identity:
        properties.append(f"managedIdentity={quote(export.managed_identity)}")
    over = ", ".join(map(_name, export.over))
    where = f"over ({over}) to table {_name(export.external_table)} with ({', '.join(properties)})"
    return f".create-or-alter continuous-export {_name(export.name)} {where} <| {mask_hidden(export.query)}"


def _name(name: str) -> str:
    return f"[{quote(name)}]"


def _declared(columns: Iterable[Column]) -> str:
    return ", ".join(f"{_name(column.name)}: {column.type}" for column in columns)
