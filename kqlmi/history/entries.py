"""The entries of the history, and the result of reading them."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Self

from kqlmi.errors import Ended, InputError, KqlmiError, printable
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy
from kqlmi.report import Described, Mark, Report, Rows, counted, in_brackets

Outcome = Literal["open", Ended]
Source = Literal["plan", "cell"]

_OUTCOME_TAGS: Final[Mapping[str, Mark]] = MappingProxyType({
    "applied": "done", "partly applied": "warning", "not applied": "not done", "open": "not checked", "unknown": "not checked"
})  # fmt: skip
_UNSETTLED: Final = frozenset({"open", "unknown"})


class HistoryError(KqlmiError):
    """The history cannot be read or written."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One command, with the policy of its scope before and after it. ``after`` is the expected policy until it is read.

    ``database_id`` is empty if the cluster does not report it. The outcome of a ``lost`` step can no longer be determined.
    """

    scope: Scope
    command: str
    before: Policy | None
    after: Policy | None
    outcome: Outcome = "open"
    client_request_id: str = ""
    database_id: str = ""
    lost: bool = False

    @property
    def unsettled(self) -> bool:
        """Return whether the outcome is unknown, but may still become known."""
        return self.outcome in _UNSETTLED and not self.lost


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One change. ``cluster`` is the endpoint that the cluster reports, ``name`` the session's name for the cluster.

    ``undoes`` is the ID of the entry that this one reverts, if it is an undo.
    """

    id: str
    time: datetime
    cluster: str
    name: str
    principal: str
    source: Source
    steps: tuple[StepRecord, ...]
    outcome: Outcome = "open"
    undoes: str | None = None

    def __repr__(self) -> str:
        return in_brackets(f"Entry {self.id}: {self.outcome}, {counted(len(self.steps), 'step')} on {self.name}")

    @property
    def unsettled(self) -> bool:
        """Return whether the outcome is unknown, but may still become known."""
        report = self.steps and not any(step.unsettled for step in self.steps)
        return self.outcome == "open" or (self.outcome == "unknown" and not report)

    @property
    def report(self) -> str:
        """Return a sentence that states the outcome of a change that was left open."""
        scopes = printable(", ".join(dict.fromkeys(str(step.scope) for step in self.steps)))
        gone = printable(", ".join(dict.fromkeys(str(step.scope) for step in self.steps if step.lost)))
        hint = f" It stays unknown, because the {gone} was dropped or recreated since." if gone else ""
        time = f"{self.time:%Y-%m-%d %H:%M:%S} UTC"
        return f"A change of {time} was left open ({scopes}); its outcome is now: {self.outcome}.{hint}"

    def with_step(self, place: int, step: StepRecord) -> Self:
        """Return the entry with the step at an index replaced."""
        return replace(self, steps=(*self.steps[:place], step, *self.steps[place + 1 :]))

    def with_all(self, outcome: Outcome) -> Self:
        """Return the entry with one outcome for all of its steps."""
        return replace(self, steps=tuple(replace(step, outcome=outcome) for step in self.steps))


def new_entry(
    *, cluster: str, name: str, principal: str, source: Source, steps: Iterable[StepRecord], undoes: str | None = None
) -> Entry:
    """Return an open entry for the current time, with an ID that is unique across processes."""
    now = datetime.now(UTC)
    entry_id = f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"
    return Entry(entry_id, now, cluster, name, principal, source, tuple(steps), undoes=undoes)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that contains no readable entry, and the reason. The file is left untouched."""

    path: Path
    reason: str

    @property
    def id(self) -> str:
        """Return the ID of the entry, from the name of the file."""
        return self.path.stem.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{printable(str(self.path))}: {printable(self.reason)}"


@dataclass(frozen=True, slots=True, repr=False)
class Reading(Described):
    """The history of one cluster: its entries, newest last, and the files that could not be read."""

    entries: tuple[Entry, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def entry(self, prefix: str) -> Entry:
        """Return the entry whose ID begins with ``prefix``.

        Raises:
            InputError: There is no such entry, or more than one.
            HistoryError: Its file cannot be read.
        """
        by_id = {file.id: file for file in self.unreadable} | {entry.id: entry for entry in self.entries}
        match [entry_id for entry_id in by_id if entry_id.startswith(prefix)]:
            case []:
                raise InputError(f"There is no history entry {prefix!r}.", hint="%kqlmi history lists the entries.")
            case [entry_id]:
                entry = by_id[entry_id]
            case several:
                ids = printable(", ".join(several))
                raise InputError(f"{prefix!r} matches several history entries: {ids}.", hint="Pass more of the ID.")
        if isinstance(entry, Unreadable):
            raise HistoryError(f"Cannot read a history entry: {entry}.", hint="Repair or remove the file.")
        return entry

    @property
    def rows(self) -> Rows:
        """Return a row for each entry, the newest first."""
        return Rows.of(
            reversed(self.entries),
            {
                "entry": lambda entry: entry.id,
                "time": lambda entry: entry.time,
                "outcome": lambda entry: entry.outcome,
                "source": lambda entry: entry.source,
                "scopes": lambda entry: [str(step.scope) for step in entry.steps],
                "undoes": lambda entry: entry.undoes or "",
                "principal": lambda entry: entry.principal,
                "commands": lambda entry: [step.command for step in entry.steps],
            },
            kinds={"outcome": _OUTCOME_TAGS, "scopes": "folded", "commands": "folded"},
        )

    def report(self) -> Report:
        """Return the number of entries, the rows, and a note for each file that could not be read."""
        notes = tuple(f"Not read: {file}" for file in self.unreadable)
        return Report(counted(len(self.entries), "entry", "entries"), blocks=(self.rows,), notes=notes)

    @property
    def last_to_undo(self) -> Entry | None:
        """Return the newest entry that changed something, is not an undo, and has not been undone, or None.

        An entry counts as undone only if its undo was applied in full and is not itself undone.
        """
        undone: set[str | None] = set()
        for entry in reversed(self.entries):
            if entry.id in undone:
                continue
            if entry.undoes is None and entry.outcome in {"applied", "partly applied"}:
                return entry
            if entry.outcome == "applied":
                undone.add(entry.undoes)
        return None

    @property
    def unfinished(self) -> tuple[Entry, ...]:
        """Return the entries to settle: ``open`` (their process died, or still runs) or ``unknown``."""
        return tuple(entry for entry in self.entries if entry.unsettled)

    def doubts(self, last: Entry | None) -> tuple[Entry, ...]:
        """Return the entries after ``last``, or all entries if it is None, that may have changed something."""
        after = self.entries[self.entries.index(last) + 1 :] if last else self.entries
        return tuple(entry for entry in after if entry.unsettled)

    def replacing(self, entries: Iterable[Entry]) -> Self:
        """Return the reading with some of its entries replaced by those of the same ID."""
        by_id = {entry.id: entry for entry in entries}
        return replace(self, entries=tuple(by_id.get(entry.id, entry) for entry in self.entries))
