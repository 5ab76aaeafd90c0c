"""The record of applied changes: one file for each, written before its first command is sent."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from kqlmi import atomicfile
from kqlmi.errors import InputError, KqlmiError, printable
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Policy

Outcome = Literal["open", "applied", "partly applied", "not applied", "unknown"]
Source = Literal["plan", "cell"]

_FORMAT: Final = 1


class HistoryError(KqlmiError):
    """The history cannot be read or written."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One command, with the policy of its scope before and after it; ``after`` is the expected one until it is read."""

    scope: Scope
    command: str
    before: Policy | None
    after: Policy | None
    outcome: Outcome = "open"
    client_request_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change; ``cluster`` is the cluster's own identity and ``name`` is what people call it.

    ``undoes`` is the ID of the entry that this one takes back.
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

    def with_step(self, place: int, step: StepRecord) -> Self:
        """Give the entry with another step at a place, counted from 0."""
        return replace(self, steps=(*self.steps[:place], step, *self.steps[place + 1 :]))


def new_entry(
    *, cluster: str, name: str, principal: str, source: Source, steps: Iterable[StepRecord], undoes: str | None = None
) -> Entry:
    """Give an open entry of this moment; its ID sorts by time, and no other process gives the same."""
    now = datetime.now(UTC)
    entry_id = f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"
    return Entry(entry_id, now, cluster, name, principal, source, tuple(steps), undoes=undoes)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that holds no entry that can be read, and why; it is left where it is."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Give the path and the reason on one line."""
        return f"{printable(str(self.path))}: {printable(self.reason)}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the history holds of one cluster: its entries, newest last, and the files that could not be read."""

    entries: tuple[Entry, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def entry(self, prefix: str) -> Entry:
        """Give the entry whose ID begins with ``prefix``.

        Raises:
            InputError: No entry does, or several do.
            HistoryError: Its file cannot be read.
        """
        by_id = {file.path.stem: file for file in self.unreadable} | {entry.id: entry for entry in self.entries}
        match [entry_id for entry_id in by_id if entry_id.startswith(prefix)]:
            case []:
                raise InputError(f"No history entry begins with {prefix!r}.", hint="%kqlmi history lists the entries.")
            case [entry_id]:
                entry = by_id[entry_id]
            case several:
                ids = printable(", ".join(several))
                raise InputError(f"{prefix!r} fits several history entries: {ids}.", hint="Give more of the ID.")
        if isinstance(entry, Unreadable):
            raise HistoryError(f"A history entry cannot be read: {entry}.", hint="Repair the file, or move it away.")
        return entry

    @property
    def last_to_undo(self) -> Entry | None:
        """Give the newest entry that changed something, is no undo, and has not been taken back; None without one.

        An undo takes an entry back only when all of it was applied, and no longer once it has itself been undone.
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
        """Give the entries whose outcome is to be settled: ``open`` (their writer died, or still runs) or ``unknown``."""
        return tuple(entry for entry in self.entries if entry.outcome in {"open", "unknown"})


def default_folder() -> Path:
    """Give the folder of the history: in ``$KQLMI_STATE``, or else in the user's state folder."""
    from platformdirs import user_state_path

    chosen = os.environ.get("KQLMI_STATE")
    state = Path(chosen).expanduser() if chosen else user_state_path("kqlmi", appauthor=False)
    return state.absolute() / "history"


@dataclass(frozen=True, slots=True)
class History:
    """The files under a folder.

    There is no lock: each entry has a file of its own, which appears whole, and changes by being replaced whole.
    """

    folder: Path = field(default_factory=default_folder)

    def begin(self, entry: Entry) -> None:
        """Record a change that is about to be made; when this returns, the record survives a crash.

        Raises:
            HistoryError: It cannot be written, or its ID is taken: send nothing.
        """
        hint = "Free some space or make the folder writable, name another in KQLMI_STATE, or say --no-history."
        self._put(entry, hint, new=True)

    def update(self, entry: Entry) -> None:
        """Put what is known by now in place of what was recorded.

        Raises:
            HistoryError: It cannot be written; what was recorded before stays.
        """
        self._put(entry, f"Entry {entry.id} stays as it was recorded before.", new=False)

    def read(self, cluster: str) -> Reading:
        """Give what is recorded of a cluster; a file that cannot be read hides no other.

        Raises:
            HistoryError: The folder is there, and cannot be listed.
        """
        folder = self._folder(cluster)
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return Reading()
        except OSError as error:
            raise HistoryError(
                f"The history in {printable(str(folder))} cannot be read: {error.strerror}.",
                hint="Make it a folder that you may read, or name another in KQLMI_STATE.",
            ) from error
        found = [_read(path, cluster) for path in paths]
        return Reading(
            tuple(entry for entry in found if isinstance(entry, Entry)),
            tuple(file for file in found if isinstance(file, Unreadable)),
        )

    def _folder(self, cluster: str) -> Path:
        # What a cluster calls itself is no name for a folder: it may hold anything.
        return self.folder / hashlib.sha256(cluster.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _put(self, entry: Entry, hint: str, *, new: bool) -> None:
        path = self._folder(entry.cluster) / f"{entry.id}.json"
        try:
            for folder in (self.folder, path.parent):
                folder.mkdir(0o700, parents=True, exist_ok=True)
            atomicfile.write(path, _text(entry).encode("ascii"), private=True, new=new)
            for folder in (self.folder, self.folder.parent):
                atomicfile.sync_folder(folder)
        except OSError as error:
            if isinstance(error, FileExistsError) and error.filename == str(path):
                raise HistoryError(f"History entry {entry.id} exists already.", hint="Make a new entry.") from error
            place = printable(str(error.filename or path.parent))
            raise HistoryError(f"The history cannot be written to {place}: {error.strerror}.", hint=hint) from error


def _text(entry: Entry) -> str:
    # ASCII, because a lone surrogate in a name has no UTF-8.
    return json.dumps({"format": _FORMAT, **_plain(entry)}, default=_plain, indent=2) + "\n"


def _plain(value: Any) -> Any:
    """Give what JSON holds of a value; a scope is its database, or null for the cluster."""
    match value:
        case datetime():
            return value.isoformat()
        case Scope():
            return value.name
        case Policy():
            return value.to_record()  # as text, so that its numbers stay as they were read
        case _:
            return {item.name: getattr(value, item.name) for item in fields(value)}


def _read(path: Path, cluster: str) -> Entry | Unreadable:
    try:
        entry = _parse(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return Unreadable(path, "half-written, or not JSON")
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    except (ValueError, KqlmiError) as error:
        return Unreadable(path, str(error))
    if entry.id != path.stem:
        return Unreadable(path, f"a copy of entry {entry.id} under another name")
    if entry.cluster != cluster:
        return Unreadable(path, f"a copy of an entry of another cluster, {entry.name}")
    return entry


def _parse(data: bytes) -> Entry:
    match json.loads(data):
        case {"format": int(version)} if version > _FORMAT:
            raise ValueError(f"written by a newer kqlmi, in format {version}; this one reads up to {_FORMAT}")
        case {
            "format": 1,
            "id": str(entry_id),
            "time": str(when),
            "cluster": str(cluster),
            "name": str(name),
            "principal": str(principal),
            "source": "plan" | "cell" as source,
            "undoes": str() | None as undoes,
            "outcome": "open" | "applied" | "partly applied" | "not applied" | "unknown" as outcome,
            "steps": list(items),
        }:
            steps = tuple(_step(item) for item in items)
            moment = datetime.fromisoformat(when)
            return Entry(entry_id, moment, cluster, name, principal, source, steps, outcome, undoes)
    raise ValueError("not a history entry")


def _step(item: Any) -> StepRecord:
    match item:
        case {
            "scope": str() | None as database,
            "command": str(command),
            "before": str() | None as before,
            "after": str() | None as after,
            "outcome": "open" | "applied" | "partly applied" | "not applied" | "unknown" as outcome,
            "client_request_id": str(request),
        }:
            policies = Policy.parse(before), Policy.parse(after)
            return StepRecord(Scope(database), command, *policies, outcome, request)
    raise ValueError("not a history entry: one of its steps is not whole")
