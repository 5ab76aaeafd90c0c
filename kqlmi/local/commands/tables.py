"""Commands that create, fill and drop tables."""

import uuid

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.flows import ingestion
from kqlmi.local.flows.table_append import allowed, append, keep
from kqlmi.local.language import textvalues
from kqlmi.local.storage import formats, transfer
from kqlmi.local.values.faults import already_exists
from kqlmi.local.values.principals import ADMIN, CREATE, INGEST
from kqlmi.local.values.tables import Table, schema_text

_EXTENT = "ExtentId: guid, OriginalSize: long, ExtentSize: long, ColumnSize: long, IndexSize: long, RowCount: long"
_INGESTED = "ExtentId: guid, ItemLoaded: string, Duration: string, HasErrors: string, OperationId: guid"
_CREATED = "TableName: string, Schema: string, DatabaseName: string, Folder: string, DocString: string"
_QUERY = "{async:async} {name:table} [with {properties:properties}] {rest:query}"
# True if the table must be new, False if it must exist, None if either is allowed.
_CREATES = {"set-or-append": None, "set": True, "append": False, "set-or-replace": None}
_REMAINING = "TableName: string, DatabaseName: string"


@command(".create table {name:table} {schema:columns}", schema=_CREATED, writes=True)
def table_create(call: Call) -> Rows:
    """Create a table, or keep an existing one with the same schema."""
    name, columns = call.args["table"], call.args["columns"]
    with call.state.lock:
        database = call.allowed(CREATE, f"Table {name}")
        existing = database.tables.get(name)
        if existing and existing.columns != columns:
            raise already_exists(name, "Table")
        if not existing:
            keep(call, database, name, Table(columns))
    return [(name, schema_text(columns, ","), database.name, "", "")]


@command(".create-merge table {name:table} {schema:columns}", schema=_CREATED, writes=True)
def table_create_merge(call: Call) -> Rows:
    """Create a table, or add the missing columns to it, with null in the existing rows."""
    name, columns = call.args["table"], call.args["columns"]
    with call.state.lock:
        database = call.allowed(CREATE, f"Table {name}")
        existing = database.tables.get(name, Table(()))
        kinds = {column.name: column.type for column in existing.columns}
        added = tuple(column for column in columns if column.name not in kinds)
        if any(kinds.get(column.name, column.type) != column.type for column in columns):
            raise already_exists(name, "Table")
        if added:
            if name in database.tables:
                call.require(ADMIN, database, f"Table {name}")
            nulls = tuple(textvalues.read(column, None) for column in added)
            rows = tuple((*row, *nulls) for row in existing.rows)
            merged = Table((*existing.columns, *added), rows)
            keep(call, database, name, merged)
    columns = call.allowed(CREATE, f"Table {name}").table(name).columns
    return [(name, schema_text(columns, ","), database.name, "", "")]


@command(".drop table {name:table} [{ifexists}]", schema=_REMAINING, writes=True)
def table_drop(call: Call) -> Rows:
    """Drop a table and return those that remain."""
    name = call.args["table"]
    state = call.state
    with state.lock:
        database = call.allowed(ADMIN, f"Table {name}")
        if name in database.tables or "ifexists" not in call.args:
            database.table(name)
            database = state.put(database.with_table(name, None))
            call.record("DROP-TABLE", database, entity=name, before=name)
    return [(remaining, database.name) for remaining in database.tables]


@command(*(f".{verb} {_QUERY}" for verb in _CREATES), schema=_EXTENT, name="table_{verb}", writes=True)
def table_from_query(call: Call) -> Rows:
    """Append the result of a query to a table, or replace its rows; the verb determines whether the table must exist."""
    creates, replaces = _CREATES[call.args["verb"]], call.args["verb"] == "set-or-replace"
    allowed(call, call.args["table"], creates=creates, replaces=replaces)
    transfer.require(call.args.get("properties", {}), ingestion.INVISIBLE, others=ingestion.UNSUPPORTED)

    def work(call: Call) -> Rows:
        extent, count = append(call, call.args["table"], call.queried(), creates=creates, replaces=replaces)
        return [(extent, 0, 0, 0, 0, count)]

    return call.later(work)


@command(".ingest inline into table {name:table} {rest:data}", schema=_INGESTED, writes=True)
def table_ingest_inline(call: Call) -> Rows:
    """Append the rows that the command itself contains as CSV."""
    name = call.args["table"]
    table = call.allowed(INGEST, f"Table {name}").table(name)
    rows = formats.rows(call.args["data"].lstrip(), "csv", table.columns)
    extent, _ = append(call, name, table.with_rows(rows))
    return [(extent, "inline", "00:00:00", "False", str(uuid.uuid4()))]
