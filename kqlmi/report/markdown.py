"""A report as Markdown, for example for a pull request on GitHub."""

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from kqlmi.errors import printable
from kqlmi.report.report import Block, Code, Grid, Kind, Line, Names, Report, Rows, Section, cell, inert

_ACTIVE: Final = re.compile(r"[\\`*_{}\[\]<>()#+\-.!|&~$]")
# The text that GitHub converts on its own: mentions, e-mail addresses, issue numbers, URLs and emoji.
_NAMED: Final = re.compile(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=:)(?=/|[\w+\\-]+:)")


def to_markdown(report: Report) -> str:
    """Return a report as Markdown, with every text in it escaped."""
    title = f"### {_text(report.title)}" if report.title else ""
    parts = [title, _text(report.verdict), *_blocks(report.blocks), *map(_text, report.notes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    """Yield blocks to separate by blank lines; consecutive lines form one list."""
    lines: list[str] = []
    for block in (one.folded if isinstance(one, Names) else one for one in blocks):
        if isinstance(block, Line):
            lines.append(_line(block))
        else:
            yield "\n".join(lines)
            lines = []
            yield from _block(block)
    yield "\n".join(lines)


def _line(line: Line) -> str:
    match line.mark:
        case "+" | "-":
            return f"- {_code(str(line))}"
        case "stops":
            return f"- **{_text(str(line))}**"
        case "done" | "not done":
            # A checkbox of a task list.
            return f"- {str(line).removesuffix(text := printable(line.text))}{_text(text)}"
    return f"- {_text(str(line))}"


def _block(block: Code | Rows | Section | Grid) -> Iterator[str]:
    match block:
        case Code(text, language):
            fence = "`" * (max(3, _longest_run(text)) + 1)
            yield "\n".join([f"{fence}{language}", inert(text), fence])
        case Rows(columns):
            cells = ([_cell(value, kind) for value, kind in row] for row in block.cells)
            lines = [map(_text, columns), ["---"] * len(columns), *cells]
            yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
            yield _text(block.note)
        case Grid(caption):
            yield _text(caption)
            yield from _block(block.matrix)
            yield from _block(Section("Where, and why", (block.listed,), folded=True))
        case Section(title, within, folded=True):
            yield f"<details><summary>{_marked(escape(printable(title), quote=False))}</summary>"
            yield from _blocks(within)
            yield "</details>"
        case Section(title, within):
            yield f"**{_text(title)}**" if title else ""
            yield from _blocks(within)


def _cell(value: object, kind: Kind) -> str:
    return "<br>".join(map(_text, cell(value, kind).split("\n")))


def _code(text: str) -> str:
    """Return a text as code, between more backticks than it contains in a row."""
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _text(text: str) -> str:
    return _marked(_ACTIVE.sub(r"\\\g<0>", printable(text)))


def _marked(text: str) -> str:
    return _NAMED.sub("<!-- -->", text)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
