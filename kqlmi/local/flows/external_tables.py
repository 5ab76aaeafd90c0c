"""Commands that define and show external tables, and the operator that reads their files."""

from dataclasses import replace
from functools import partial
from typing import Any

from kqlmi.local import enforce
from kqlmi.local.dispatch.changes import put
from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.enforce import Use
from kqlmi.local.flows import external_data
from kqlmi.local.language import textvalues
from kqlmi.local.query.expansion import Expansion, Source, reader
from kqlmi.local.query.external_calls import Site
from kqlmi.local.state.entities import ExternalTable
from kqlmi.local.state.state import Database, State
from kqlmi.local.storage import transfer
from kqlmi.local.storage.storage import open_location
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import already_exists, bad_request, unsupported
from kqlmi.local.values.principals import ADMIN, CREATE, READ_SCHEMA, Principal
from kqlmi.local.values.tables import Column, schema_text

FLOW = "external_table.storage"
_put = partial(put, kind="external_tables", shown=lambda one: lenient_json.dumps(one.shown))
# Whether the table may exist already, and whether it must.
_VERBS = {"create": (False, False), "alter": (True, True), "create-or-alter": (True, False)}
_DETAILS = "TableName: string, QueryAccelerationPolicy: string, QueryAccelerationState: string"
_SCHEMA = (
    "TableName: string, TableType: string, Folder: string, DocString: string, Properties: string, "
    "ConnectionStrings: dynamic, Partitions: dynamic, PathFormat: string"
)


@command(
    *(f".{verb} external table {{name:table}} {{external:definition}}" for verb in _VERBS),
    schema=_SCHEMA,
    name="external_table_{verb}",
    writes=True,
    long=True,
)
def external_table_define(call: Call) -> Rows:
    """Create or alter an external table, depending on the verb."""
    state, (may_exist, must_exist) = call.state, _VERBS[call.args["verb"]]
    name: str = call.args["table"]
    defined, once = call.args["definition"]
    table: ExternalTable = replace(defined, name=name)
    identities = table.identities
    with state.lock:
        if may_exist and not must_exist and identities and table.kind != "Sql":
            call.require(ADMIN)  # documented: AllDatabasesAdmin, if a managed identity is used
        needs = ADMIN if must_exist or (table.kind == "Sql" and identities) else CREATE
        database = call.allowed(needs, f"External Table {name}")
        if may_exist and name in database.external_tables:
            call.require(ADMIN, database, f"External Table {name}")
        for identity in identities:
            enforce.permit(state, Use(table.flow, database.name), identity)
        if name in database.external_tables and not may_exist:
            raise already_exists(name, "ExternalTable")
        if must_exist:
            database.external_table(name)
        if not name or name in database.tables:
            raise bad_request(f"'{name}' cannot be the name of an external table: it is empty or that of a table")
        if table.kind == "Delta" or "validatenotempty" in once:
            _validate(call, database, table, is_checked="validatenotempty" in once)
        if "dryrun" not in once:
            _put(call, database, name, table, event="ALTER-EXTERNAL-TABLE")
    return [_row(table)]


@command(".drop external table {name:table} [{ifexists}]", schema=_SCHEMA, writes=True)
def external_table_drop(call: Call) -> Rows:
    """Drop an external table; its files remain."""
    name = call.args["table"]
    with call.state.lock:
        database = call.allowed(ADMIN, f"External Table {name}")
        if "ifexists" in call.args and name not in database.external_tables:
            return []
        dropped = database.external_table(name)
        _put(call, database.without_admins(f"External Table {name}"), name, None, event="DROP-EXTERNAL-TABLE")
    return [_row(dropped)]


@command(".show external tables", schema=_SCHEMA, name="external_tables_show")
@command(".show external table {name:table}", schema=_SCHEMA)
def external_table_show(call: Call) -> Rows:
    """Return one external table, or those of the current database."""
    return [_row(table) for table in _shown(call)]


