"""Partitions of external data: their declarations, and their values in the paths of files."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kqlmi.local.language import textvalues
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.reader import Mismatch, Reader
from kqlmi.local.values import lenient_json, linear_regex
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.tables import Column

_FORMATS = {
    "startofyear": "yyyy",
    "startofmonth": "yyyy/MM",
    "startofweek": "yyyy/MM/dd",
    "startofday": "yyyy/MM/dd",
    "1h": "yyyy/MM/dd/HH",
    "1m": "yyyy/MM/dd/HH/mm",
}
_PARTS = {"yyyy": r"\d{4}", "MM": r"\d\d", "dd": r"\d\d", "HH": r"\d\d", "mm": r"\d\d", "ss": r"\d\d"}
_DATETIME = re.compile(rf"'(?P<text>[^']*)'|\{{?(?P<part>{'|'.join(_PARTS)})\}}?|(?P<other>.)")
_NAMED = re.compile(r"\(\?P<\w+>")
_COLUMNS = ("column", "hashed", "started", "binned")
_TYPES = ("string", "datetime", "long")
# A column, its hash, or the start of the period that contains a datetime.
_EXPRESSION = re.compile(
    r"(?P<column>\w+|\['[^']+'\])|hash\s*\(\s*(?P<hashed>\w+)\s*,\s*(?P<mod>\d+)\s*\)|"
    r"(?:(?P<start>startof(?:year|month|week|day))\s*\(\s*(?P<started>\w+)\s*\)|"
    r"bin\s*\(\s*(?P<binned>\w+)\s*,\s*(?P<size>1[dhm])\s*\))"
)


@dataclass(frozen=True)
class Partition:
    """A partition column, whose values are in the paths of files; a virtual one has no ``expression``."""

    name: str
    type: str
    expression: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """The partition as ``.show external tables`` returns it."""
        found = _EXPRESSION.fullmatch(self.expression)
        if not found:
            return {"Name": self.name}
        column = next(filter(None, (found[one] for one in _COLUMNS)))
        start = found["start"] or ("bin" if found["binned"] else "")
        more = {"Function": f"StartOf{start[7:].capitalize()}" if found["start"] else "Bin"} if start else {}
        hashed = {"Mod": int(found["mod"])} if found["hashed"] else {}
        return {**hashed, **more, "Name": self.name, "ColumnName": column.strip("[']")}

    @property
    def default(self) -> str:
        """The pattern of a datetime if the path format does not specify one."""
        found = _EXPRESSION.fullmatch(self.expression)
        return _FORMATS.get((found["start"] or found["size"] or "") if found else "", "yyyy/MM/dd")


def take(reader: Reader, columns: Collection[str]) -> tuple[tuple[Partition, ...], str]:
    """Consume ``[partition by (…) [pathformat = (…)]]``; return the partitions and the path format."""
    if not reader.take("partition"):
        return (), ""
    reader.expect("by")
    found = tuple(_partition(text, columns) for text in reader.expressions("(", ")"))
    if len({one.name for one in found}) < len(found):
        raise bad_request("two partitions have the same name")
    if not reader.take("pathformat"):
        return found, ""
    reader.expect("=")
    return found, take_format(reader, found)


def take_format(reader: Reader, known: tuple[Partition, ...]) -> str:
    """Consume ``('separator' Name datetime_pattern('…', Name) …)``, and return what is in the brackets."""
    start = reader.position
    found = reader.expressions("(", ")")
    if len(found) != 1:
        raise Mismatch(start, "a path format")
    pattern(known, found[0])
    return found[0]


@lru_cache(maxsize=256)  # called for each file
def pattern(partitions: tuple[Partition, ...], path_format: str) -> Any:
    """Return a regex that matches paths in this format. Groups are named ``p<index>_<part>``, for example ``p0_value``."""
    groups = {one.name: (f"p{place}", one) for place, one in enumerate(partitions)}
    written = path_format or ' "/" '.join(f"[{lenient_json.dumps(one.name)}]" for one in partitions)
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        named = found[0] not in seen
        seen.add(found[0])
        return found[0] if named else "(?:"

    regex = _NAMED.sub(once, "".join(_pieces(written, groups)))
    try:
        return linear_regex.compiled(regex)
    except ValueError as error:
        raise bad_request("the path format is too long") from error


def values(partitions: tuple[Partition, ...], path_format: str, path: str) -> Mapping[str, Any] | None:
    """Return the values of partitions in the path of a file, or None if the path does not match."""
    found = pattern(partitions, path_format).match(path)
    if not found or not (path[: found.end()].endswith("/") or path[found.end() :].startswith("/")):
        return None
    given: dict[str, Any] = {}
    for place, one in enumerate(partitions):
        parts = {name: text for name, text in found.groupdict().items() if name.startswith(f"p{place}_")}
        text = parts.get(f"p{place}_value", "")
        if one.type == "datetime":
            year, month, day, *time = (
                parts.get(f"p{place}_{part}", least)
                for part, least in zip(_PARTS, ("1", "01", "01", *["00"] * 3), strict=True)
            )
            text = f"{year}-{month}-{day}T{':'.join(time)}Z"
        given[one.name] = textvalues.read(Column(one.name, one.type), text)
    return given


def _partition(text: str, columns: Collection[str]) -> Partition:
    reader = Reader(text)
    name = reader.name()
    reader.expect(":")
    kind = reader.next().text
    expression = text[reader.position :].strip().removeprefix("=").strip()
    if kind not in _TYPES:
        raise bad_request(f"the type of the partition '{name}' must be {' or '.join(_TYPES)}, not '{kind}'")
    found = _EXPRESSION.fullmatch(expression)
    if expression and not found:
        raise bad_request(f"the expression of the partition '{name}' is not a documented one: {expression[:60]}")
    column = next((found[one] for one in _COLUMNS if found[one]), "") if found else ""
    if column and column.strip("[']") not in columns:
        raise bad_request(f"the partition '{name}' refers to '{column}', which is not a column")
    return Partition(name, kind, expression)


def _pieces(text: str, groups: Mapping[str, tuple[str, Partition]]) -> Iterator[str]:
    def known(name: str) -> tuple[str, Partition]:
        if name not in groups:
            raise bad_request(f"the path format ({text[:100]}) refers to '{name}', which is not a partition")
        return groups[name]

    reader = Reader(text)
    while not reader.at_end():
        if reader.peek().kind is Kind.STRING:
            yield re.escape(reader.strings())
        elif reader.take("datetime_pattern"):
            arguments = reader.expressions("(", ")")
            if len(arguments) != 2:  # noqa: PLR2004 - a pattern, and a name
                raise bad_request("datetime_pattern requires a pattern and the name of a partition")
            written = Reader(arguments[0]).string()
            group, _ = known(Reader(arguments[1]).name())
            yield from _datetime(written, group)
        else:
            group, one = known(reader.name())
            if one.type == "datetime":
                yield from _datetime(one.default, group)
            else:
                yield f"(?P<{group}_value>{'-?[0-9]+' if one.type == 'long' else '[^/]*'})"


def _datetime(written: str, group: str) -> Iterator[str]:
    for found in _DATETIME.finditer(written):
        part, plain = found["part"], found["text"] or found["other"] or ""
        yield f"(?P<{group}_{part}>{_PARTS[part]})" if part else re.escape(plain)
