"""The open sessions of a notebook or a shell."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kqlmi.errors import NotConnectedError
from kqlmi.model.entities import did_you_mean
from kqlmi.session import Session


@dataclass(slots=True)
class Sessions:
    """Sessions by name; ``current`` is the name of the current one, and ``first`` opens a session if there is none."""

    by_name: dict[str, Session] = field(default_factory=dict)
    current: str = ""
    first: Callable[[], Session] | None = None

    @property
    def opened(self) -> list[Session]:
        """Return the sessions, the current one first.

        Raises:
            NotConnectedError: No session is open, and there is no ``first`` to open one.
        """
        if not self.first:
            self.get()
        return sorted(self.by_name.values(), key=lambda one: one.name != self.current)

    def get(self, name: str = "") -> Session:
        """Return a session by name, or the current one.

        Raises:
            NotConnectedError: The session does not exist.
        """
        if not self.by_name and self.first:
            self.add(self.first())
        if not self.by_name:
            raise NotConnectedError(
                "No cluster is connected.",
                hint="Run %kqlmi connect local, or %kqlmi connect https://<cluster>.<region>.kusto.windows.net",
            )
        if name and name not in self.by_name:
            raise NotConnectedError(f"Connection {name!r} does not exist.", hint=did_you_mean(name, self.by_name))
        return self.by_name[name or self.current]

    def add(self, session: Session) -> None:
        """Add a session and make it current; close an existing session of the same name."""
        if old := self.by_name.pop(session.name, None):
            old.close()
        self.by_name[session.name], self.current = session, session.name

    def close(self) -> None:
        """Close every session."""
        while self.by_name:
            self.by_name.popitem()[1].close()
