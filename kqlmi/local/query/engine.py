"""KQL queries over the cluster's tables, run by duckdb-kql on an in-memory DuckDB."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from kqlmi.local.engine import duckdb_tables, kqltext, lanes, results, translation
from kqlmi.local.query.expansion import PLACEHOLDER, Expansion, Source
from kqlmi.local.state.activity import Run
from kqlmi.local.state.state import Database, key
from kqlmi.local.values.faults import bad_request, semantic_error
from kqlmi.local.values.tables import Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PIPED = "command_result"
# No access to files, not even to spill to, and none to the network.
_LIMITS = {**duckdb_tables.LIMITS, "max_temp_directory_size": "0B", "enable_external_access": "false"}
_NUMBERS = count()
_TEXT = re.compile(r"'(?:[^']|'')*'")
_PLACED = re.compile(rf'"\w+"\."({PLACEHOLDER.pattern})"')


class Engine:
    """The cluster's tables in DuckDB; nothing is loaded before the first query."""

    def __init__(self, databases: Callable[[], Mapping[str, Database]]) -> None:
        self._databases = databases
        self._prefix = f"c{next(_NUMBERS)}"  # two clusters may contain databases with the same ID
        self._connection: DuckDBPyConnection | None = None
        self._loaded: dict[str, dict[str, Table]] = {}
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()
        self._versions: dict[str, int] = {}

    def query(
        self, text: str, context: Database, expansion: Expansion, functions: Mapping[str, Iterable[str]]
    ) -> Table:
        """Run a query; ``functions`` contains the definitions of the functions that it calls, by database name."""
        question, sources = expansion.question, expansion.sources
        named = {self._alias(context): context}

        def name_of(database: str) -> str:
            found = context if key(database) == key(context.name) else question.reads(database)
            named[self._alias(found)] = found
            return self._alias(found)

        prepared = kqltext.for_engine(text, name_of)
        defined: dict[str | None, list[str]] = {
            name_of(owner): [kqltext.for_engine(one, name_of) for one in definitions]
            for owner, definitions in functions.items()
        }
        with self._cursor(named) as cursor:
            schema = self._schema(named)
            for name, source in sources.items():
                schema |= {f"{alias}.{name}": [column.name for column in source.columns] for alias in named}

            def fill(sql: str) -> str:
                # A scalar subquery refers to its tables without a database; the macros are in ``memory``.
                cursor.execute(f"SET search_path = '{self._alias(context)},memory'")
                return _with_sources(cursor, sql, sources)

            query = translation.Query(prepared, self._alias(context), schema, question.parameters, defined)
            return _execute(cursor, query, question.run, question.seconds, fill)

    def pipe(self, table: Table, operators: str, *, run: Run, seconds: float) -> Table:
        """Run query operators, such as ``| count``, over rows that a command returned."""
        prepared = kqltext.for_engine(operators, lambda _name: "")
        with self._cursor({}) as cursor:
            duckdb_tables.load(cursor, f'TEMP TABLE "{_PIPED}"', f'temp."{_PIPED}"', table)
            schema = {f"temp.{_PIPED}": [column.name for column in table.columns]}
            query = translation.Query(f"database('temp').{_PIPED} {prepared}", None, schema)
            return _execute(cursor, query, run, seconds)

    def close(self) -> None:
        """Close the engine, and drop its tables."""
        with self._lock:
            if self._connection is not None:
                for alias in self._loaded:
                    self._connection.execute(f'DETACH "{alias}"')
                self._connection.close()
                self._connection = None
                self._loaded.clear()
                self._versions.clear()

    @contextmanager
    def _cursor(self, named: Mapping[str, Database]) -> Iterator["DuckDBPyConnection"]:
        """Open a cursor on some databases, which are updated first and kept loaded while it is open."""
        lanes.require_long()
        with self._lock:
            if self._connection is None:
                self._connection = _duckdb().cursor()
            self._follow(self._connection, named)
            self._used.update(named.keys())
            cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()
            with self._lock:
                self._used.subtract(named.keys())
                self._used += Counter()  # drops counts of zero

    def _schema(self, named: Mapping[str, Database]) -> dict[str, list[str]]:
        with self._lock:
            return {
                f"{alias}.{name}": [column.name for column in table.columns]
                for alias in named.keys() & self._loaded.keys()
                for name, table in self._loaded[alias].items()
            }

    def _alias(self, database: Database) -> str:
        return f"{self._prefix}_{database.database_id.replace('-', '')}"

    def _follow(self, connection: "DuckDBPyConnection", named: Mapping[str, Database]) -> None:
        """Update the databases of a query; others are not loaded, so their content cannot break it."""
        current = {self._alias(database) for database in self._databases().values()}
        for alias in self._loaded.keys() - current - named.keys() - self._used.keys():
            connection.execute(f'DETACH "{alias}"')
            del self._loaded[alias], self._versions[alias]
        for alias, database in named.items():
            if database.version < self._versions.get(alias, 0):
                continue  # another query has already loaded a newer state
            self._versions[alias] = database.version
            if alias not in self._loaded:
                connection.execute(f"ATTACH ':memory:' AS \"{alias}\"")
                self._loaded[alias] = {}
            loaded = self._loaded[alias]
            for name in loaded.keys() - database.tables.keys():
                connection.execute(f'DROP TABLE "{alias}".{duckdb_tables.identifier(name)}')
                del loaded[name]
            for name, table in database.tables.items():
                if loaded.get(name) is not table:
                    target = f'"{alias}".{duckdb_tables.identifier(name)}'
                    duckdb_tables.load(connection, f"OR REPLACE TABLE {target}", target, table)
                    loaded[name] = table


