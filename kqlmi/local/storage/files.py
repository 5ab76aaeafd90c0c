"""Access to the files of a container through DuckDB, which is confined to the container's folder."""

import atexit
import gzip
import io
import math
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kqlmi.local.engine import duckdb_tables, results
from kqlmi.local.language import textvalues
from kqlmi.local.state.activity import Run
from kqlmi.local.storage import formats, parquet
from kqlmi.local.storage.formats import SEPARATORS
from kqlmi.local.values.faults import KustoError, bad_request, unsupported
from kqlmi.local.values.tables import Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DRAFT = ".kqlmi-draft-"
"""The prefix of the name of an incomplete file."""

_DELIMITED = {
    "csv": """delim=',', quote='"', escape='"'""",
    "tsv": "delim='\t', quote='', escape=''",
}
_INFERRED = {
    "json": "read_json(?, format='newline_delimited', hive_partitioning=false)",
    "singlejson": "read_json(?, hive_partitioning=false)",
    "multijson": "read_json(?, hive_partitioning=false)",
    "parquet": "read_parquet(?, hive_partitioning=false)",
}
_PLAIN = frozenset({"bool", "int", "long", "real", "string"})
_TYPED = {"json": _PLAIN | {"dynamic"}, "parquet": _PLAIN | {"datetime", "timespan"}}
"""The Kusto types that a format stores natively; other values are stored as text."""
_MOST = 1 << 28


def read(
    root: Path,
    path: str,
    kind: str,
    columns: tuple[Column, ...],
    *,
    skips_first: bool = False,
    run: Run | None = None,
) -> Table:
    """Return the rows of a file with the declared columns; ``path`` is relative to the folder ``root``.

    Delimited files are matched by position, JSON and Parquet files by name. As documented, a value that is missing or does
    not fit its column is null, and values without a declared column are ignored. Reading stops when ``run`` is stopped.
    """
    heed = run.heed if run else iter
    with _connected(root, "read", path) as connection:
        if kind == "parquet":
            return Table(columns, tuple(heed(parquet.rows(connection, _existing(root, path), columns))))
        content = _content(connection, _existing(root, path), _MOST)
        text = _decoded(content, is_compressed=path.lower().endswith(".gz"))
        return Table(columns, tuple(heed(formats.rows(text, kind, columns, skips_first=skips_first))))


