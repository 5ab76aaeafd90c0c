"""Creating, filling and dropping tables."""

import uuid

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.flows import ingestion
from kqlmi.local.flows.table_append import allowed, append, keep
from kqlmi.local.language import textvalues
from kqlmi.local.storage import formats, transfer
from kqlmi.local.storage.formats import Shape
from kqlmi.local.values.faults import already_exists
from kqlmi.local.values.principals import ADMIN, CREATE, INGEST
from kqlmi.local.values.tables import Table, schema_text

_EXTENT = "ExtentId: guid, OriginalSize: long, ExtentSize: long, ColumnSize: long, IndexSize: long, RowCount: long"
_INGESTED = "ExtentId: guid, ItemLoaded: string, Duration: string, HasErrors: string, OperationId: guid"
_CREATED = "TableName: string, Schema: string, DatabaseName: string, Folder: string, DocString: string"
_QUERY = "{async:async} {name:table} [with {properties:properties}] {rest:query}"
_REMAINING = "TableName: string, DatabaseName: string"


@command(".create table {name:table} {schema:columns}", schema=_CREATED, writes=True)
def table_create(call: Call) -> Rows:
    """Create a table; one of the same schema may be there already."""
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
    """Create a table, or add the columns that it lacks; in the rows that it holds these are null."""
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
    """Drop a table and give those that remain."""
    name = call.args["table"]
    state = call.state
    with state.lock:
        database = call.allowed(ADMIN, f"Table {name}")
        if name in database.tables or "ifexists" not in call.args:
            database.table(name)
            database = state.put(database.with_table(name, None))
            call.record("DROP-TABLE", database, entity=name, before=name)
    return [(remaining, database.name) for remaining in database.tables]


@command(f".set-or-append {_QUERY}", schema=_EXTENT, writes=True)
def table_set_or_append(call: Call) -> Rows:
    """Append the rows of a query to a table, which is created if it is not there."""
    return _from_query(call, creates=None)


@command(f".set {_QUERY}", schema=_EXTENT, writes=True)
def table_set(call: Call) -> Rows:
    """Create a table from the rows of a query."""
    return _from_query(call, creates=True)


@command(f".append {_QUERY}", schema=_EXTENT, writes=True)
def table_append(call: Call) -> Rows:
    """Append the rows of a query to a table that is there."""
    return _from_query(call, creates=False)


@command(f".set-or-replace {_QUERY}", schema=_EXTENT, writes=True)
def table_set_or_replace(call: Call) -> Rows:
    """Replace the rows of a table by those of a query, or create it."""
    return _from_query(call, creates=None, replaces=True)


@command(".ingest inline into table {name:table} {rest:data}", schema=_INGESTED, writes=True)
def table_ingest_inline(call: Call) -> Rows:
    """Append rows that the command itself holds as CSV."""
    name = call.args["table"]
    table = call.allowed(INGEST, f"Table {name}").table(name)
    rows = formats.rows(call.args["data"].lstrip(), Shape("csv", table.columns))
    extent, _ = append(call, name, table.with_rows(rows))
    return [(extent, "inline", "00:00:00", "False", str(uuid.uuid4()))]


def _from_query(call: Call, *, creates: bool | None, replaces: bool = False) -> Rows:
    allowed(call, call.args["table"], creates=creates, replaces=replaces)
    transfer.require(call.args.get("properties", {}), ingestion.INVISIBLE, others=ingestion.UNSUPPORTED)

    def work(call: Call) -> Rows:
        extent, count = append(call, call.args["table"], call.queried(), creates=creates, replaces=replaces)
        return [(extent, 0, 0, 0, 0, count)]

    return call.later(work)
