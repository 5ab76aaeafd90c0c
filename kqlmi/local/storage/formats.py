"""File formats, and the conversion of a file's content to rows."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kqlmi.local.language import textvalues
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import BAD_REQUEST, KustoError, bad_request, unsupported
from kqlmi.local.values.tables import Column

SEPARATORS: Mapping[str, str] = {"csv": ",", "tsv": "\t", "tsve": "\t", "psv": "|", "scsv": ";", "sohsv": "\x01"}
"""The separator of the fields of a line, by format."""
READ_FORMATS = (*SEPARATORS, "txt", "raw", "json", "singlejson", "multijson", "w3clogfile", "parquet")
WRITTEN_FORMATS = ("csv", "tsv", "json", "parquet")
_REFUSED = ("avro", "apacheavro", "orc", "sstream", "azmonstream")
_EXTENSIONS = {**{name: name for name in (*READ_FORMATS, *_REFUSED)}, "log": "w3clogfile"}
_SPACE = re.compile(r"\s*")
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_LOGGED = re.compile(r'"((?:[^"]|"")*)"|(\S+)')


def format_of(name: str, given: str = "") -> str:
    """Return the given format, or else that of the file's extension, or csv if there is no extension."""
    last = name.rpartition("/")[2].lower().removesuffix(".gz")
    extension = last.rpartition(".")[2] if "." in last else "csv"
    if extension == "zip":
        raise unsupported("zip archives")
    written = given.lower() or _EXTENSIONS.get(extension, "")
    if not written:
        raise bad_request(f"no format is known for the extension '.{extension}'; specify the format")
    if written in _REFUSED:
        raise unsupported(f"the format '{written}'")
    if written not in READ_FORMATS:
        raise bad_request(f"the format '{given}' is unknown; use one of {', '.join(READ_FORMATS)}")
    return written


def rows(text: str, kind: str, columns: tuple[Column, ...], *, skips_first: bool = False) -> Iterator[tuple[Any, ...]]:
    """Return the rows in a file's content: fields of lines are matched by position, fields of records by name."""
    if kind in _RECORDS:
        return (_from_record(record, columns) for record in list(_RECORDS[kind](text))[skips_first:])
    if kind == "raw":
        lines: Iterable[list[str]] = [[text]]
    elif kind == "txt":
        lines = ([line] for line in _lines(text) if line)
    elif kind == "csv":
        lines = _csv_lines(text)
    else:
        lines = _separated(text, kind, keeps_blank=len(columns) == 1)
    return _from_lines(lines, columns, skips_first=skips_first)


def _from_lines(
    lines: Iterable[list[str]], columns: tuple[Column, ...], *, skips_first: bool
) -> Iterator[tuple[Any, ...]]:
    width: int | None = None
    for number, line in enumerate(lines):
        width = len(line) if width is None else width
        if len(line) != width:
            raise _ragged(number + 1, len(line), width)
        if number or not skips_first:
            padded = [*line, *[None] * len(columns)]
            yield tuple(map(textvalues.read, columns, padded))


def _ragged(number: int, found: int, width: int) -> KustoError:
    what = f"Inconsistent number of fields in the input records: {width} in the first, {found} in record {number}"
    return KustoError(400, "Stream_WrongNumberOfFields", BAD_REQUEST, what)


def _lines(text: str) -> list[str]:
    lines = re.split("\r?\n", text)
    return lines if lines[-1] else lines[:-1]


def _csv_lines(text: str) -> Iterator[list[str]]:
    try:
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise bad_request(f"the data is not valid CSV: {error}") from error


def _separated(text: str, kind: str, *, keeps_blank: bool) -> Iterator[list[str]]:
    for line in _lines(text):
        if line or keeps_blank:
            fields = line.split(SEPARATORS[kind])
            if kind == "tsve":
                fields = [_ESCAPE.sub(_unescaped, field) for field in fields]
            elif kind != "tsv" and any(field.startswith('"') for field in fields):
                # Documented: quotes enclose a field in CSV, and do not in TSV; for other formats, nothing is documented.
                raise unsupported(f"quotes in the format '{kind}'")
            yield fields


def _unescaped(match: re.Match[str]) -> str:
    if match[1] not in _ESCAPED:
        raise unsupported(f"the escape {match[0]!r} in the format 'tsve'")
    return _ESCAPED[match[1]]


def _logged(text: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a W3C extended log, whose directives name the fields; ``-`` is null."""
    names: list[str] = []
    for number, line in enumerate(_lines(text), 1):
        if line.startswith("#"):
            names = line.split()[1:] if line.lower().startswith("#fields:") else names
            continue
        fields = [plain or quoted.replace('""', '"') for quoted, plain in _LOGGED.findall(line)]
        if fields and len(fields) != len(names):
            raise _ragged(number, len(fields), len(names))
        if fields:
            yield {name: None if field == "-" else field for name, field in zip(names, fields, strict=True)}


def _single(text: str) -> list[Any]:
    found = [_record(one) for one in _values(text)]
    if len(found) > 1:
        raise bad_request("a file of the format 'singlejson' must contain only one JSON object")
    return found


def _multiple(text: str) -> Iterable[Any]:
    """Return the elements of an array, or of a sequence of values."""
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
            raise bad_request(f"the data is not valid JSON, or nested too deep: {error}") from error
        yield text[position:end]
        following = _SPACE.match(text, end)
        position = following.end() if following else end


def _record(text: str) -> Any:
    try:
        return lenient_json.loads(text)
    except lenient_json.LenientJsonError as error:
        raise bad_request(f"a record is not JSON that the local cluster supports: {error}") from error


def _from_record(record: Any, columns: tuple[Column, ...]) -> tuple[Any, ...]:
    if not isinstance(record, dict):
        raise bad_request("each record must be a JSON object")
    return tuple(_from_json(column, record.get(column.name)) for column in columns)


def _from_json(column: Column, value: Any) -> Any:
    if value is None:
        return textvalues.read(column, None)
    if column.type == "dynamic" or isinstance(value, dict | list | bool):
        value = lenient_json.dumps(value)
    elif column.type == "timespan" and isinstance(value, int):
        value = f"{value}ticks"  # the service represents timespans as numbers of ticks in results and in Parquet files
    return value if column.type == "dynamic" else textvalues.read(column, str(value))


def _json_lines(text: str) -> Iterator[Any]:
    """Yield the records of lines; as documented, malformed lines are skipped."""
    for line in filter(str.strip, text.split("\n")):
        try:
            yield _record(line)
        except KustoError:
            try:
                json.loads(line)
            except json.JSONDecodeError:
                continue
            except (ValueError, RecursionError):  # it is valid JSON, but beyond a limit
                pass
            raise


_RECORDS: Mapping[str, Callable[[str], Iterable[Any]]] = {
    "json": _json_lines,
    "singlejson": _single,
    "multijson": _multiple,
    "w3clogfile": _logged,
}
