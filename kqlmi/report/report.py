"""A report: what a value says to people, apart from how a face shows it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from kqlmi.errors import printable

Item = TypeVar("Item")
Mark = Literal["", "+", "-", "done", "not done", "not checked", "warning"]
# In words, for where there is no colour.
_SIGNS: Final[Mapping[Mark, str]] = MappingProxyType(
    {"+": "+ ", "-": "- ", "done": "[x] ", "not done": "[ ] ", "not checked": "[?] ", "warning": "! "}
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text; ``mark`` says what kind, for a sign and a colour: granted, revoked, the state of a gate, a warning."""

    text: str
    mark: Mark = ""

    def __str__(self) -> str:
        return f"{_SIGNS.get(self.mark, '')}{printable(self.text)}"


@dataclass(frozen=True, slots=True)
class Code:
    """Text to run as it stands: a command, a request, a line of a shell."""

    text: str
    language: Literal["", "kql", "json", "sh", "python"] = "kql"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows under named columns; ``dtypes`` are those of pandas, where the values alone do not determine them."""

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
        """Return a row for each item; ``columns`` has for each column what returns an item's value."""
        rows = tuple(tuple(value(item) for value in columns.values()) for item in items)
        return cls(tuple(columns), rows, dtypes)


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title; a ``folded`` one may be shown closed, with its title alone."""

    title: str
    blocks: "tuple[Block, ...]" = ()
    folded: bool = False


Block = Line | Code | Rows | Section


@dataclass(frozen=True, slots=True)
class Report:
    """What a value says: its ``title``, the ``verdict`` in one sentence, its ``blocks`` in order, and notes that end it.

    Every text may come from a cluster: a rendering escapes it.
    """

    title: str
    verdict: str = ""
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()


def inert(text: str) -> str:
    """Return a text for people as ``printable`` does, but with its line breaks and tabs."""
    return "".join(char if char in "\n\t" else printable(char) for char in text)


def cell(value: object) -> str:
    """Return a value of a row for people; of a list, its items."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            items = [cell(item) for item in value]
            return ("\n" if any(" " in item for item in items) else ", ").join(items)
    return inert(str(value))
