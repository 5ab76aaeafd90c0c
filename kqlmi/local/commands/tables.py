"""Creating, filling and dropping tables."""

import csv
import io
import uuid
from collections.abc import Iterator
from typing import Any

from kqlmi.local import literals
from kqlmi.local.commands.registry import Call, Rows, command
from kqlmi.local.faults import already_exists, bad_request
from kqlmi.local.principals import ADMIN, CREATE, INGEST
from kqlmi.local.results import to_microseconds
from kqlmi.local.state import Database
from kqlmi.local.tables import Column, Table

_EXTENT = "ExtentId: guid, OriginalSize: long, ExtentSize: long, ColumnSize: long, IndexSize: long, RowCount: long"
_INGESTED = "ExtentId: guid, ItemLoaded: string, Duration: string, HasErrors: string, OperationId: guid"
_CREATED = "TableName: string, Schema: string, DatabaseName: string, Folder: string, DocString: string"
_REMAINING = "TableName: string, DatabaseName: string"


@command(".create table {name:table} {schema:columns}", gives=_CREATED, writes=True)
def table_create(call: Call) -> Rows:
    """Create a table; one of the same schema may be there already."""
    name, columns = call.args["table"], call.args["columns"]
    with call.state.lock:
        database = call.context()
        call.require(CREATE, database)
        held = database.tables.get(name)
        if held and held.columns != columns:
            raise already_exists(name, "Table")
        if not held:
            _put(call, database, name, Table(columns), "CREATE-TABLE")
    schema = ",".join(f"{column.name}:{column.type}" for column in columns)
    return [(name, schema, database.name, "", "")]


@command(".drop table {name:table}", gives=_REMAINING, writes=True)
def table_drop(call: Call) -> Rows:
    """Drop a table and give those that remain."""
    return _drop(call, may_miss=False)


@command(".drop table {name:table} ifexists", gives=_REMAINING, writes=True)
def table_drop_if_exists(call: Call) -> Rows:
    """Drop a table if it is there."""
    return _drop(call, may_miss=True)


@command(".set-or-append {name:table} {rest:query}", gives=_EXTENT, writes=True)
def table_set_or_append(call: Call) -> Rows:
    """Append the rows of a query to a table, which is created if it is not there."""
    rows = _queried(call)
    with call.state.lock:
        database = call.context()
        held = database.tables.get(call.args["table"])
        call.require(INGEST if held else CREATE, database)
        return _append(call, database, held, rows)


@command(".set {name:table} {rest:query}", gives=_EXTENT, writes=True)
def table_set(call: Call) -> Rows:
    """Create a table from the rows of a query."""
    rows = _queried(call)
    with call.state.lock:
        database = call.context()
        call.require(CREATE, database)
        if call.args["table"] in database.tables:
            raise already_exists(call.args["table"], "Table")
        return _append(call, database, None, rows)


@command(".append {name:table} {rest:query}", gives=_EXTENT, writes=True)
def table_append(call: Call) -> Rows:
    """Append the rows of a query to a table that is there."""
    rows = _queried(call)
    with call.state.lock:
        database = call.context()
        call.require(INGEST, database)
        return _append(call, database, database.table(call.args["table"]), rows)


@command(".ingest inline into table {name:table} {rest:data}", gives=_INGESTED, writes=True)
def table_ingest_inline(call: Call) -> Rows:
    """Append rows that the command itself holds as CSV."""
    with call.state.lock:
        database = call.context()
        call.require(INGEST, database)
        table = database.table(call.args["table"])
        rows = tuple(_csv_row(table, line) for line in _csv_lines(call.args["data"].lstrip()) if line)
        ((extent, *_),) = _append(call, database, table, table.with_rows(rows))
    return [(extent, "inline", "00:00:00", "False", str(uuid.uuid4()))]


def _queried(call: Call) -> Table:
    call.require(INGEST, call.context())
    return call.queries.run(call.args["query"], call.caller, call.context_name, run=call.run, seconds=call.seconds)


def _append(call: Call, database: Database, held: Table | None, rows: Table) -> list[tuple[Any, ...]]:
    if held and [column.type for column in held.columns] != [column.type for column in rows.columns]:
        shown = ", ".join(f"{column.name}:{column.type}" for column in rows.columns)
        raise bad_request(f"Query schema does not match table schema: the query gives ({shown})")
    for column, values in zip(rows.columns, zip(*rows.rows, strict=True), strict=False):
        if column.type in {"datetime", "timespan"}:
            for value in values:
                to_microseconds(value or 0)
    name = call.args["table"]
    table = held.with_rows((*held.rows, *rows.rows)) if held else rows
    event = "INGEST" if held else "CREATE-TABLE"
    _put(call, database, name, table, event)
    return [(str(uuid.uuid4()), 0, 0, 0, 0, len(rows.rows))]


def _put(call: Call, database: Database, name: str, table: Table, event: str) -> None:
    if event == "CREATE-TABLE":
        _refuse_what_the_engine_cannot_hold(database, name, table)
    kept = call.state.put(database.with_table(name, table))
    call.record(event, kept, entity=name, after=", ".join(f"{column.name}:{column.type}" for column in table.columns))


def _refuse_what_the_engine_cannot_hold(database: Database, name: str, table: Table) -> None:
    if not name or not all(column.name for column in table.columns):
        raise bad_request("the name of a table or column must not be empty")
    if any(column.type == "decimal" for column in table.columns):
        raise bad_request("the local cluster keeps no decimal columns: its engine would compute them inexactly")
    for what, names in (("table", [*database.tables, name]), ("column", [column.name for column in table.columns])):
        lowered = [one.lower() for one in names]
        if len(set(lowered)) < len(lowered):
            raise bad_request(
                f"the local cluster cannot hold two {what} names that differ only in case: {', '.join(names)}"
            )


def _drop(call: Call, *, may_miss: bool) -> Rows:
    name = call.args["table"]
    state = call.state
    with state.lock:
        database = call.context()
        call.require(ADMIN, database)
        if name in database.tables or not may_miss:
            database.table(name)
            database = state.put(database.with_table(name, None))
            call.record("DROP-TABLE", database, entity=name, before=name)
    return [(held, database.name) for held in database.tables]


def _csv_lines(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text))
    except csv.Error as error:
        raise bad_request(f"the data is no CSV: {error}") from error


def _csv_row(table: Table, line: list[str]) -> tuple[Any, ...]:
    if len(line) != len(table.columns):
        raise bad_request(
            f"the row {','.join(line)!r} has {len(line)} values; the table has {len(table.columns)} columns"
        )
    return tuple(_csv_value(column, text) for column, text in zip(table.columns, line, strict=True))


def _csv_value(column: Column, text: str) -> Any:
    if column.type == "string":
        return text
    if not text.strip():
        return None
    try:
        return literals.parse(column.type, text.strip())
    except ValueError:
        raise bad_request(f"{text!r} is no {column.type} for the column {column.name!r}") from None
