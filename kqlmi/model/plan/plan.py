"""What every plan is: a change that was not sent yet, to be looked at and then applied as it stands."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from kqlmi.model import jsontext
from kqlmi.report import Described

SHOWN: Final = 12
"""So many characters of an ID are shown and typed; all of them are stored and compared."""


class Plan(Described):
    """A change that was not sent yet; ``cluster`` is the name of the session that it was made on."""

    __slots__ = ()

    cluster: str

    @property
    @abstractmethod
    def steps(self) -> Sequence[object]:
        """Return what is sent, in its order; empty where there is nothing to do."""

    @property
    @abstractmethod
    def content(self) -> Any:
        """Return everything that the plan does, as JSON values."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """Return the change on one line."""

    @property
    def revokes(self) -> bool:
        """Check whether the plan takes anything away."""
        return False

    @property
    def confirm(self) -> str:
        """Return the cluster's name, which is needed to apply what nothing reverts; empty otherwise."""
        return ""

    @property
    def back(self) -> str:
        """Return the line that reverts the plan once it was applied, where undo does not; empty without one."""
        return ""

    @property
    def id(self) -> str:
        """Return the name of exactly this change: its whole digest."""
        return plan_id(jsontext.dump(self.content))

    @property
    def short(self) -> str:
        """Return the ID as it is shown."""
        return self.id[:SHOWN]

    @property
    def title(self) -> str:
        """Return the title of the plan's report."""
        return f"Plan {self.short} on {self.cluster}"


def plan_id(content: str) -> str:
    """Return the ID of a plan: SHA-256 of its canonical content, as 64 hexadecimal digits."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
