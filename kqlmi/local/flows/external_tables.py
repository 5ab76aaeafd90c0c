"""External tables: defining them, and reading the rows of their files."""

import re
from dataclasses import dataclass, replace
from typing import Any

from kqlmi.local import connectionstrings, enforce, lenient_json, textvalues
from kqlmi.local.commands.registry import Call, Rows, command, listed, shape
from kqlmi.local.connectionstrings import named_identities
from kqlmi.local.cutting import Site, storage_kind
from kqlmi.local.enforce import Use
from kqlmi.local.entities import ExternalTable, Layout
from kqlmi.local.expansion import Expansion, Source
from kqlmi.local.faults import already_exists, bad_request, not_carried_out
from kqlmi.local.flows import transfer
from kqlmi.local.flows.registry import reader
from kqlmi.local.formats import format_of
from kqlmi.local.principals import ADMIN, CREATE, READ_SCHEMA, Principal
from kqlmi.local.reader import Reader
from kqlmi.local.state import Database, State, with_entry
from kqlmi.local.storage import open_location
from kqlmi.local.tables import Column

FLOW = "external_table.storage"
_GIVES = (
    "TableName: string, TableType: string, Folder: string, DocString: string, Properties: string, "
    "ConnectionStrings: dynamic, Partitions: dynamic, PathFormat: string"
)
_OWN = ("folder", "docstring")
_NOT_CARRIED_OUT = frozenset({"sampleuris", "filespreview"})
_ONCE = frozenset({"dryrun", "validatenotempty"})
# Documented of tables that are not read here.
_ELSEWHERE = frozenset(
    {
        "autoupdateschema", "compressed", "compressiontype", "createifnotexists", "dryrun", "encoding", "fileextension",
        "firetriggers", "nameprefix", "primarykey", "sqldialect", "validatenotempty", *_OWN,
    }
)  # fmt: skip
_SECRET = re.compile(r"\b(password|pwd|accountkey|user id|uid)\s*=\s*[^;]*", re.IGNORECASE)


@dataclass(frozen=True)
class Definition:
    """An external table as a command defines it, and what the command does only then."""

    table: ExternalTable
    once: frozenset[str]


@shape("external")
def external_definition(reader: Reader, _verb: str) -> Definition:
    """Take ``(schema) kind = storage dataformat = … ('connection string', …) [with (…)]``, or the same of another kind."""
    columns = reader.schema() if reader.peek().text == "(" else ()
    ahead = Reader(reader.text, reader.position)
    if ahead.take("kind") and ahead.take("=") and ahead.peek().text in {"delta", "sql"}:
        reader.position = ahead.position
        return _elsewhere(reader, columns)
    kind, by, path_format = storage_kind(reader, columns)
    locations = tuple(map(connectionstrings.parse, listed(reader, reader.strings)))
    properties = reader.properties() if reader.take("with") else {}
    for name in sorted(_NOT_CARRIED_OUT & properties.keys()):
        transfer.require({name: properties[name]}, (), others=_NOT_CARRIED_OUT)
    laid = transfer.layout(format_of("", kind), properties, also=(*_OWN, *_ONCE, *_NOT_CARRIED_OUT))
    folder, docstring = _described(properties)
    table = ExternalTable("", columns, laid, locations, folder, docstring, partitions=by, path_format=path_format)
    return Definition(table, _once(properties))


@command(".create external table {name:table} {external:definition}", gives=_GIVES, writes=True, long=True)
def external_table_create(call: Call) -> Rows:
    """Create an external table that is not there."""
    return _define(call, may_exist=False, must_exist=False)


@command(".alter external table {name:table} {external:definition}", gives=_GIVES, writes=True, long=True)
def external_table_alter(call: Call) -> Rows:
    """Define an external table anew."""
    return _define(call, may_exist=True, must_exist=True)


@command(".create-or-alter external table {name:table} {external:definition}", gives=_GIVES, writes=True, long=True)
def external_table_create_or_alter(call: Call) -> Rows:
    """Define an external table, whether it is there or not."""
    return _define(call, may_exist=True, must_exist=False)


@command(".drop external table {name:table}", gives=_GIVES, writes=True)
def external_table_drop(call: Call) -> Rows:
    """Forget an external table; its files stay."""
    return _drop(call, may_miss=False)


