"""Reports: descriptions of values for display, and their renderings as text, HTML and Markdown."""

from kqlmi.report.described import Described, in_brackets
from kqlmi.report.html import to_html
from kqlmi.report.markdown import to_markdown
from kqlmi.report.page import to_page
from kqlmi.report.report import (
    YES_NO,
    Block,
    Code,
    Grid,
    GridRow,
    Kind,
    Line,
    Mark,
    Names,
    Report,
    Rows,
    Section,
    Tile,
    counted,
)
from kqlmi.report.text import shortens, to_text

__all__ = [
    "YES_NO",
    "Block",
    "Code",
    "Described",
    "Grid",
    "GridRow",
    "Kind",
    "Line",
    "Mark",
    "Names",
    "Report",
    "Rows",
    "Section",
    "Tile",
    "counted",
    "in_brackets",
    "shortens",
    "to_html",
    "to_markdown",
    "to_page",
    "to_text",
]
