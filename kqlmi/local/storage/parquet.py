"""The reader of Parquet files, which matches declared columns by name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kqlmi.local.engine import duckdb_tables, results
from kqlmi.local.language import textvalues
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.tables import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SOURCE = "read_parquet(?, hive_partitioning=false)"
_NANOSECONDS_A_TICK = 100


def rows(connection: "DuckDBPyConnection", path: str, columns: tuple[Column, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a file; a column that the file does not have is null, and undeclared columns are not read."""
    described = connection.execute(f"SELECT * FROM {_SOURCE} LIMIT 0", [path]).description  # noqa: S608
    kinds = {name: str(kind) for name, kind, *_ in described}
    wanted = [column.name for column in columns if column.name in kinds]
    if not wanted:
        ((count,),) = connection.execute(f"SELECT count(*) FROM {_SOURCE}", [path]).fetchall()  # noqa: S608
        yield from [tuple(textvalues.read(column, None) for column in columns)] * count
        return
    parts = ", ".join(_selected(name, kinds[name]) for name in wanted)
    answer = connection.execute(f"SELECT {parts} FROM {_SOURCE}", [path])  # noqa: S608
    exact = {name for name in wanted if _is_nanoseconds(kinds[name])}
    found = [(name, "BIGINT" if name in exact else kinds[name]) for name in wanted]
    stored = results.from_duckdb(found, answer.fetchall())
    places = {column.name: index for index, column in enumerate(stored.columns)}
    for row in stored.rows:
        yield tuple(
            _converted(column, stored.columns[places[column.name]], row[places[column.name]], column.name in exact)
            if column.name in places
            else textvalues.read(column, None)
            for column in columns
        )


def _is_nanoseconds(kind: str) -> bool:
    return kind.startswith("TIMESTAMP_NS")


def _selected(name: str, kind: str) -> str:
    if kind.startswith("INTERVAL"):
        raise bad_request(f"the column {name!r} is an interval, whose months have no fixed length")
    quoted = duckdb_tables.identifier(name)
    return f"epoch_ns({quoted}) AS {quoted}" if _is_nanoseconds(kind) else quoted


def _converted(wanted: Column, stored: Column, value: Any, is_nanoseconds: bool) -> Any:  # noqa: FBT001 - of the value
    if is_nanoseconds and value is not None:
        count, rest = divmod(value, _NANOSECONDS_A_TICK)
        if rest:
            raise bad_request(f"the column {wanted.name!r} contains a datetime finer than 100 ns")
        stored, value = Column(stored.name, "datetime"), count + kusto_time.EPOCH
    if wanted.type == "timespan" and stored.type in {"int", "long"}:
        return value  # documented: a timespan is stored as a number of ticks
    return value if wanted.type == stored.type else textvalues.read(wanted, textvalues.write(stored, value))
