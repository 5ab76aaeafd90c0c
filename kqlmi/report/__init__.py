"""Reports: descriptions of values for display, and their renderings as text, HTML and Markdown."""

from kqlmi.report.described import Described
from kqlmi.report.html import to_html
from kqlmi.report.markdown import to_markdown
from kqlmi.report.report import Block, Code, Line, Mark, Report, Rows, Section
from kqlmi.report.text import to_text

__all__ = [
    "Block",
    "Code",
    "Described",
    "Line",
    "Mark",
    "Report",
    "Rows",
    "Section",
    "to_html",
    "to_markdown",
    "to_text",
]
