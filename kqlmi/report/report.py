"""The description of a value for display, independent of its rendering."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from kqlmi.errors import printable

Item = TypeVar("Item")
Mark = Literal["", "+", "-", "done", "not done", "not checked", "warning", "stops"]
# A list of names up to this length is not folded.
_SHORT: Final = 100
# For output without colour.
_SIGNS: Final[Mapping[Mark, str]] = MappingProxyType(
    {"+": "+ ", "-": "- ", "done": "[x] ", "not done": "[ ] ", "not checked": "[?] ", "warning": "! ", "stops": "! "}
)
# For a word of a table.
_TAG_SIGNS: Final[Mapping[Mark, str]] = MappingProxyType(
    {"done": "✓ ", "not done": "✗ ", "not checked": "? ", "warning": "▲ ", "stops": "▲ "}
)
Kind = Literal["", "id", "code", "folded"] | Mapping[str, Mark]
"""What a column contains: text, identifiers, commands, or words to show as tags, with the marks of some of them.

HTML shows only the beginning of a ``folded`` text until it is opened."""
YES_NO: Final[Mapping[str, Mark]] = MappingProxyType({"yes": "done", "no": "not done", "": "not checked"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text; ``mark`` determines its sign and colour.

    It is what a change grants, revokes or would stop, the state of a gate, or a warning.
    """

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
class Names:
    """Names after a word such as *in*; HTML and Markdown fold a long list, and text can shorten it to the first and the last."""

    lead: str
    names: tuple[str, ...]

    @property
    def listed(self) -> str:
        """Return all of the names on one line."""
        return ", ".join(map(_name, self.names))

    @property
    def folded(self) -> "Line | Section":
        """Return the names as a line, or a long list as a folded section with all of them."""
        if len(self.listed) <= _SHORT:
            return Line(f"{self.lead} {self.listed}")
        title = f"{self.lead} {self.brief}: all {len(self.names):,} names"
        return Section(title, (Line(self.listed),), folded=True)

    @property
    def brief(self) -> str:
        """Return the first and the last name."""
        return f"{_name(self.names[0])} … {_name(self.names[-1])}"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows under named columns, with a ``note`` below them.

    ``dtypes`` are the pandas dtypes of columns whose values alone do not determine them; ``kinds`` are the kinds of columns
    other than text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def of(
        cls,
        items: Iterable[Item],
        columns: Mapping[str, Callable[[Item], object]],
        dtypes: Mapping[str, str] = MappingProxyType({}),
        kinds: Mapping[str, Kind] = MappingProxyType({}),
    ) -> "Rows":
        """Return a row for each item; ``columns`` maps each column to the function that returns an item's value."""
        rows = tuple(tuple(value(item) for value in columns.values()) for item in items)
        return cls(tuple(columns), rows, dtypes, kinds)

    @property
    def cells(self) -> Iterator[tuple[tuple[object, Kind], ...]]:
        """Yield the values of each row with the kinds of their columns."""
        kinds = [self.kinds.get(name, "") for name in self.columns]
        return (tuple(zip(row, kinds, strict=True)) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title; a ``folded`` section may be shown collapsed, with only its title."""

    title: str
    blocks: "tuple[Block, ...]" = ()
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """A cell of a grid: a short text, the share from 0 to 1 that shades it, a mark, and the lines that a click shows."""

    text: str
    share: float = 0.0
    mark: Mark = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row of a grid: its header with ``notes`` below it, and its tiles; consecutive rows of one ``group`` form a group."""

    group: str
    header: str
    notes: tuple[str, ...]
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture of rows by columns as a table, whose first column holds the headers of the rows; ``across`` names the others."""

    caption: str
    across: str
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]

    @property
    def listed(self) -> Rows:
        """Return a row for each tile that has lines, for a display that cannot show the grid."""
        found = (
            (row.header, column, tile.text, "\n".join(tile.lines))
            for row in self.rows
            for column, tile in zip(self.columns[1:], row.tiles, strict=True)
            if tile.lines
        )
        return Rows((self.columns[0], self.across, "share", "where"), tuple(found))

    @property
    def matrix(self) -> Rows:
        """Return a row for each row of the grid, with the texts of its tiles."""
        rows = ((" ".join((row.header, *row.notes)), *(tile.text for tile in row.tiles)) for row in self.rows)
        return Rows(self.columns, tuple(rows))


Block = Line | Code | Rows | Section | Names | Grid


@dataclass(frozen=True, slots=True)
class Report:
    """The description of a value: a ``title``, a ``verdict`` in one sentence, ``blocks`` in order, and closing ``notes``.

    Any of the text may come from a cluster, so renderings escape all of it.
    """

    title: str
    verdict: str = ""
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun; ``several`` is the plural, if it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def inert(text: str) -> str:
    """Return a text with unprintable characters escaped as by ``printable``, except line breaks and tabs."""
    return "".join(char if char in "\n\t" else printable(char) for char in text)


def _name(text: str) -> str:
    """Return a name for a list of names, quoted if it could be read as several."""
    return repr(text) if any(char in text for char in ",'…") else printable(text)


def tags(value: object, marks: Mapping[str, Mark]) -> list[tuple[str, Mark]]:
    """Return the texts of a value's tags, each with its sign and mark."""
    texts = map(cell, value if isinstance(value, list | tuple) else [value])
    found = ((text, marks.get(text, "")) for text in texts)
    return [(f"{_TAG_SIGNS.get(mark, '')}{text}".rstrip(), mark) for text, mark in found if text or mark]


def cell(value: object, kind: Kind = "") -> str:
    """Return a row's value as text for display; a list as its items."""
    if isinstance(kind, Mapping):
        return ", ".join(text for text, _ in tags(value, kind))
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            items = [cell(item) for item in value]
            return ("\n" if any(" " in item for item in items) else ", ").join(items)
    return inert(str(value))