@cache
def _duckdb() -> "DuckDBPyConnection":
    """Open the only DuckDB of this process: opening and closing one takes longer than most queries."""
    import duckdb_kql  # heavy

    connection = duckdb_kql.connect(config=_LIMITS)
    for macro in translation.MACROS:
        connection.execute(macro)
    return connection


@cache
def _catalog() -> re.Pattern[str]:
    """Return a regex for DuckDB's own views, named without a database, and for string literals, whose content is skipped."""
    own = "SELECT DISTINCT view_name FROM duckdb_views() WHERE internal AND schema_name IN ('main', 'pg_catalog')"
    names = "|".join(re.escape(name) for (name,) in _duckdb().cursor().execute(own).fetchall())
    return re.compile(rf"""{_TEXT.pattern}|(?<!\.)"({names})\"""", re.IGNORECASE)


def _refuse_catalog(sql: str) -> None:
    """Refuse DuckDB's catalogue, which contains names from databases that the caller cannot read."""
    if found := next(filter(None, _catalog().findall(sql)), None):
        raise semantic_error(f"'table' operator: Failed to resolve table expression named '{found}'")


def _with_sources(cursor: "DuckDBPyConnection", sql: str, sources: Mapping[str, Source]) -> str:
    """Load the rows of the sources that the SQL uses, and return the SQL with the names of their tables."""
    if any(name in sources for text in _TEXT.findall(sql) for name in PLACEHOLDER.findall(text)):
        raise bad_request("the local cluster does not support table names of external data and plugin results")
    for name in dict.fromkeys(PLACEHOLDER.findall(sql)):
        duckdb_tables.load(cursor, f'TEMP TABLE "{name}"', f'temp."{name}"', sources[name].rows())
    return _PLACED.sub(r'temp."\1"', sql)


def _execute(
    cursor: "DuckDBPyConnection",
    query: translation.Query,
    run: Run,
    seconds: float,
    fill: Callable[[str], str] = str,
) -> Table:
    with run.watch(seconds, cursor.interrupt):
        try:
            sql, values = translation.to_sql(query)
            _refuse_catalog(sql)
            sql = fill(sql)
            cursor.execute("SET TimeZone='UTC'")  # the translated SQL relies on it
            answer = cursor.execute(sql, values) if values else cursor.execute(sql)
            return results.from_duckdb(answer.description, answer.fetchall())
        except Exception as error:  # the engine raises errors from several libraries
            raise results.refusal(error) from error
