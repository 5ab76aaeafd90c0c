"""Files of a container read and written through DuckDB, which is locked into the container's folder."""

import atexit
import csv
import gzip
import io
import json
import math
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kqlmi.local import lenient_json, loading, parquet, results, textvalues
from kqlmi.local.faults import KustoError, bad_request
from kqlmi.local.tables import Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READ_FORMATS = ("csv", "tsv", "json", "multijson", "parquet")
WRITTEN_FORMATS = ("csv", "tsv", "json", "parquet")
DRAFT = ".kqlmi-draft-"
"""How the name of a file begins that is not yet whole."""

_DELIMITED = {
    "csv": """delim=',', quote='"', escape='"'""",
    "tsv": "delim='\t', quote='', escape=''",
}
_MOST = 1 << 28
_SPACE = re.compile(r"\s*")


def format_of(name: str, given: str = "") -> str:
    """Give the format that is named, or that a file's extension tells; csv where neither does."""
    written = given.lower() if given else next((end for end in _endings(name) if end in READ_FORMATS), "csv")
    if written not in READ_FORMATS:
        raise bad_request(f"the local cluster reads no '{given}' files, only {', '.join(READ_FORMATS)}")
    return written


def read(root: Path, path: str, kind: str, columns: tuple[Column, ...], *, skips_first: bool = False) -> Table:
    """Give the rows of a file with the declared columns; ``path`` is relative to the folder ``root``.

    Delimited files are matched by position and have no header, JSON and Parquet files are matched by name. As
    documented, what is missing is null, and what no column is declared for is passed over. A value that its column
    cannot hold is refused.
    """
    with _locked(root) as connection, _failing("read", path):
        if kind == "parquet":
            return Table(columns, tuple(parquet.rows(connection, _existing(root, path), columns)))
        content = _content(connection, _existing(root, path), _MOST)
        text = _decoded(content, is_compressed=path.lower().endswith(".gz"))
        return Table(columns, tuple(_READERS[kind](text, _Shape(kind, columns, skips_first))))


