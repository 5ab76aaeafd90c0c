"""KQL queries over the cluster's tables, run by duckdb-kql on an in-memory DuckDB."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kqlmi.local import kqltext, results, translation
from kqlmi.local.activity import Run
from kqlmi.local.faults import KustoError, bad_request
from kqlmi.local.state import Database
from kqlmi.local.tables import Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PIPED = "command_result"
# No files (also none to spill to), no network, and no more memory than a laptop can spare.
_LIMITS = {
    "memory_limit": "1GB",
    "max_temp_directory_size": "0B",
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
# How a column travels: a list of values in this DuckDB type, then an expression that gives the stored value.
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


class Engine:
    """A DuckDB that follows the cluster's tables; nothing is loaded before the first query."""

    def __init__(self, databases: Callable[[], Mapping[str, Database]]) -> None:
        """Keep how to read the databases as they are."""
        self._databases = databases
        self._connection: DuckDBPyConnection | None = None
        self._loaded: dict[str, dict[str, Table]] = {}
        self._lock = threading.Lock()

    def query(
        self,
        text: str,
        *,
        run: Run,
        seconds: float,
        context: Database,
        readable: Callable[[str], Database],
        parameters: Mapping[str, Any],
    ) -> Table:
        """Run a query; ``readable`` gives another database by name, or refuses."""
        named = {_alias(context)}

        def name_of(database: str) -> str:
            alias = _alias(readable(database))
            named.add(alias)
            return alias

        prepared = kqltext.for_engine(text, name_of)
        cursor = self._cursor(named)
        try:
            return _execute(cursor, (prepared, _alias(context), self._schema(named), parameters), run, seconds)
        finally:
            cursor.close()

    def pipe(self, table: Table, operators: str, *, run: Run, seconds: float) -> Table:
        """Run query operators, such as ``| count``, over rows that a command gave."""
        prepared = kqltext.for_engine(operators, lambda _name: "")
        cursor = self._cursor(set())
        try:
            _load(cursor, f'TEMP TABLE "{_PIPED}"', f'temp."{_PIPED}"', table)
            schema = {f"temp.{_PIPED}": [column.name for column in table.columns]}
            return _execute(cursor, (f"database('temp').{_PIPED} {prepared}", None, schema, {}), run, seconds)
        finally:
            cursor.close()

    def close(self) -> None:
        """Close DuckDB."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._loaded.clear()

    def _cursor(self, named: set[str]) -> "DuckDBPyConnection":
        with self._lock:
            if self._connection is None:
                import duckdb_kql  # heavy

                self._connection = duckdb_kql.connect(config=_LIMITS)
                for macro in translation.MACROS:
                    self._connection.execute(macro)
            self._follow(self._connection, named)
            return self._connection.cursor()

    def _schema(self, named: set[str]) -> translation.Schema:
        with self._lock:
            return {
                f"{alias}.{name}": [column.name for column in table.columns]
                for alias in named & self._loaded.keys()
                for name, table in self._loaded[alias].items()
            }

    def _follow(self, connection: "DuckDBPyConnection", named: set[str]) -> None:
        """Bring the databases that a query names up to date; what another one holds cannot break the query."""
        current = {_alias(database): database for database in self._databases().values()}
        for alias in self._loaded.keys() - current.keys():
            connection.execute(f'DETACH "{alias}"')
            del self._loaded[alias]
        for alias in named & current.keys():
            database = current[alias]
            if alias not in self._loaded:
                connection.execute(f"ATTACH ':memory:' AS \"{alias}\"")
                self._loaded[alias] = {}
            loaded = self._loaded[alias]
            for name in loaded.keys() - database.tables.keys():
                connection.execute(f'DROP TABLE "{alias}".{_identifier(name)}')
                del loaded[name]
            for name, table in database.tables.items():
                if loaded.get(name) is not table:
                    target = f'"{alias}".{_identifier(name)}'
                    _load(connection, f"OR REPLACE TABLE {target}", target, table)
                    loaded[name] = table


def _alias(database: Database) -> str:
    return f"db_{database.database_id.replace('-', '')}"


def _identifier(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _load(connection: "DuckDBPyConnection", what: str, target: str, table: Table) -> None:
    connection.begin()  # no query sees a table that is half loaded
    try:
        _create(connection, what, target, table)
        connection.commit()
    except KustoError:
        connection.rollback()
        raise
    except Exception as error:  # whatever DuckDB, or the encoding of a text, says of values that it does not take
        connection.rollback()
        shown = target.partition(".")[2]
        raise bad_request(f"the engine of the local cluster cannot hold the table {shown}: {error}") from error


def _create(connection: "DuckDBPyConnection", what: str, target: str, table: Table) -> None:
    stored = [_STORED[column.type] for column in table.columns]
    declared = (
        f"{_identifier(column.name)} {kind}" for column, (_, kind, _) in zip(table.columns, stored, strict=True)
    )
    connection.execute(f"CREATE {what} ({', '.join(declared)})")
    if not table.rows:
        return
    values = (shape.format(f"unnest(CAST(${n} AS {sent}[]))") for n, (sent, _, shape) in enumerate(stored, 1))
    lists = [_sent(column, (row[index] for row in table.rows)) for index, column in enumerate(table.columns)]
    connection.execute(f"INSERT INTO {target} SELECT {', '.join(values)}", lists)


def _sent(column: Column, values: Iterable[Any]) -> list[Any]:
    if column.type == "datetime":
        return [None if value is None else results.to_epoch_microseconds(value) for value in values]
    if column.type == "timespan":
        return [None if value is None else results.to_microseconds(value) for value in values]
    return list(values)


def _execute(
    cursor: "DuckDBPyConnection",
    question: tuple[str, str | None, translation.Schema, Mapping[str, Any]],
    run: Run,
    seconds: float,
) -> Table:
    with run.watch(seconds, cursor.interrupt):
        try:
            sql, values = translation.to_sql(*question)
            cursor.execute("SET TimeZone='UTC'")  # the translated SQL relies on it
            answer = cursor.execute(sql, values) if values else cursor.execute(sql)
            return results.from_duckdb([(name, str(kind)) for name, kind, *_ in answer.description], answer.fetchall())
        except Exception as error:  # the engine lets errors of several libraries through
            raise results.refusal(error) from error
