"""The latest failures of what runs in the background of a database, each explained by its text."""

from dataclasses import dataclass
from typing import Any

from kqlmi.model.explain.explanation import Explained
from kqlmi.report import Described, Report, Rows, counted


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: ``subject`` is what failed, ``details`` its text, and ``explained`` what that can mean."""

    subject: str
    time: Any
    details: str
    explained: Explained

    @property
    def fix(self) -> str:
        """Return the line that fixes it, or the catalogue's advice, or an empty string."""
        row, closed = self.explained.published, self.explained.closed
        return closed.fixes[0] if closed and closed.fixes else row.fix if row else ""


@dataclass(frozen=True, slots=True, repr=False)
class FailureList(Described):
    """The failures, those of ingestion first. Each of the ``notes`` is a sentence about something that could not be read."""

    database: str
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> Rows:
        """Return a row for each failure: ``subject``, ``time``, ``details``, ``explanation`` and ``fix``."""
        return Rows.of(
            self.failures,
            {
                "subject": lambda one: one.subject,
                "time": lambda one: one.time,
                "details": lambda one: one.details,
                "explanation": lambda one: one.explained.report().title,
                "fix": lambda one: one.fix,
            },
            kinds={"details": "folded", "fix": "code"},
        )

    def report(self) -> Report:
        """Return the failures as rows."""
        return Report(counted(len(self.failures), "failure"), f"in {self.database}", (self.rows,), self.notes)
