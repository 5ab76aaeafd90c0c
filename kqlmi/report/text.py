"""A report as text, for terminals and logs."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from kqlmi.errors import printable
from kqlmi.report.report import Block, Code, Grid, Kind, Line, Mark, Names, Report, Rows, Section, cell, inert, tags

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDTH: Final = 120
_STYLES: Final[dict[Mark, str]] = {
    "+": "green", "-": "red", "done": "green", "not done": "red", "not checked": "yellow", "warning": "yellow",
    "stops": "bold red",
}  # fmt: skip
# Longer than an object ID, which is therefore never broken.
_LONGEST_WORD: Final = 40
# A word is not separated from the spaces at the beginning of its line.
_WORD: Final = re.compile(r"^[^\S\n]*\S+|\S+", re.MULTILINE)

Styled = tuple[str, str]
"""A line and its style; an empty line is a separator."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The options of ``to_text``."""

    width: int
    color: bool
    unfold: bool
    at_most: float


def to_text(
    report: Report | Rows, *, width: int = WIDTH, color: bool = False, unfold: bool = False, at_most: float = inf
) -> str:
    """Return a report as text, independent of the terminal; ``unfold`` shows the content of folded sections.

    Only tables are fitted to ``width``; one that is too wide for it is shown with a line for each value. Sentences and
    commands are not wrapped. A list of names with more than ``at_most`` characters is shortened to the first and the last.
    """
    blocks = (report,) if isinstance(report, Rows) else report.blocks
    lines = list(_blocks(blocks, _Form(width, color, unfold, at_most), "", margin=False))
    if isinstance(report, Report):
        head = ": ".join(printable(text) for text in (report.title, report.verdict) if text)
        lines = [(head, "bold")] * bool(head) + lines
        lines += [("", "")] * bool(report.notes) + [(printable(note), "") for note in report.notes]
    if not color:
        return "\n".join(text for text, _ in lines).strip("\n")
    from rich.color import ColorSystem
    from rich.style import Style

    styles = {style: Style.parse(style) for _, style in lines}
    colored = (styles[style].render(text, color_system=ColorSystem.STANDARD) for text, style in lines)
    return "\n".join(colored).strip("\n")


def shortens(report: Report, at_most: float) -> bool:
    """Return whether the text of a report leaves out names if it shows ``at_most`` characters of each list."""
    return any(_shortens(block, at_most) for block in report.blocks)


def _shortens(block: Block, at_most: float) -> bool:
    match block:
        case Names():
            return len(block.listed) > at_most
        case Section(_, within):
            return any(_shortens(one, at_most) for one in within)
    return False


def _blocks(blocks: Iterable[Block], form: _Form, indent: str, *, margin: bool) -> Iterator[Styled]:
    """Yield the lines of blocks; at the ``margin``, a command follows an empty line and is not indented, for copying."""
    for block in blocks:
        match block:
            case Line():
                yield f"{indent}{block}", _STYLES.get(block.mark, "")
            case Code(text):
                yield from [("", "")] * margin
                yield from ((line if margin else f"{indent}    {line}", "") for line in inert(text).split("\n"))
            case Names(lead):
                yield f"{indent}{printable(lead)} {block.brief if _shortens(block, form.at_most) else block.listed}", ""
            case Rows():
                yield from [
                    ("", ""),
                    *((f"{indent}{line}", "") for line in _table(block, form.width - len(indent), form)),
                ]
                yield from [("", ""), (f"{indent}{printable(block.note)}", "")] if block.note else ()
            case Grid(caption):
                yield f"{indent}{printable(caption)}", ""
                yield from _blocks([block.listed], form, indent, margin=margin)
            case Section(title, within, folded):
                yield from [("", "")] * (not folded)
                end = "" if folded or title.endswith(".") else ":"
                yield from [(f"{indent}{printable(title)}{end}", "")] * bool(title)
                if form.unfold or not folded:
                    yield from _blocks(within, form, f"{indent}  ", margin=not folded)


def _table(rows: Rows, width: int, form: _Form) -> list[str]:
    """Return the lines of a table, or a line for each value if the longest words of a row do not fit into the width."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    names = [Text(printable(name)) for name in rows.columns]
    cells = [[_cell(value, kind) for value, kind in row] for row in rows.cells]
    columns = [*zip(names, *cells, strict=True)]
    least = [
        min(max((cell_len(word) for text in texts for word in _WORD.findall(text.plain)), default=1), _LONGEST_WORD)
        for texts in columns
    ]
    most = [max(cell_len(line) for text in texts for line in text.plain.split("\n")) for texts in columns]
    room = width - sum(least) - 2 * (len(least) - 1)
    if room < 0:
        return [line for row in cells for line in (*_record(names, row, width, form), "")][:-1]
    # rich reduces columns without regard to their longest words, and then crops them.
    wanted = [max(0, long - short) for short, long in zip(least, most, strict=True)]
    widths = [short + min(more, room * more // max(sum(wanted), 1)) for short, more in zip(least, wanted, strict=True)]

    def drawn(rows: "Sequence[Sequence[Text]]") -> list[str]:
        table = Table.grid(padding=(0, 2, 0, 0))
        for one in widths:
            table.add_column(width=one, overflow="fold")
        for row in rows:
            table.add_row(*row)
        return _lines(table, width + 2, form) if rows else []

    # Versions of rich differ in how long the rule below a header is.
    head = drawn([[Text(name.plain, "bold") for name in names]])
    return [*head, "─" * (sum(widths) + 2 * (len(widths) - 1)), *drawn(cells)]


def _record(names: "Sequence[Text]", row: "Sequence[Text]", width: int, form: _Form) -> list[str]:
    """Return a line for each value of a row that is not empty, after the name of its column."""
    from rich.table import Table

    label = max(len(name.plain) for name in names)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=label, style="dim")
    table.add_column(overflow="fold")
    for name, text in zip(names, row, strict=True):
        if text.plain:
            table.add_row(name, text)
    return _lines(table, max(width, label + 2 + _LONGEST_WORD), form)


def _cell(value: object, kind: Kind) -> "Text":
    from rich.text import Text

    if not isinstance(kind, Mapping):
        return Text(cell(value))
    return Text(", ").join(Text(text, _STYLES.get(mark, "")) for text, mark in tags(value, kind))


def _lines(table: "Table", width: int, form: _Form) -> list[str]:
    import io

    from rich.console import Console

    file = io.StringIO()  # not the terminal, whose encoding and size would affect the result
    console = Console(
        file=file,
        width=width,
        color_system="standard" if form.color else None,
        force_terminal=form.color,
        force_jupyter=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]
