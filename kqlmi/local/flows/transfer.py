"""Rows read from the files of a location and written to them."""

import re
import uuid
from collections.abc import Collection, Iterable, Mapping

from kqlmi.local import files, literals
from kqlmi.local.connectionstrings import Location
from kqlmi.local.enforce import Use
from kqlmi.local.entities import Layout
from kqlmi.local.faults import bad_request, not_carried_out
from kqlmi.local.reader import Reader
from kqlmi.local.state import State
from kqlmi.local.storage import open_location
from kqlmi.local.tables import Column, Table

_PLAIN = re.compile(r"[\w.-]{0,100}", re.ASCII)
_HEADERS = ("all", "firstfile", "none")
# Hints about speed, which change nothing that can be seen here.
_HINTS = {
    "compressiontype", "concurrency", "distributed", "distribution", "distributionkind", "parquetdatetimeprecision",
    "parquetrowgroupsize", "persistdetails", "sizelimit", "spread",
}  # fmt: skip


def layout(kind: str, properties: Mapping[str, str], *, also: Iterable[str] = (), compressed: bool = False) -> Layout:
    """Give the layout that properties describe; ``also`` are names that the caller reads itself."""
    known = {"nameprefix", "fileextension", "includeheaders", "compressed", "encoding", *_HINTS, *also}
    require(properties, known)
    if value(properties, "encoding", "UTF8NoBOM") != "UTF8NoBOM":
        raise not_carried_out("the encoding UTF8BOM")
    headers = str(value(properties, "includeheaders", "none")).lower()
    if headers not in _HEADERS:
        raise bad_request(f"includeHeaders must be one of {', '.join(_HEADERS)}, not '{headers}'")
    prefix, extension = (str(value(properties, name, "")) for name in ("nameprefix", "fileextension"))
    if not _PLAIN.fullmatch(prefix + extension):
        raise bad_request("namePrefix and fileExtension take letters, digits, '.', '_' and '-' only")
    return Layout(
        format=kind,
        prefix=prefix,
        extension=extension,
        headers=headers,
        is_compressed=compressed or value(properties, "compressed", default=False) is True,
    )


def require_hints(properties: Mapping[str, str]) -> None:
    """Refuse properties that change more than how fast a table is exported to."""
    require(properties, _HINTS)


def require(properties: Mapping[str, str], known: Collection[str], *, others: Collection[str] = ()) -> None:
    """Refuse a property that is not known; ``others`` are documented and not carried out, unless they are false."""
    for name in sorted(properties.keys() - {*known}):
        if name not in others:
            raise bad_request(f"the local cluster knows no property '{name}' here")
        if value(properties, name) is not False:
            raise not_carried_out(f"the property '{name}'")


def value(properties: Mapping[str, str], name: str, default: object = None) -> object:
    """Give the value of a property: a literal, or a bare word as text."""
    text = properties.get(name)
    if text is None:
        return default
    reader = Reader(text)
    literal = literals.read(reader)
    return literal.value if literal and reader.at_end() else text


def read(
    state: State,
    locations: Iterable[Location],
    use: Use,
    laid: Layout,
    columns: tuple[Column, ...],
    *,
    folders: bool = False,
) -> Table:
    """Give the rows of all files of some locations, which may be folders where ``folders`` says so."""
    rows: list[tuple[object, ...]] = []
    for location in locations:
        opened = open_location(state, location, use)
        if not folders and not opened.path.is_file():
            raise bad_request(f"there is no blob {location.url}")
        blobs = [blob for blob in opened.blobs() if laid.takes(blob)] if folders else [location]
        for index, blob in enumerate(blobs):
            skips = laid.headers == "all" or (laid.headers == "firstfile" and index == 0)
            rows += files.read(opened.root, blob.path, laid.format, columns, skips_first=skips)
    return Table(columns, tuple(rows))


def write(state: State, locations: Iterable[Location], use: Use, laid: Layout, table: Table) -> list[tuple[str, int]]:
    """Write rows as a new file of the first location, and give its URL and the number of its rows; none for no rows."""
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