@command(".drop external table {name:table} ifexists", gives=_GIVES, writes=True)
def external_table_drop_if_exists(call: Call) -> Rows:
    """Forget an external table if it is there."""
    return _drop(call, may_miss=True)


@command(".show external tables", gives=_GIVES)
def external_tables_show(call: Call) -> Rows:
    """Give the external tables of the database in context."""
    return [_row(table) for table in _shown(call)]


@command(".show external table {name:table}", gives=_GIVES)
def external_table_show(call: Call) -> Rows:
    """Give one external table."""
    return [_row(table) for table in _shown(call)]


_DETAILS = "TableName: string, QueryAccelerationPolicy: string, QueryAccelerationState: string"


@command(".show external tables details", gives=_DETAILS)
def external_tables_details_show(call: Call) -> Rows:
    """Return the query acceleration of the external tables: its policy, and no state, for nothing is accelerated."""
    return [(table.name, table.acceleration or "null", "null") for table in _shown(call)]


@command(".show external table {name:table} details", gives=_DETAILS)
def external_table_details_show(call: Call) -> Rows:
    """Return the query acceleration of one external table."""
    return external_tables_details_show(call)


@command(
    ".show external table {name:table} artifacts [limit {count:limit}]",
    gives="Uri: string, Size: long, Partition: dynamic",
    long=True,
)
def external_table_artifacts_show(call: Call) -> Rows:
    """Return the files that a query over an external table would read."""
    database = call.allowed(CREATE)
    table = _readable(call.state, database, database.external_table(call.args["table"]), call.caller.principal)
    use = Use(table.flow, database.name, call.caller.principal)
    found = transfer.files_of(call.state, table.locations, use, table.layout, (table.partitions, table.path_format))
    for (opened, blob, values), _ in zip(found, range(call.args.get("limit", 1_000_000)), strict=False):
        shown = {one.name: textvalues.write(Column(one.name, one.type), values[one.name]) for one in table.partitions}
        yield (blob.url, (opened.root / blob.path).stat().st_size, lenient_json.dumps(shown))


@command(
    ".show external table {name:table} schema as csl",
    ".show external table {name:table} cslschema",
    gives="TableName: string, Schema: string, DatabaseName: string, Folder: string, DocString: string",
)
def external_table_schema_show(call: Call) -> Rows:
    """Return the columns of an external table."""
    (table,) = _shown(call)
    schema = ",".join(f"{column.name}:{column.type}" for column in table.columns)
    return [(table.name, schema, call.allowed(READ_SCHEMA).name, table.folder, table.docstring)]


@shape("count")
def count(reader: Reader, _verb: str) -> int:
    """Take a whole number."""
    token = reader.peek()
    if not token.text.isdecimal():
        raise reader.mismatch("a number")
    reader.next()
    return int(token.text)


@reader("external_table")
def external_table_rows(expansion: Expansion, site: Site, context: Database) -> Source:
    """Carry out ``external_table('T')``."""
    question = expansion.question
    if site.database:
        context = question.reads(site.database)
    if len(site.arguments) != 1:
        raise not_carried_out("mappings of external tables")
    table = context.external_table(expansion.text(site, site.arguments[0], context))
    _readable(expansion.state, context, table, question.principal)
    use = Use(table.flow, context.name, question.principal)
    by = (table.partitions, table.path_format)
    return Source(
        (*table.columns, *transfer.virtual_columns(table.columns, table.partitions)),
        lambda: transfer.read(
            expansion.state,
            table.locations,
            use,
            table.layout,
            table.columns,
            run=expansion.question.run,
            folders=True,
            by=by,
        ),
    )


def _readable(state: State, database: Database, table: ExternalTable, principal: Principal | None) -> ExternalTable:
    """Refuse a table that is no storage: for its identity, or as not carried out."""
    if table.kind != "Blob":
        for identity in table.identities:
            enforce.permit(state, Use(table.flow, database.name, principal), identity)
        raise not_carried_out(f"reading and writing external tables of this kind ({table.flow})")
    return table


