"""A report as HTML for a notebook's page, without scripts, links or external resources."""

from collections.abc import Iterable, Mapping
from html import escape
from types import MappingProxyType
from typing import Final

from kqlmi.errors import printable
from kqlmi.report import htmlgrid, htmlrows
from kqlmi.report.report import Block, Code, Grid, Line, Mark, Names, Report, Rows, Section, inert

_GREEN: Final = "color: var(--jp-success-color0, #1a7f4b)"
_RED: Final = "color: var(--jp-error-color1, #b42318)"
_STYLES: Final[Mapping[Mark, str]] = MappingProxyType(
    {"+": _GREEN, "-": _RED, "done": _GREEN, "not done": _RED, "stops": f"{_RED}; font-weight: bold"}
)
# A long command is wrapped, so that none of it is hidden.
_CODE: Final = "white-space: pre-wrap; overflow-wrap: anywhere; margin: 0.4em 0 0.8em"


def to_html(report: Report | Rows) -> str:
    """Return a report as a fragment of HTML, with every text in it escaped."""
    if isinstance(report, Rows):
        report = Report("", blocks=(report,))
    head = _block(Line(report.verdict)) if report.verdict else ""
    body = f"{_title(report.title)}{head}{_blocks(report.blocks)}{_blocks(map(Line, report.notes))}"
    # On a page that typesets mathematics, a dollar sign in a name does not begin a formula.
    return f'<div class="kqlmi-report tex2jax_ignore mathjax_ignore">{body}</div>'


def _blocks(blocks: Iterable[Block]) -> str:
    return "".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Line():
            style = f' style="{_STYLES[block.mark]}"' if block.mark in _STYLES else ""
            return f"<div{style}>{_text(str(block))}</div>"
        case Code(text):
            return f'<pre style="{_CODE}"><code>{escape(inert(text))}</code></pre>'
        case Names():
            return _block(block.folded)
        case Rows():
            return htmlrows.table(block)
        case Grid():
            return htmlgrid.table(block)
        case Section():
            return _section(block)


def _section(section: Section) -> str:
    title, within = section.title, _blocks(section.blocks)
    if section.folded:
        return f"<details><summary>{_text(title)}</summary>{within}</details>"
    return f'{_title(title)}<div style="margin-left: 1em">{within}</div>'


def _title(text: str) -> str:
    return f"<div><b>{_text(text)}</b></div>" if text else ""


def _text(text: str) -> str:
    return escape(printable(text))
