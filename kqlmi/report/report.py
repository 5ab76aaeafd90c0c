"""The description of a value for display, independent of its rendering."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from kqlmi.errors import printable

Item = TypeVar("Item")
Mark = Literal["", "+", "-", "done", "not done", "not checked", "warning"]
# For output without colour.
_SIGNS: Final[Mapping[Mark, str]] = MappingProxyType(
    {"+": "+ ", "-": "- ", "done": "[x] ", "not done": "[ ] ", "not checked": "[?] ", "warning": "! "}
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text; ``mark`` determines its sign and colour: granted, revoked, the state of a gate, or a warning."""

    text: str
    mark: Mark = ""

    def __str__(self) -> str:
        return f"{_SIGNS.get(self.mark, '')}{printable(self.text)}"


@dataclass(frozen=True, slots=True)
class Code:
    """Text to run unchanged: a command, a request, a shell line."""

    text: str
    language: Literal["", "kql", "json", "sh", "python"] = "kql"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows under named columns; ``dtypes`` are the pandas dtypes of columns whose values alone do not determine them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    dtypes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        items: Iterable[Item],
        columns: Mapping[str, Callable[[Item], object]],
        dtypes: Mapping[str, str] = MappingProxyType({}),
    ) -> "Rows":
        """Return a row for each item; ``columns`` maps each column to the function that returns an item's value."""
        rows = tuple(tuple(value(item) for value in columns.values()) for item in items)
        return cls(tuple(columns), rows, dtypes)


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title; a ``folded`` section may be shown collapsed, with only its title."""

    title: str
    blocks: "tuple[Block, ...]" = ()
    folded: bool = False


Block = Line | Code | Rows | Section


@dataclass(frozen=True, slots=True)
class Report:
    """The description of a value: a ``title``, a ``verdict`` in one sentence, ``blocks`` in order, and closing ``notes``.

    Any of the text may come from a cluster, so renderings escape all of it.
    """

    title: str
    verdict: str = ""
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()


def inert(text: str) -> str:
    """Return a text with unprintable characters escaped as by ``printable``, except line breaks and tabs."""
    return "".join(char if char in "\n\t" else printable(char) for char in text)


def cell(value: object) -> str:
    """Return a row's value as text for display; a list as its items."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            items = [cell(item) for item in value]
            return ("\n" if any(" " in item for item in items) else ", ").join(items)
    return inert(str(value))
