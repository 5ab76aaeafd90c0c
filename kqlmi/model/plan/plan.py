"""The base class of plans: changes that are shown before they are sent, and then applied unchanged."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from kqlmi.model import jsontext
from kqlmi.report import Described, Report, counted, in_brackets, to_text

SHOWN: Final = 12
"""The number of characters of an ID that are shown and typed; the whole ID is stored and compared."""


class Plan(Described):
    """A change that has not been sent yet; ``cluster`` is the name of the session that it was made for."""

    __slots__ = ()

    cluster: str

    @property
    @abstractmethod
    def steps(self) -> Sequence[object]:
        """Return what is sent, in order; empty if there is nothing to do."""

    @property
    @abstractmethod
    def content(self) -> Any:
        """Return everything that the plan does, as JSON values; the ID is derived from it."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """Return the change on one line."""

    @property
    def revokes(self) -> bool:
        """Check whether the plan removes anything."""
        return False

    @property
    def confirm(self) -> str:
        """Return the cluster's name, which the user must enter to apply an irreversible plan; empty for any other plan."""
        return ""

    @property
    def back(self) -> str:
        """Return the line that reverts the applied plan where ``undo`` cannot, or an empty text if there is none."""
        return ""

    def full(self) -> Report:
        """Return the description with every step and its command; ``report`` may show identical steps as one."""
        return self.report()

    def __repr__(self) -> str:
        steps = counted(len(self.steps), "step")
        return in_brackets(f"Plan {self.short}: {steps} on {self.cluster}{', revokes' if self.revokes else ''}")

    def __str__(self) -> str:
        return to_text(self.full())

    @property
    def id(self) -> str:
        """Return the whole ID, which is a digest of the content."""
        return plan_id(jsontext.dump(self.content))

    @property
    def short(self) -> str:
        """Return the shortened ID, for display."""
        return self.id[:SHOWN]

    @property
    def title(self) -> str:
        """Return the title of the plan's report."""
        return f"Plan {self.short} on {self.cluster}"


def plan_id(content: str) -> str:
    """Return the ID of a plan: SHA-256 of its canonical content, as 64 hexadecimal digits."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