def read_text(text: str, kind: str, columns: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    """Give the rows of a text that is no file, such as an event of a hub."""
    kind = "multijson" if kind == "json" else kind  # an event may hold an array
    return list(_READERS[kind](text, _Shape(kind, columns, skips_first=False)))


def read_bytes(root: Path, path: str, most: int) -> bytes:
    """Give the content of a file that is not larger than ``most`` bytes."""
    with _locked(root) as connection, _failing("read", path):
        return _content(connection, _existing(root, path), most)


def infer(root: Path, path: str, kind: str, *, has_header: bool = False) -> tuple[Column, ...]:
    """Give columns inferred from a file: the types that a Parquet file declares, or DuckDB's guess for the others."""
    source = {
        "csv": f"read_csv(?, {_DELIMITED['csv']}, header={has_header}, hive_partitioning=false)",
        "tsv": f"read_csv(?, {_DELIMITED['tsv']}, header={has_header}, hive_partitioning=false)",
        "json": "read_json(?, format='newline_delimited', hive_partitioning=false)",
        "multijson": "read_json(?, hive_partitioning=false)",
        "parquet": "read_parquet(?, hive_partitioning=false)",
    }[kind]
    with _locked(root) as connection, _failing("read", path):
        described = connection.execute(f"SELECT * FROM {source} LIMIT 0", [_existing(root, path)]).description  # noqa: S608
        found = results.from_duckdb([(name, str(shape)) for name, shape, *_ in described], []).columns
    is_named = has_header or kind not in _DELIMITED
    return tuple(one if is_named else Column(f"Column{n}", one.type) for n, one in enumerate(found, 1))


def write(root: Path, path: str, kind: str, table: Table, *, header: bool = False, gzip: bool = False) -> None:
    """Write rows as a new file, whose folders are made; it appears at once, as a whole."""
    target = root / path
    draft = target.with_name(f"{DRAFT}{uuid.uuid4().hex}")
    delimiters = _DELIMITED.get(kind, "").replace("=", " ")
    options = f"FORMAT csv, {delimiters}, HEADER {header}, NULL ''" if delimiters else f"FORMAT {kind}"
    if gzip and kind != "parquet":
        options += ", COMPRESSION gzip"
    with _locked(root) as connection, _failing("write", path):
        if not target.parent.resolve().is_relative_to(root) or target.exists():
            raise bad_request("its place is taken, or is none")
        target.parent.mkdir(parents=True, exist_ok=True)
        loading.load(connection, 'TEMP TABLE "rows"', 'temp."rows"', _written(table, kind))
        quoted = str(draft).replace("'", "''")
        try:
            connection.execute(f"COPY temp.\"rows\" TO '{quoted}' ({options})")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Shape:
    kind: str
    columns: tuple[Column, ...]
    skips_first: bool


@contextmanager
def _locked(root: Path) -> Iterator["DuckDBPyConnection"]:
    cursor = _instance(root).cursor()
    try:
        yield cursor
    finally:
        cursor.close()


@lru_cache(maxsize=16)
def _instance(root: Path) -> "DuckDBPyConnection":
    """Open a DuckDB that reads and writes below a folder only; kept, for opening one costs more than most files do."""
    import duckdb  # heavy

    config: dict[str, Any] = {
        "memory_limit": "1GB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(":memory:", config=config)
    folder = str(root).replace("'", "''")
    connection.execute(f"SET allowed_directories=['{folder}']")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET GLOBAL TimeZone='UTC'")
    connection.execute("SET lock_configuration=true")
    return connection


# DuckDB complains at exit about connections that are open.
atexit.register(_instance.cache_clear)


@contextmanager
def _failing(what: str, path: str) -> Iterator[None]:
    """Say which blob it was, and nothing of where it lies on this machine."""
    import duckdb  # heavy

    try:
        yield
    except KustoError as error:
        raise KustoError(error.status, error.code, error.type_name, f"{error.detail} (the blob '{path}')") from error
    except duckdb.Error as error:
        kind = type(error).__name__.removesuffix("Exception")
        raise bad_request(f"the local cluster cannot {what} the blob '{path}' in this format ({kind})") from error
    except OSError as error:
        raise bad_request(f"the local cluster cannot {what} the blob '{path}': {error.strerror}") from error


def _existing(root: Path, path: str) -> str:
    if not (root / path).is_file():
        raise bad_request("there is no such blob")
    return str(root / path)


def _endings(name: str) -> list[str]:
    return name.lower().removesuffix(".gz").split(".")[-1:]


def _content(connection: "DuckDBPyConnection", path: str, most: int) -> bytes:
    ((size,),) = connection.execute("SELECT size FROM read_blob(?)", [path]).fetchall()
    if size > most:
        raise bad_request(f"it is larger than {most} bytes")
    # DuckDB gives the bytes only: its own reading of CSV drops rows after an open quote, and of JSON those after a
    # cut, without a word.
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
        raise bad_request("the content is no gzip, or cut off") from error
    except UnicodeDecodeError as error:
        raise bad_request(f"the content is no UTF-8: {error.reason} at byte {error.start}") from error


def _read_delimited(text: str, shape: _Shape) -> Iterator[tuple[Any, ...]]:
    lines = _csv_lines(text) if shape.kind == "csv" else _tsv_lines(text, len(shape.columns))
    for number, line in enumerate(lines):
        if number or not shape.skips_first:
            padded = [*line, *[None] * len(shape.columns)]
            yield tuple(textvalues.read(column, value) for column, value in zip(shape.columns, padded, strict=False))


def _csv_lines(text: str) -> Iterator[list[str]]:
    try:
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise bad_request(f"the data is no CSV: {error}") from error


def _tsv_lines(text: str, width: int) -> Iterator[list[str]]:
    lines = re.split("\r?\n", text)
    for line in lines if lines[-1] else lines[:-1]:
        if line or width == 1:
            yield line.split("\t")


def _read_json(text: str, shape: _Shape) -> Iterator[tuple[Any, ...]]:
    records = _records(text) if shape.kind == "multijson" else (_record(one) for one in text.split("\n") if one.strip())
    return (_from_record(record, shape.columns) for record in records)


def _records(text: str) -> Iterable[Any]:
    """Give the elements of an array, or values one after another."""
    if text.lstrip()[:1] == "[":
        found = _record(text)
        return found if isinstance(found, list) else [found]
    return map(_record, _values(text))


def _values(text: str) -> Iterator[str]:
    decoder = json.JSONDecoder()
    position = len(text) - len(text.lstrip())
    while position < len(text):
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"the data is no JSON, or nested too deep: {error}") from error
        yield text[position:end]
        following = _SPACE.match(text, end)
        position = following.end() if following else end


def _record(text: str) -> Any:
    try:
        return lenient_json.loads(text)
    except lenient_json.LenientJsonError as error:
        raise bad_request(f"a record is no JSON that the local cluster reads: {error}") from error


def _from_record(record: Any, columns: tuple[Column, ...]) -> tuple[Any, ...]:
    if not isinstance(record, dict):
        raise bad_request("each record must be a JSON object")
    return tuple(_from_json(column, record.get(column.name)) for column in columns)


def _from_json(column: Column, value: Any) -> Any:
    if value is None:
        return textvalues.read(column, None)
    if column.type == "dynamic" or isinstance(value, dict | list | bool):
        value = lenient_json.dumps(value)
    return value if column.type == "dynamic" else textvalues.read(column, str(value))


def _written(table: Table, kind: str) -> Table:
    """Give the rows as they are stored: text wherever the format has no type of Kusto's meaning."""
    if kind == "tsv":
        _refuse_separators(table)
    if kind == "json":
        _refuse_what_is_no_number(table)
    if kind in _DELIMITED:
        typed: frozenset[str] = frozenset()
    else:
        typed = _TYPED | (frozenset({"datetime"}) if kind == "parquet" else frozenset({"dynamic"}))
    columns = tuple(Column(one.name, one.type if one.type in typed else "string") for one in table.columns)
    # A row of one null must not look like a blank line: the empty text is written in quotes, and read as null.
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
                raise bad_request(f"a tsv file cannot hold the tabs or line breaks of the column {column.name!r}")


def _refuse_what_is_no_number(table: Table) -> None:
    for index, column in enumerate(table.columns):
        if column.type == "real" and not all(math.isfinite(row[index] or 0) for row in table.rows):
            raise bad_request(f"a json file cannot hold the NaN or infinity of the column {column.name!r}")


_TYPED = frozenset({"bool", "int", "long", "real", "string"})
_READERS: Mapping[str, Callable[[str, _Shape], Iterator[tuple[Any, ...]]]] = {
    "csv": _read_delimited,
    "tsv": _read_delimited,
    "json": _read_json,
    "multijson": _read_json,
}
