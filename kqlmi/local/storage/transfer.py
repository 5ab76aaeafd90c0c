"""The transfer of rows to and from the files of a location."""

import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kqlmi.local.enforce import Use
from kqlmi.local.language import literals, partitions
from kqlmi.local.language.reader import Reader
from kqlmi.local.state.activity import Run
from kqlmi.local.state.entities import ExternalTable, Layout
from kqlmi.local.state.state import State
from kqlmi.local.storage import files
from kqlmi.local.storage.storage import Opened, open_location
from kqlmi.local.values.connectionstrings import Location
from kqlmi.local.values.faults import bad_request, unsupported
from kqlmi.local.values.tables import Column, Table

_PLAIN = re.compile(r"[\w.-]{0,100}", re.ASCII)
_HEADERS = ("all", "firstfile", "none")
# Performance hints, which have no visible effect here.
HINTS = {
    "compressiontype", "concurrency", "distributed", "distribution", "distributionkind", "parquetdatetimeprecision",
    "parquetrowgroupsize", "persistdetails", "sizelimit", "spread",
}  # fmt: skip


def layout(kind: str, properties: Mapping[str, str], *, also: Iterable[str] = (), compressed: bool = False) -> Layout:
    """Return the layout described by properties; ``also`` are the names of properties that the caller handles."""
    require(properties, {"nameprefix", "fileextension", "includeheaders", "compressed", "encoding", *HINTS, *also})
    if value(properties, "encoding", "UTF8NoBOM") != "UTF8NoBOM":
        raise unsupported("the encoding UTF8BOM")
    headers = str(value(properties, "includeheaders", "none")).lower()
    if headers not in _HEADERS:
        raise bad_request(f"includeHeaders must be one of {', '.join(_HEADERS)}, not '{headers}'")
    prefix, extension = (str(value(properties, name, "")) for name in ("nameprefix", "fileextension"))
    if not _PLAIN.fullmatch(prefix + extension):
        raise bad_request("namePrefix and fileExtension may contain only letters, digits, '.', '_' and '-'")
    return Layout(kind, prefix, extension, headers, compressed or value(properties, "compressed") is True)


def require(properties: Mapping[str, str], known: Collection[str], *, others: Collection[str] = ()) -> None:
    """Refuse unknown properties; ``others`` are documented but not supported, and are refused unless they are false."""
    for name in sorted(properties.keys() - {*known}):
        if name not in others:
            raise bad_request(f"unknown property '{name}'")
        if value(properties, name) is not False:
            raise unsupported(f"the property '{name}'")


def value(properties: Mapping[str, str], name: str, default: object = None) -> object:
    """Return the value of a property, which is a literal or a bare word."""
    text = properties.get(name)
    if text is None:
        return default
    reader = Reader(text)
    literal = literals.read(reader)
    return literal.value if literal and reader.at_end() else text


def read(state: State, table: ExternalTable, use: Use, *, folders: bool = False, run: Run | None = None) -> Table:
    """Return the rows of all files of a table; its locations may be folders if ``folders`` is true.

    Partitions that are not columns of the files are added as columns.
    """
    virtual, laid = virtual_columns(table), table.layout
    rows: list[tuple[object, ...]] = []
    begun: set[Location] = set()
    for opened, blob, given in files_of(state, table, use, folders=folders):
        more = tuple(given[column.name] for column in virtual)
        skips = laid.headers == "all" or (laid.headers == "firstfile" and opened.location not in begun)
        begun.add(opened.location)
        found = files.read(opened.root, blob.path, laid.format, table.columns, skips_first=skips, run=run).rows
        rows += ((*row, *more) for row in found)
    return Table((*table.columns, *virtual), tuple(rows))


def files_of(
    state: State, table: ExternalTable, use: Use, *, folders: bool
) -> Iterator[tuple[Opened, Location, Mapping[str, Any]]]:
    """Yield the files of a table, with the values of the partitions in their paths.

    Files whose path does not match the path format are skipped.
    """
    for location in table.locations:
        opened = open_location(state, location, use)
        if not folders and not opened.path.is_file():
            raise bad_request(f"there is no blob {location.url}")
        for blob in filter(table.layout.takes, opened.blobs()) if folders else [location]:
            path = blob.path.removeprefix(location.path).lstrip("/")
            given = partitions.values(table.partitions, table.path_format, path) if table.partitions else {}
            if given is not None:
                yield opened, blob, given


def virtual_columns(table: ExternalTable) -> tuple[Column, ...]:
    """Return the partitions that are not columns of the files."""
    own = {column.name for column in table.columns}
    return tuple(Column(one.name, one.type) for one in table.partitions if one.name not in own)


def write(state: State, locations: Iterable[Location], use: Use, laid: Layout, table: Table) -> list[tuple[str, int]]:
    """Write rows to a new file in the first location; return its URL and row count, or nothing if there are no rows."""
    location = next(iter(locations))
    opened = open_location(state, location, use, writes=True)
    if not table.rows:
        return []
    extension = laid.extension or f".{laid.format}"
    if laid.is_compressed and laid.format != "parquet":
        extension = f"{extension.removesuffix('.gz')}.gz"
    name = f"{laid.prefix or 'export'}_1_{uuid.uuid4().hex}{extension}"
    blob = location.blob(f"{location.path}/{name}" if location.path else name)
    files.write(opened.root, blob.path, laid.format, table, header=laid.headers != "none", gzip=laid.is_compressed)
    return [(blob.url, len(table.rows))]
