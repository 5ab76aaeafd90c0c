"""Tables of Kusto values, which the parts of the local cluster exchange."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

KUSTO_TYPES = ("bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid", "dynamic")

TYPE_ALIASES = {
    "boolean": "bool",
    "int32": "int",
    "int64": "long",
    "double": "real",
    "date": "datetime",
    "time": "timespan",
    "uuid": "guid",
    "uniqueid": "guid",
    "object": "dynamic",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name and Kusto type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of columns and rows.

    The values are ``bool`` for bool; ``int`` for int and long; ``float`` for real; ``Decimal`` for decimal; ``str`` for string;
    ticks of 100 ns for datetime (since year 1) and timespan; lower-case text for guid; JSON text for dynamic; None for null.
    ``visualization`` is the kind of chart that a query requests for it by ``render``.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...] = ()
    visualization: str = ""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def with_rows(self, rows: Iterable[tuple[Any, ...]]) -> "Table":
        """Return a table with the same columns and other rows."""
        return Table(self.columns, tuple(rows))


def kusto_type(name: str) -> str | None:
    """Return the canonical spelling of a type name, or None if it is unknown."""
    return name if name in KUSTO_TYPES else TYPE_ALIASES.get(name)


def columns(schema: str) -> tuple[Column, ...]:
    """Return the columns of a schema written as ``Name: type, Name: type``."""
    pairs = (part.split(":") for part in schema.split(","))
    return tuple(Column(name.strip(), kind.strip()) for name, kind in pairs)


def schema_text(found: Iterable[Column], separator: str = ", ") -> str:
    """Return columns as a schema string, such as ``Name:type, Name:type``."""
    return separator.join(f"{column.name}:{column.type}" for column in found)
