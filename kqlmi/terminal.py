"""Reports on a terminal: as wide as it is, in colour, and with long tables folded."""

from dataclasses import replace
from math import inf
from typing import Final, TextIO

from kqlmi.report import Block, Report, Rows, Section, to_text

# A longer table is folded to its first rows.
_LONG: Final = 60
_FEW: Final = 20


def to_terminal(
    report: Report | Rows, file: TextIO, *, rest: str = "", at_most: float = inf, unfold: bool = False
) -> str:
    """Return a report as text for a file: if it is a terminal, of its width and in colour, unless the user declines colours.

    ``rest`` is the hint on how to see all rows; if it is given, a terminal shows only the first rows of a long table.
    ``at_most`` and ``unfold`` are as for ``to_text``.
    """
    if not file.isatty():
        return to_text(report, at_most=at_most, unfold=unfold)
    from rich.console import Console

    console = Console(file=file, force_jupyter=False)
    color = not (console.no_color or console.is_dumb_terminal or console.legacy_windows)
    if rest:
        folded = _folded((report,) if isinstance(report, Rows) else report.blocks, rest)
        report = Report("", blocks=folded) if isinstance(report, Rows) else replace(report, blocks=folded)
    return to_text(report, width=console.width, color=color, at_most=at_most, unfold=unfold)


def _folded(blocks: tuple[Block, ...], rest: str) -> tuple[Block, ...]:
    """Return the blocks with only the first rows of each long table."""
    return tuple(
        replace(block, rows=block.rows[:_FEW], note=f"{_FEW} of {len(block.rows):,} rows. {rest}")
        if isinstance(block, Rows) and len(block.rows) > _LONG
        else replace(block, blocks=_folded(block.blocks, rest))
        if isinstance(block, Section)
        else block
        for block in blocks
    )
