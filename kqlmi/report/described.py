"""The base class of values that are shown as a report."""

from abc import ABC, abstractmethod

from kqlmi.report.html import to_html
from kqlmi.report.markdown import to_markdown
from kqlmi.report.report import Report
from kqlmi.report.text import to_text


class Described(ABC):
    """A value with a report, from which its text, HTML and Markdown are rendered."""

    __slots__ = ()

    @abstractmethod
    def report(self) -> Report:
        """Return the description of the value for display."""

    def __str__(self) -> str:
        return to_text(self.report())

    def _repr_html_(self) -> str:
        return to_html(self.report())

    def _repr_markdown_(self) -> str:
        return to_markdown(self.report())
