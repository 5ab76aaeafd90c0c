"""The matrix as text and as escaped HTML, for where no widget can show."""

from html import escape
from itertools import islice

from kqlmi.errors import printable
from kqlmi.model.plan.draft import Draft
from kqlmi.model.plan.listing import marks

# A saved notebook is to stay small, and so is what IPython keeps of each display; %kqlmi show has all of it.
_MOST = 25


def text(draft: Draft, cluster: str) -> str:
    """Return the matrix as a text table."""
    grid = _grid(draft)
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
    return "\n".join([f"kqlmi panel: {_title(draft, cluster)}", *lines, *_rest(draft)])


def html(draft: Draft, cluster: str) -> str:
    """Return the matrix as an HTML table in which everything is escaped."""
    head, *body = _grid(draft)
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    caption = escape(_title(draft, cluster))
    rest = "".join(f"<p>{escape(line)}</p>" for line in _rest(draft))
    return f"<table><caption>{caption}</caption><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>{rest}"


def _grid(draft: Draft) -> list[list[str]]:
    head = ["identity", "object ID", *map(printable, draft.usages)]
    return [head, *([name, identity, *cells.values()] for identity, name, cells in islice(marks(draft), _MOST))]


def _title(draft: Draft, cluster: str) -> str:
    unread = "" if draft.scope in draft.read.policies else ", not read"
    return f"{printable(cluster)}, {draft.scope}{unread}"


def _rest(draft: Draft) -> list[str]:
    more = len(draft.read.identities) - _MOST
    return [f"{more} more identities: %kqlmi show lists all."] if more > 0 else []