def read_text(text: str, kind: str, columns: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    """Return the rows in a string that is not from a file, such as an event from an event hub."""
    kind = "multijson" if kind == "json" else kind  # an event may be an array
    return list(formats.rows(text, kind, columns))


def read_bytes(root: Path, path: str, most: int) -> bytes:
    """Return the content of a file; refuse one larger than ``most`` bytes."""
    with _connected(root, "read", path) as connection:
        return _content(connection, _existing(root, path), most)


def infer(root: Path, path: str, kind: str, *, has_header: bool = False) -> tuple[Column, ...]:
    """Return columns inferred from a file: those that a Parquet file declares, or DuckDB's guess for another format."""
    if kind in {"txt", "raw"}:
        return (Column("Column1", "string"),)
    if kind in SEPARATORS:
        quotes = _DELIMITED.get(kind, f"delim='{SEPARATORS[kind]}', quote='', escape=''")
        source = f"read_csv(?, {quotes}, header={has_header}, hive_partitioning=false)"
    elif kind in _INFERRED:
        source = _INFERRED[kind]
    else:
        raise unsupported(f"schema inference for the format '{kind}'")
    with _connected(root, "read", path) as connection:
        described = connection.execute(f"SELECT * FROM {source} LIMIT 0", [_existing(root, path)]).description  # noqa: S608
        found = results.from_duckdb(described, []).columns
    is_named = has_header or kind not in SEPARATORS
    return tuple(one if is_named else Column(f"Column{n}", one.type) for n, one in enumerate(found, 1))


def write(root: Path, path: str, kind: str, table: Table, *, header: bool = False, gzip: bool = False) -> None:
    """Write rows to a new file atomically, and create its folders."""
    target = root / path
    draft = target.with_name(f"{DRAFT}{uuid.uuid4().hex}")
    delimiters = _DELIMITED.get(kind, "").replace("=", " ")
    options = f"FORMAT csv, {delimiters}, HEADER {header}, NULL ''" if delimiters else f"FORMAT {kind}"
    if gzip and kind != "parquet":
        options += ", COMPRESSION gzip"
    with _connected(root, "write", path) as connection:
        if not target.parent.resolve().is_relative_to(root) or target.exists():
            raise bad_request("it already exists, or its path leads out of the container")
        target.parent.mkdir(parents=True, exist_ok=True)
        duckdb_tables.load(connection, 'TEMP TABLE "rows"', 'temp."rows"', _written(table, kind))
        quoted = str(draft).replace("'", "''")
        try:
            connection.execute(f"COPY temp.\"rows\" TO '{quoted}' ({options})")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


@lru_cache(maxsize=16)
def _instance(root: Path) -> "DuckDBPyConnection":
    """Open a DuckDB confined to a folder, and keep it: opening one takes longer than reading most files."""
    import duckdb  # heavy

    connection = duckdb.connect(":memory:", config=dict(duckdb_tables.LIMITS))
    folder = str(root).replace("'", "''")
    connection.execute(f"SET allowed_directories=['{folder}']")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET GLOBAL TimeZone='UTC'")
    connection.execute("SET lock_configuration=true")
    return connection


# DuckDB complains about open connections at exit.
atexit.register(_instance.cache_clear)


@contextmanager
def _connected(root: Path, what: str, path: str) -> Iterator["DuckDBPyConnection"]:
    """Open a connection for a blob; errors contain its path in the container, but no path on this machine."""
    import duckdb  # heavy

    with closing(_instance(root).cursor()) as cursor:
        try:
            yield cursor
        except KustoError as error:
            raise KustoError(
                error.status, error.code, error.type_name, f"{error.detail} (the blob '{path}')"
            ) from error
        except duckdb.Error as error:
            kind = type(error).__name__.removesuffix("Exception")
            raise bad_request(f"the local cluster cannot {what} the blob '{path}' in this format ({kind})") from error
        except OSError as error:
            raise bad_request(f"the local cluster cannot {what} the blob '{path}': {error.strerror}") from error


def _existing(root: Path, path: str) -> str:
    if not (root / path).is_file():
        raise bad_request("there is no such blob")
    return str(root / path)


def _content(connection: "DuckDBPyConnection", path: str, most: int) -> bytes:
    ((size,),) = connection.execute("SELECT size FROM read_blob(?)", [path]).fetchall()
    if size > most:
        raise bad_request(f"it is larger than {most} bytes")
    # DuckDB reads only the bytes: its CSV reader silently drops rows after an unclosed quote, and its JSON reader those
    # after a truncated record.
    ((content,),) = connection.execute("SELECT content FROM read_blob(?)", [path]).fetchall()
    return bytes(content)


def _decoded(content: bytes, *, is_compressed: bool) -> str:
    try:
        if is_compressed:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as members:
                content = members.read(_MOST + 1)
            if len(content) > _MOST:
                raise bad_request(f"it is larger than {_MOST} bytes when it is decompressed")
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise bad_request("the content is not valid gzip, or is truncated") from error
    except UnicodeDecodeError as error:
        raise bad_request(f"the content is not valid UTF-8: {error.reason} at byte {error.start}") from error


def _written(table: Table, kind: str) -> Table:
    """Return the rows as stored: as strings if the format has no equivalent of the Kusto type."""
    if kind == "tsv":
        _refuse_separators(table)
    if kind == "json":
        _refuse_nonfinite(table)
    typed = _TYPED.get(kind, frozenset())
    stored = {"timespan": "long"} if kind == "parquet" else {}  # documented: a number of ticks
    columns = tuple(
        Column(one.name, stored.get(one.type, one.type) if one.type in typed else "string") for one in table.columns
    )
    # A row of a single null must not look like a blank line: an empty string is written in quotes, and read as null.
    null = "" if kind == "csv" and len(columns) == 1 else None
    rows = (
        tuple(
            value if column.type in typed else null if value is None else textvalues.write(column, value)
            for column, value in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    )
    return Table(columns, tuple(rows))


def _refuse_separators(table: Table) -> None:
    for row in table.rows:
        for column, value in zip(table.columns, row, strict=True):
            if any(mark in (textvalues.write(column, value) or "") for mark in "\t\r\n"):
                raise bad_request(f"a tsv file cannot contain the tabs or line breaks of the column {column.name!r}")


def _refuse_nonfinite(table: Table) -> None:
    for index, column in enumerate(table.columns):
        if column.type == "real" and not all(math.isfinite(row[index] or 0) for row in table.rows):
            raise bad_request(f"a json file cannot contain the NaN or infinity of the column {column.name!r}")