def _define(call: Call, *, may_exist: bool, must_exist: bool) -> Rows:
    state = call.state
    name, definition = call.args["table"], call.args["definition"]
    table: ExternalTable = replace(definition.table, name=name)
    identities = table.identities
    with state.lock:
        if may_exist and not must_exist and identities and table.kind != "Sql":
            call.require(ADMIN)  # documented: AllDatabasesAdmin, where a managed identity is used
        database = call.allowed(
            ADMIN if must_exist or (table.kind == "Sql" and identities) else CREATE, entity=f"External Table {name}"
        )
        if may_exist and name in database.external_tables:
            call.require(ADMIN, database, f"External Table {name}")
        for identity in identities:
            enforce.permit(state, Use(table.flow, database.name), identity)
        if name in database.external_tables and not may_exist:
            raise already_exists(name, "ExternalTable")
        if must_exist:
            database.external_table(name)
        if not name or name in database.tables:
            raise bad_request(f"'{name}' cannot name an external table: it is empty, or names a table")
        if table.kind == "Delta" or "validatenotempty" in definition.once:
            _validate(call, database, table, is_checked="validatenotempty" in definition.once)
        if "dryrun" not in definition.once:
            _put(call, database, name, table, "ALTER-EXTERNAL-TABLE")
    return [_row(table)]


def _validate(call: Call, database: Database, table: ExternalTable, *, is_checked: bool) -> None:
    """Open what a table is made of, which a delta table is read from at its creation."""
    use = Use(table.flow, database.name, call.caller.principal)
    if not table.columns:
        raise not_carried_out("the inference of the schema of a delta table")
    for location in table.locations:
        opened = open_location(call.state, location, use)
        if is_checked and not opened.blobs():
            raise bad_request(f"there is no blob in {location.url}")


def _elsewhere(reader: Reader, columns: tuple[Column, ...]) -> Definition:
    kind, target = reader.next().text, ""
    if reader.take("table"):
        reader.expect("=")
        target = reader.name()
    texts = listed(reader, reader.strings)
    properties = reader.properties() if reader.take("with") else {}
    transfer.require(properties, _ELSEWHERE)
    dialect = str(transfer.value(properties, "sqldialect", "")).lower()
    if kind == "delta":
        flow = "external_table.delta"
    elif dialect in {"mysql", "postgresql"}:
        flow = f"external_table.{dialect}"  # takes no managed identity
    else:
        is_cosmos = any("accountendpoint=" in text.lower() for text in texts)
        flow = "external_table.cosmosdb" if is_cosmos else "external_table.sql"
    table = ExternalTable(
        "",
        columns,
        Layout(""),
        tuple(map(connectionstrings.parse, texts)) if kind == "delta" else (),
        *_described(properties),
        kind=kind.capitalize(),
        flow=flow,
        connections=tuple(map(_without_secrets, texts)) if kind == "sql" else (),
        target=target,
    )
    return Definition(table, _once(properties))


def _described(properties: dict[str, str]) -> tuple[str, str]:
    folder, docstring = (str(transfer.value(properties, name, "")) for name in _OWN)
    return folder, docstring


def _once(properties: dict[str, str]) -> frozenset[str]:
    return frozenset(name for name in _ONCE if transfer.value(properties, name) is True)


def _without_secrets(text: str) -> str:
    """Return a connection string of SQL without what is secret; an identity is not."""
    return text if named_identities(text) else _SECRET.sub(r"\1=****", text)


def _drop(call: Call, *, may_miss: bool) -> Rows:
    name = call.args["table"]
    with call.state.lock:
        database = call.allowed(ADMIN, entity=f"External Table {name}")
        if may_miss and name not in database.external_tables:
            return []
        dropped = database.external_table(name)
        _put(call, database.without_admins(f"External Table {name}"), name, None, "DROP-EXTERNAL-TABLE")
    return [_row(dropped)]


def _put(call: Call, database: Database, name: str, table: ExternalTable | None, event: str) -> Database:
    changed = call.state.put(replace(database, external_tables=with_entry(database.external_tables, name, table)))
    states = [_state(held.external_tables.get(name)) for held in (database, changed)]
    call.record(event, changed, entity=name, before=states[0], after=states[1])
    return changed


def _state(table: ExternalTable | None) -> str:
    return lenient_json.dumps(_strings(table)) if table else ""


def _strings(table: ExternalTable) -> list[str]:
    return [*table.connections, *(location.shown for location in table.locations)]


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
        properties = {"TargetEntityName": table.target, "SqlDialect": table.flow.rpartition(".")[2]}
    strings, shown = lenient_json.dumps(_strings(table)), lenient_json.dumps(properties)
    by = lenient_json.dumps([{**one.shown, "Ordinal": place} for place, one in enumerate(table.partitions)])
    return (table.name, table.kind, table.folder, table.docstring, shown, strings, by, table.path_format)
