"""Tables loaded into DuckDB with exact values."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kqlmi.local.engine import results
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, bad_request, unsupported
from kqlmi.local.values.tables import Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LIMITS = {
    "memory_limit": "1GB",  # no more than a laptop can spare
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""The configuration of each DuckDB instance."""
# By Kusto type: the DuckDB type in which values are passed, the type of the column, and the conversion between them.
_STORED = {
    "bool": ("BOOLEAN", "BOOLEAN", "{}"),
    "int": ("INTEGER", "INTEGER", "{}"),
    "long": ("BIGINT", "BIGINT", "{}"),
    "real": ("DOUBLE", "DOUBLE", "{}"),
    "string": ("VARCHAR", "VARCHAR", "{}"),
    "guid": ("VARCHAR", "UUID", "CAST({} AS UUID)"),
    "dynamic": ("VARCHAR", "JSON", "CAST({} AS JSON)"),
    "datetime": ("BIGINT", "TIMESTAMP", "make_timestamp({})"),
    "timespan": ("BIGINT", "INTERVAL", "to_microseconds({})"),
}


def load(connection: "DuckDBPyConnection", what: str, target: str, table: Table) -> None:
    """Create and fill a table. ``what`` is the SQL after CREATE, such as ``OR REPLACE TABLE "a"."b"``; ``target`` is its name."""
    connection.begin()  # no query sees a partly loaded table
    try:
        _create(connection, what, target, table)
        connection.commit()
    except KustoError:
        connection.rollback()
        raise
    except Exception as error:  # DuckDB and text encoding raise many kinds of errors
        connection.rollback()
        shown = target.partition(".")[2]
        raise bad_request(f"the engine of the local cluster cannot load the table {shown}: {error}") from error


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _create(connection: "DuckDBPyConnection", what: str, target: str, table: Table) -> None:
    refuse_decimals(table)
    stored = [_STORED[column.type] for column in table.columns]
    declared = (f"{identifier(column.name)} {kind}" for column, (_, kind, _) in zip(table.columns, stored, strict=True))
    connection.execute(f"CREATE {what} ({', '.join(declared)})")
    if not table.rows:
        return
    values = (shape.format(f"unnest(CAST(${n} AS {sent}[]))") for n, (sent, _, shape) in enumerate(stored, 1))
    lists = [_sent(column, (row[index] for row in table.rows)) for index, column in enumerate(table.columns)]
    connection.execute(f"INSERT INTO {target} SELECT {', '.join(values)}", lists)


def refuse_decimals(table: Table) -> None:
    """Refuse a table with decimal columns, which the engine would compute inexactly."""
    if any(column.type == "decimal" for column in table.columns):
        raise unsupported("decimal columns: its engine would compute them inexactly")


def _sent(column: Column, values: Iterable[Any]) -> list[Any]:
    if column.type not in {"datetime", "timespan"}:
        return list(values)
    start = kusto_time.EPOCH if column.type == "datetime" else 0
    return [None if value is None else results.to_microseconds(value - start) for value in values]
