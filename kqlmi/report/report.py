"""A report: what a value tells people, apart from how a face shows it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

Item = TypeVar("Item")
Mark = Literal["", "+", "-", "done", "not done", "not checked", "warning"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text; ``mark`` says what kind, for a sign and a colour: granted, revoked, the state of a gate, a warning."""

    text: str
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Code:
    """Text to run as it stands: a command, a request, a line of a shell."""

    text: str
    language: str = "kql"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows under named columns; ``dtypes`` are those of pandas, where the values alone do not tell them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    dtypes: Mapping[str, str] = MappingProxyType({})

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

    @property
    def records(self) -> Iterator[dict[str, object]]:
        """Yield each row by the names of its columns."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title; a ``folded`` one may be shown closed, with its title alone."""

    title: str
    blocks: "tuple[Block, ...]" = ()
    folded: bool = False


Block = Line | Code | Rows | Section


@dataclass(frozen=True, slots=True)
class Report:
    """What a value tells: its ``title``, the ``verdict`` in one sentence, its ``blocks`` in order, and notes that end it.

    Every text may come from a cluster: a rendering escapes it.
    """

    title: str
    verdict: str = ""
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()
