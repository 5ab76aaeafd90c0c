"""Files of a container read and written through DuckDB, which is locked into the container's folder."""

import csv
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kqlmi.local import lenient_json, loading, results, textvalues
from kqlmi.local.faults import KustoError, bad_request
from kqlmi.local.tables import Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READ_FORMATS = ("csv", "tsv", "json", "multijson", "parquet")
WRITTEN_FORMATS = ("csv", "tsv", "json", "parquet")
_DELIMITED = {
    "csv": """delim=',', quote='"', escape='"'""",
    "tsv": "delim='\t', quote='', escape=''",
}
_MOST = 1 << 28


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
        if not (root / path).is_file():
            raise bad_request(f"there is no blob '{path}'")
        return Table(columns, tuple(_READERS[kind](connection, str(root / path), _Shape(kind, columns, skips_first))))


def read_text(text: str, kind: str, columns: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    """Give the rows of a text that is no file, such as an event of a hub."""
    if kind in _DELIMITED:
        return list(_delimited(text, _Shape(kind, columns, skips_first=False)))
    found = _record(text)
    return [_from_record(one, columns) for one in (found if isinstance(found, list) else [found])]


def read_bytes(root: Path, path: str, most: int) -> bytes:
    """Give the content of a file that is not larger than ``most`` bytes."""
    with _locked(root) as connection, _failing("read", path):
        if not (root / path).is_file():
            raise bad_request(f"there is no blob '{path}'")
        ((size,),) = connection.execute("SELECT size FROM read_blob(?)", [str(root / path)]).fetchall()
        if size > most:
            raise bad_request(f"the blob '{path}' is larger than {most} bytes")
        ((content,),) = connection.execute("SELECT content FROM read_blob(?)", [str(root / path)]).fetchall()
        return bytes(content)


def infer(root: Path, path: str, kind: str, *, has_header: bool = False) -> tuple[Column, ...]:
    """Give columns inferred from a file: the types that a Parquet file declares, or DuckDB's guess for the others."""
    source = {
        "csv": f"read_csv(?, {_DELIMITED['csv']}, header={has_header})",
        "tsv": f"read_csv(?, {_DELIMITED['tsv']}, header={has_header})",
        "json": "read_json(?, format='newline_delimited')",
        "multijson": "read_json(?)",
        "parquet": "read_parquet(?)",
    }[kind]
    with _locked(root) as connection, _failing("read", path):
        described = connection.execute(f"SELECT * FROM {source} LIMIT 0", [str(root / path)]).description  # noqa: S608
        found = results.from_duckdb([(name, str(shape)) for name, shape, *_ in described], []).columns
    is_named = has_header or kind not in _DELIMITED
    return tuple(one if is_named else Column(f"Column{n}", one.type) for n, one in enumerate(found, 1))


def write(root: Path, path: str, kind: str, table: Table, *, header: bool = False, gzip: bool = False) -> None:
    """Write rows as a new file, whose folders are made."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    quoted = str(target).replace("'", "''")
    delimiters = _DELIMITED.get(kind, "").replace("=", " ")
    options = f"FORMAT csv, {delimiters}, HEADER {header}, NULL ''" if delimiters else f"FORMAT {kind}"
    if gzip and kind != "parquet":
        options += ", COMPRESSION gzip"
    if kind == "tsv":
        _refuse_separators(table)
    with _locked(root) as connection, _failing("write", path):
        loading.load(connection, 'TABLE "rows"', '"rows"', _written(table, kind))
        connection.execute(f"COPY \"rows\" TO '{quoted}' ({options})")


@dataclass(frozen=True)
class _Shape:
    kind: str
    columns: tuple[Column, ...]
    skips_first: bool


@contextmanager
def _locked(root: Path) -> Iterator["DuckDBPyConnection"]:
    import duckdb  # heavy

    config: dict[str, Any] = {
        "memory_limit": "1GB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(":memory:", config=config)
    try:
        folder = str(root).replace("'", "''")
        connection.execute(f"SET allowed_directories=['{folder}']")
        connection.execute("SET enable_external_access=false")
        connection.execute("SET TimeZone='UTC'")
        connection.execute("SET lock_configuration=true")
        yield connection
    finally:
        connection.close()


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


def _endings(name: str) -> list[str]:
    return name.lower().removesuffix(".gz").split(".")[-1:]


def _read_delimited(connection: "DuckDBPyConnection", path: str, shape: _Shape) -> Iterator[tuple[Any, ...]]:
    # DuckDB gives the bytes only: reading rows of unequal length, it drops those after an open quote without a word.
    ((content,),) = connection.execute("SELECT content FROM read_blob(?)", [path]).fetchall()
    yield from _delimited(_decoded(content, is_compressed=path.lower().endswith(".gz")), shape)


def _delimited(text: str, shape: _Shape) -> Iterator[tuple[Any, ...]]:
    lines = _csv_lines(text) if shape.kind == "csv" else (line.split("\t") for line in re.split("\r?\n", text))
    for number, line in enumerate(lines):
        if line not in ([], [""]) and not (number == 0 and shape.skips_first):
            padded = [*line, *[None] * len(shape.columns)]
            yield tuple(textvalues.read(column, value) for column, value in zip(shape.columns, padded, strict=False))


def _csv_lines(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise bad_request(f"the data is no CSV: {error}") from error


def _decoded(content: bytes, *, is_compressed: bool) -> str:
    try:
        if is_compressed:
            inflater = zlib.decompressobj(wbits=31)  # gzip
            content = inflater.decompress(content, _MOST)
            if not inflater.eof:
                raise bad_request(f"the content is cut off, or larger than {_MOST} bytes when it is decompressed")
        return content.decode("utf-8-sig")
    except zlib.error as error:
        raise bad_request(f"the content is no gzip: {error}") from error
    except UnicodeDecodeError as error:
        raise bad_request(f"the content is no UTF-8: {error.reason} at byte {error.start}") from error


def _read_json(connection: "DuckDBPyConnection", path: str, shape: _Shape) -> Iterator[tuple[Any, ...]]:
    layout = "newline_delimited" if shape.kind == "json" else "auto"
    rows = connection.execute(f"SELECT json FROM read_json_objects(?, format='{layout}')", [path]).fetchall()  # noqa: S608
    yield from (_from_record(_record(text), shape.columns) for (text,) in rows)


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


def _read_parquet(connection: "DuckDBPyConnection", path: str, shape: _Shape) -> Iterator[tuple[Any, ...]]:
    answer = connection.execute("SELECT * FROM read_parquet(?)", [path])
    held = results.from_duckdb([(name, str(kind)) for name, kind, *_ in answer.description], answer.fetchall())
    places = {column.name: index for index, column in enumerate(held.columns)}
    for row in held.rows:
        yield tuple(
            _converted(column, held.columns[places[column.name]], row[places[column.name]])
            if column.name in places
            else textvalues.read(column, None)
            for column in shape.columns
        )


def _converted(wanted: Column, held: Column, value: Any) -> Any:
    return value if wanted.type == held.type else textvalues.read(wanted, textvalues.write(held, value))


def _written(table: Table, kind: str) -> Table:
    """Give the rows as they are stored: text wherever the format has no type of Kusto's meaning."""
    if kind in _DELIMITED:
        typed: frozenset[str] = frozenset()
    else:
        typed = _TYPED | (frozenset({"datetime"}) if kind == "parquet" else frozenset({"dynamic"}))
    columns = tuple(Column(one.name, one.type if one.type in typed else "string") for one in table.columns)
    rows = (
        tuple(
            value if column.type in typed else textvalues.write(column, value)
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


_TYPED = frozenset({"bool", "int", "long", "real", "string"})
_READERS: Mapping[str, Callable[["DuckDBPyConnection", str, _Shape], Iterator[tuple[Any, ...]]]] = {
    "csv": _read_delimited,
    "tsv": _read_delimited,
    "json": _read_json,
    "multijson": _read_json,
    "parquet": _read_parquet,
}
