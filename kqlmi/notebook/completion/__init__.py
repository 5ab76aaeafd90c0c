"""TAB completion in ``%kqlmi`` lines and ``%%kqlmi`` cells, from names that are already known."""

import re
from dataclasses import replace
from typing import Final

from kqlmi.notebook.completion.cells import complete_body
from kqlmi.notebook.completion.lines import complete_first_line, complete_line, connection_of
from kqlmi.notebook.completion.offers import NOTHING, Candidate, Known, Names, Offers

__all__ = ["Candidate", "Known", "Names", "Offers", "complete"]

_CELL: Final = re.compile(r"\s*%%kqlmi(?P<line>(?:[^\S\n][^\n]*)?)(?P<body>\n.*)?", re.DOTALL)
_OTHER_CELL: Final = re.compile(r"\s*%%(?P<name>\w+)")
# The cell magics of IPython that run their cell as Python, which may contain %kqlmi lines.
_PYTHON_CELLS: Final = frozenset({"capture", "prun", "time", "timeit"})
_LINE: Final = re.compile(r"[^\S\n]*(?:[^=%#'\"\n]+=[^\S\n]*)?%kqlmi[^\S\n](?P<line>.*)", re.DOTALL)
_CLOSERS: Final = re.compile(r"['\"`\]]*")


def complete(before: str, after: str, known: Known) -> Offers:
    """Return completions between ``before``, the cell up to the cursor, and ``after``, the rest of the line.

    The fragment is always a suffix of ``before``: otherwise all of IPython's completion fails.
    """
    offers = _offers(before, after, known)
    if not before.endswith(offers.fragment):
        return NOTHING
    return replace(offers, candidates=tuple(_unclosed(one, after) for one in offers.candidates))


def _offers(before: str, after: str, known: Known) -> Offers:
    if cell := _CELL.fullmatch(before):
        if cell["body"] is not None:
            names = connection_of(cell["line"], known)
            return complete_body(cell["body"], after, names)
        return complete_first_line(cell["line"], known) if cell["line"] else NOTHING
    other = _OTHER_CELL.match(before)
    if other and other["name"] not in _PYTHON_CELLS:
        return NOTHING
    # A backslash continues a line; replacing it and the line feed by two blanks preserves all offsets.
    last = before.replace("\\\n", "  ").rpartition("\n")[2]
    line = _LINE.fullmatch(last)
    return complete_line(line["line"], known) if line else NOTHING


def _unclosed(candidate: Candidate, after: str) -> Candidate:
    """Leave out closing quotes and brackets that already follow the cursor, as editors insert them."""
    closers = _CLOSERS.match(after)
    width = len(closers[0]) if closers else 0
    while width and not candidate.text.endswith(after[:width]):
        width -= 1
    return replace(candidate, text=candidate.text[: len(candidate.text) - width])
