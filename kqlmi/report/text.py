"""A report as text, for terminals and logs."""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Final

from kqlmi.errors import printable
from kqlmi.report.report import Block, Code, Grid, Line, Mark, Names, Report, Rows, Section, cell, inert

WIDTH: Final = 120
_STYLES: Final[dict[Mark, str]] = {
    "+": "green", "-": "red", "done": "green", "not done": "red", "not checked": "yellow", "warning": "yellow",
    "stops": "bold red",
}  # fmt: skip
# Longer than an object ID, which is therefore never broken.
_LONGEST_WORD: Final = 40

Styled = tuple[str, str]
"""A line and its style; an empty line is a separator."""


def to_text(
    report: Report | Rows, *, width: int = WIDTH, color: bool = False, unfold: bool = False, at_most: float = inf
) -> str:
    """Return a report as text, independent of the terminal; ``unfold`` shows the content of folded sections.

    Only tables are fitted to ``width``, if their longest words allow it; sentences and commands are not wrapped. A list of
    names with more than ``at_most`` characters is shortened to the first and the last.
    """
    blocks = (report,) if isinstance(report, Rows) else report.blocks
    lines = list(_blocks(blocks, width, "", unfold=unfold, margin=False, at_most=at_most))
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


def _blocks(
    blocks: Iterable[Block], width: int, indent: str, *, unfold: bool, margin: bool, at_most: float
) -> Iterator[Styled]:
    """Yield the lines of blocks; at the ``margin``, a command follows an empty line and is not indented, for copying."""
    for block in blocks:
        match block:
            case Line():
                yield f"{indent}{block}", _STYLES.get(block.mark, "")
            case Code(text):
                yield from [("", "")] * margin
                yield from ((line if margin else f"{indent}    {line}", "") for line in inert(text).split("\n"))
            case Names(lead):
                yield f"{indent}{printable(lead)} {block.brief if _shortens(block, at_most) else block.listed}", ""
            case Rows():
                yield from [("", ""), *((f"{indent}{line}", "") for line in _table(block, width - len(indent)))]
            case Grid(caption):
                yield f"{indent}{printable(caption)}", ""
                yield from _blocks([block.listed], width, indent, unfold=unfold, margin=margin, at_most=at_most)
            case Section(title, within, folded):
                yield from [("", "")] * (not folded)
                end = "" if folded or title.endswith(".") else ":"
                yield from [(f"{indent}{printable(title)}{end}", "")] * bool(title)
                if unfold or not folded:
                    yield from _blocks(within, width, f"{indent}  ", unfold=unfold, margin=not folded, at_most=at_most)


def _table(rows: Rows, width: int) -> list[str]:
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    cells = [[printable(name) for name in rows.columns], *([cell(value) for value in row] for row in rows.rows)]
    least = [max(map(len, " ".join(texts).split()), default=1) for texts in zip(*cells, strict=True)]
    for name, longest in zip(cells[0], least, strict=True):
        table.add_column(Text(name), min_width=min(longest, _LONGEST_WORD), overflow="fold")
    for row in cells[1:]:
        table.add_row(*map(Text, row))
    file = io.StringIO()  # not the terminal, whose encoding and size would affect the result
    wide = max(width, sum(min(longest, _LONGEST_WORD) + 3 for longest in least))
    console = Console(file=file, width=wide, color_system=None, force_jupyter=False, legacy_windows=False, _environ={})
    console.print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]
