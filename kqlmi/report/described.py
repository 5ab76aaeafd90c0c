"""The base class of values that are shown as a report."""

from abc import ABC, abstractmethod
from typing import Final

from kqlmi.errors import printable
from kqlmi.report.html import to_html
from kqlmi.report.markdown import to_markdown
from kqlmi.report.report import Report
from kqlmi.report.text import to_text

_LONGEST: Final = 110


class Described(ABC):
    """A value with a report, from which its text, HTML and Markdown are rendered.

    A dataclass with this base needs ``repr=False``, or the representation that it generates replaces the one here.
    """

    __slots__ = ()

    @abstractmethod
    def report(self) -> Report:
        """Return the description of the value for display."""

    def __repr__(self) -> str:
        found, kind = self.report(), type(self).__name__
        text = ": ".join(filter(None, (found.title, found.verdict))).rstrip(".")
        return in_brackets(text if text.startswith(kind) else f"{kind}: {text}")

    def __str__(self) -> str:
        return to_text(self.report(), unfold=True)

    def _repr_html_(self) -> str:
        return to_html(self.report())

    def _repr_markdown_(self) -> str:
        return to_markdown(self.report())


def in_brackets(text: str) -> str:
    """Return a representation of a value on one short line, with unprintable characters escaped."""
    line = printable(text[:_LONGEST])
    return f"<{line if len(line) <= _LONGEST and len(text) <= _LONGEST else f'{line[: _LONGEST - 1]}…'}>"
