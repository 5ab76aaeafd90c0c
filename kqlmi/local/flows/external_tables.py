"""External tables: defining them, and reading the rows of their files."""

from dataclasses import dataclass, replace
from typing import Any

from kqlmi.local import connectionstrings, enforce, lenient_json
from kqlmi.local.commands.registry import Call, Rows, command, listed, shape
from kqlmi.local.connectionstrings import named_identities
from kqlmi.local.cutting import Site, storage_kind
from kqlmi.local.enforce import Use
from kqlmi.local.entities import ExternalTable
from kqlmi.local.expansion import Expansion, Source
from kqlmi.local.faults import KustoError, already_exists, bad_request, not_carried_out
from kqlmi.local.flows import transfer
from kqlmi.local.flows.registry import reader
from kqlmi.local.formats import format_of
from kqlmi.local.principals import ADMIN, CREATE, READ_SCHEMA
from kqlmi.local.reader import Reader
from kqlmi.local.state import Database, with_entry

FLOW = "external_table.storage"
_GIVES = (
    "TableName: string, TableType: string, Folder: string, DocString: string, Properties: string, "
    "ConnectionStrings: dynamic, Partitions: dynamic, PathFormat: string"
)
_OWN = ("folder", "docstring")


@dataclass(frozen=True)
class Elsewhere:
    """An external table of a kind that is not carried out; who it would be read as is asked for all the same."""

    flow: str
    identities: tuple[str, ...]


@shape("external")
def external_definition(reader: Reader, _verb: str) -> ExternalTable | Elsewhere:
    """Take ``(schema) kind = storage dataformat = … ('connection string', …) [with (…)]``, or the same of another kind."""
    columns = reader.schema() if reader.peek().text == "(" else ()
    ahead = Reader(reader.text, reader.position)
    if ahead.take("kind") and ahead.take("=") and ahead.peek().text in {"delta", "sql"}:
        reader.position = ahead.position
        return _elsewhere(reader)
    kind = storage_kind(reader)
    locations = tuple(map(connectionstrings.parse, listed(reader, reader.string)))
    properties = reader.properties() if reader.take("with") else {}
    laid = transfer.layout(format_of("", kind), properties, also=_OWN)
    return ExternalTable("", columns, laid, locations, *(str(transfer.value(properties, name, "")) for name in _OWN))


@command(".create external table {name:table} {external:definition}", gives=_GIVES, writes=True)
def external_table_create(call: Call) -> Rows:
    """Create an external table that is not there."""
    return _define(call, may_exist=False, must_exist=False)


@command(".alter external table {name:table} {external:definition}", gives=_GIVES, writes=True)
def external_table_alter(call: Call) -> Rows:
    """Define an external table anew."""
    return _define(call, may_exist=True, must_exist=True)


@command(".create-or-alter external table {name:table} {external:definition}", gives=_GIVES, writes=True)
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
    """Give the query acceleration of the external tables, which the local cluster does not have."""
    return [(table.name, "null", "null") for table in _shown(call)]


@command(".show external table {name:table} details", gives=_DETAILS)
def external_table_details_show(call: Call) -> Rows:
    """Give the query acceleration of one external table, which the local cluster does not have."""
    return [(table.name, "null", "null") for table in _shown(call)]


@reader("external_table")
def external_table_rows(expansion: Expansion, site: Site, context: Database) -> Source:
    """Carry out ``external_table('T')``."""
    question = expansion.question
    if site.database:
        context = question.reads(site.database)
    if len(site.arguments) != 1:
        raise bad_request("external_table takes the name of a table; the local cluster knows no mappings")
    table = context.external_table(expansion.text(site, site.arguments[0], context))
    use = Use(FLOW, context.name, question.principal)
    return Source(
        table.columns,
        lambda: transfer.read(expansion.state, table.locations, use, table.layout, table.columns, folders=True),
    )


def _define(call: Call, *, may_exist: bool, must_exist: bool) -> Rows:
    state = call.state
    name = call.args["table"]
    if isinstance(call.args["definition"], Elsewhere):
        raise _refusal(call, call.args["definition"])
    definition = replace(call.args["definition"], name=name)
    identities = [location.identity for location in definition.locations if location.identity]
    with state.lock:
        if may_exist and not must_exist and identities:
            call.require(ADMIN)  # documented: AllDatabasesAdmin, where a managed identity is used
        database = call.allowed(ADMIN if must_exist else CREATE)
        if may_exist and name in database.external_tables:
            call.require(ADMIN, database)
        for identity in identities:
            enforce.permit(state, Use(FLOW, database.name), identity)
        if name in database.external_tables and not may_exist:
            raise already_exists(name, "ExternalTable")
        if must_exist:
            database.external_table(name)
        if not name or name in database.tables:
            raise bad_request(f"'{name}' cannot name an external table: it is empty, or names a table")
        changed = _put(call, database, name, definition, "ALTER-EXTERNAL-TABLE")
    return [_row(changed.external_tables[name])]


def _elsewhere(reader: Reader) -> Elsewhere:
    kind = reader.next().text
    if reader.take("table"):
        reader.expect("=")
        reader.name()
    texts = listed(reader, reader.string)
    properties = reader.properties() if reader.take("with") else {}
    dialect = str(transfer.value(properties, "sqldialect", "")).lower()
    if kind == "delta":
        flow = "external_table.delta"
    elif dialect in {"mysql", "postgresql"}:
        flow = f"external_table.{dialect}"  # takes no managed identity
    else:
        is_cosmos = any("accountendpoint=" in text.lower() for text in texts)
        flow = "external_table.cosmosdb" if is_cosmos else "external_table.sql"
    return Elsewhere(flow, tuple(one for text in texts for one in named_identities(text)))


def _refusal(call: Call, table: Elsewhere) -> KustoError:
    """Give the refusal of a kind that is not carried out, or of an identity that it may not use."""
    database = call.allowed(CREATE)
    for identity in table.identities:
        enforce.permit(call.state, Use(table.flow, database.name), identity)
    return not_carried_out(f"external tables of this kind ({table.flow})")


def _drop(call: Call, *, may_miss: bool) -> Rows:
    name = call.args["table"]
    with call.state.lock:
        database = call.allowed(ADMIN)
        if may_miss and name not in database.external_tables:
            return []
        dropped = database.external_table(name)
        _put(call, database, name, None, "DROP-EXTERNAL-TABLE")
    return [_row(dropped)]


def _put(call: Call, database: Database, name: str, table: ExternalTable | None, event: str) -> Database:
    changed = call.state.put(replace(database, external_tables=with_entry(database.external_tables, name, table)))
    states = [_state(held.external_tables.get(name)) for held in (database, changed)]
    call.record(event, changed, entity=name, before=states[0], after=states[1])
    return changed


def _state(table: ExternalTable | None) -> str:
    return lenient_json.dumps([location.shown for location in table.locations]) if table else ""


def _shown(call: Call) -> list[ExternalTable]:
    database = call.allowed(READ_SCHEMA)
    if "table" in call.args:
        return [database.external_table(call.args["table"])]
    return list(database.external_tables.values())


def _row(table: ExternalTable) -> tuple[Any, ...]:
    properties = {
        "Format": table.layout.format,
        "NamePrefix": table.layout.prefix,
        "FileExtension": table.layout.extension,
        "IncludeHeaders": table.layout.headers,
        "Compressed": table.layout.is_compressed,
    }
    strings = lenient_json.dumps([location.shown for location in table.locations])
    shown = lenient_json.dumps(properties)
    return (table.name, "Blob", table.folder, table.docstring, shown, strings, "[]", "")
