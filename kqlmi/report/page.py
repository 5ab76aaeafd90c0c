"""Reports as one self-contained HTML file, without scripts, links or external resources."""

from collections.abc import Iterable
from dataclasses import replace
from html import escape
from typing import Final

from kqlmi.errors import printable
from kqlmi.report.html import to_html
from kqlmi.report.report import Line, Report

# The browser loads and runs nothing, whatever the page contains.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE: Final = """
:root{color-scheme:light dark}
body{font:14px/1.45 system-ui,sans-serif;margin:24px auto;padding:0 16px;max-width:1400px}
main>div{margin-bottom:32px}
main>div>div:first-child{font-size:17px}
table{border-collapse:collapse}
pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:8px 10px;background:rgba(128,128,128,.12);border-radius:6px}
summary{cursor:pointer}
"""


def to_page(title: str, reports: Iterable[Report], at_most: int) -> str:
    """Return reports below one another as a page of at most ``at_most`` bytes, whose later blocks are left out if necessary.

    The first report is always whole.
    """
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(printable(title))}</title><style>{_STYLE}</style></head><body><main>\n"
    )
    end = "\n</main></body></html>\n"
    room = at_most - len((head + end).encode())
    parts: list[str] = []
    for report in reports:
        part = _shortened(report, room) if parts else to_html(report)
        room -= len(part.encode()) + 1
        parts.append(part)
    return head + "\n".join(parts) + end


def _shortened(report: Report, at_most: int) -> str:
    """Return a report as HTML of at most about ``at_most`` bytes; a line states how many blocks are left out."""
    kept = len(report.blocks)
    while len((found := to_html(_first(report, kept))).encode()) > at_most and kept:
        kept //= 2
    return found


def _first(report: Report, kept: int) -> Report:
    left = len(report.blocks) - kept
    more = (Line(f"{left:,} more are left out, because the page would be too large.", "warning"),) if left else ()
    return replace(report, blocks=(*report.blocks[:kept], *more))