@command(".show external tables details", schema=_DETAILS, name="external_tables_details_show")
@command(".show external table {name:table} details", schema=_DETAILS)
def external_table_details_show(call: Call) -> Rows:
    """Return the query acceleration policy of each external table; its state is null, as nothing is accelerated."""
    return [(table.name, table.acceleration or "null", "null") for table in _shown(call)]


@command(
    ".show external table {name:table} artifacts [limit {count:limit}]",
    schema="Uri: string, Size: long, Partition: dynamic",
    long=True,
)
def external_table_artifacts_show(call: Call) -> Rows:
    """Return the files that a query over an external table would read."""
    database = call.allowed(CREATE)
    table = _readable(call.state, database, database.external_table(call.args["table"]), call.caller.principal)
    use = Use(table.flow, database.name, call.caller.principal)
    found = transfer.files_of(call.state, table, use, folders=True)
    for (opened, blob, values), _ in zip(found, range(call.args.get("limit", 1_000_000)), strict=False):
        shown = {one.name: textvalues.write(Column(one.name, one.type), values[one.name]) for one in table.partitions}
        yield (blob.url, (opened.root / blob.path).stat().st_size, lenient_json.dumps(shown))


@command(
    ".show external table {name:table} schema as csl",
    ".show external table {name:table} cslschema",
    schema="TableName: string, Schema: string, DatabaseName: string, Folder: string, DocString: string",
)
def external_table_schema_show(call: Call) -> Rows:
    """Return the columns of an external table."""
    (table,) = _shown(call)
    schema = schema_text(table.columns, ",")
    return [(table.name, schema, call.allowed(READ_SCHEMA).name, table.folder, table.docstring)]


@reader("external_table")
def external_table_rows(expansion: Expansion, site: Site, context: Database) -> Source:
    """Evaluate ``external_table('T')``."""
    question = expansion.question
    if site.database:
        context = question.reads(site.database)
    if len(site.arguments) != 1:
        raise unsupported("mappings of external tables")
    table = context.external_table(expansion.text(site, site.arguments[0], context))
    _readable(expansion.state, context, table, question.principal)
    use = Use(table.flow, context.name, question.principal)
    return external_data.source(expansion, table, use, folders=True)


def _readable(state: State, database: Database, table: ExternalTable, principal: Principal | None) -> ExternalTable:
    """Return a table in storage; for any other, raise because its identity is not permitted or its kind is unsupported."""
    if table.kind != "Blob":
        for identity in table.identities:
            enforce.permit(state, Use(table.flow, database.name, principal), identity)
        raise unsupported(f"reading or writing the external table '{table.name}' (kind={table.kind.lower()})")
    return table


def _validate(call: Call, database: Database, table: ExternalTable, *, is_checked: bool) -> None:
    """Open the locations of a table; the service reads a delta table when it is created."""
    use = Use(table.flow, database.name, call.caller.principal)
    if not table.columns:
        raise unsupported("schema inference for a delta table")
    for location in table.locations:
        opened = open_location(call.state, location, use)
        if is_checked and not opened.blobs():
            raise bad_request(f"there is no blob in {location.url}")


def _shown(call: Call) -> list[ExternalTable]:
    database = call.allowed(READ_SCHEMA)
    if "table" in call.args:
        return [database.external_table(call.args["table"])]
    return list(database.external_tables.values())


def _row(table: ExternalTable) -> tuple[Any, ...]:
    properties: dict[str, Any] = {
        "Format": table.layout.format,
        "NamePrefix": table.layout.prefix,
        "FileExtension": table.layout.extension,
        "IncludeHeaders": table.layout.headers,
        "Compressed": table.layout.is_compressed,
    }
    if table.kind == "Sql":
        properties = {"TargetEntityName": table.target, "SqlDialect": table.dialect}
    strings, shown = lenient_json.dumps(table.shown), lenient_json.dumps(properties)
    by = lenient_json.dumps([{**one.shown, "Ordinal": place} for place, one in enumerate(table.partitions)])
    return (table.name, table.kind, table.folder, table.docstring, shown, strings, by, table.path_format)
