"""The files of the history, and the order in which they were begun."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kqlmi import atomicfile
from kqlmi.errors import KqlmiError, printable
from kqlmi.history import codec
from kqlmi.history.entries import Entry, HistoryError, Reading, Unreadable

_LOCKED_SECONDS: Final = 10.0
# The number in front of the ID tells the order in which entries were begun, which no clock can be trusted with.
_NAME: Final = re.compile(r"(?:(?P<number>[0-9]{8,})\.)?(?P<id>.+)\.json", re.DOTALL)


def default_folder() -> Path:
    """Return the folder of the history: in ``$KQLMI_STATE``, or else in the user's state folder."""
    from platformdirs import user_state_path

    chosen = os.environ.get("KQLMI_STATE")
    state = Path(chosen).expanduser() if chosen else user_state_path("kqlmi", appauthor=False)
    return state.absolute() / "history"


@dataclass(frozen=True, slots=True)
class History:
    """The files under a folder.

    Each entry has a file of its own, which appears whole and changes by being replaced whole, so that reading needs no
    lock. Writing takes the lock of the cluster's folder.
    """

    folder: Path = field(default_factory=default_folder)

    def begin(self, entry: Entry) -> None:
        """Record a change that is about to be made, as the last one; when this returns, the record survives a crash.

        Raises:
            HistoryError: It cannot be written, or its ID is taken: send nothing.
        """
        hint = "Free some space or make the folder writable, name another in KQLMI_STATE, or use --no-history."
        with self._writing(entry.cluster, hint) as folder:
            files = _files(folder)
            if any(_parts(path)[1] == entry.id for path in files):
                raise HistoryError(f"History entry {entry.id} exists already.", hint="Make a new entry.")
            last = _parts(files[-1])[0] if files else 0
            atomicfile.write(folder / f"{last + 1:08}.{entry.id}.json", codec.dump(entry), private=True)
            for above in (self.folder, self.folder.parent):
                atomicfile.sync_folder(above)

    def update(self, entry: Entry) -> None:
        """Replace what was recorded of a change by what is known now.

        Raises:
            HistoryError: It cannot be written; what was recorded before stays.
        """
        with self._updating(entry) as path:
            atomicfile.write(path, codec.dump(entry), private=True)

    def settle(self, found: Entry, settled: Entry) -> Entry:
        """Replace an entry as it was ``found``; return what is recorded then, which another process may have written.

        Raises:
            HistoryError: It cannot be written; what was recorded before stays.
        """
        with self._updating(found) as path:
            stored = _read(path, found.cluster)
            if isinstance(stored, Unreadable):
                raise HistoryError(
                    f"A history entry cannot be read: {stored}.", hint="Repair the file, or move it away."
                )
            if stored != found:
                return stored
            atomicfile.write(path, codec.dump(settled), private=True)
            return settled

    def read(self, cluster: str) -> Reading:
        """Return what is recorded of a cluster, in the order in which it was begun; a bad file hides no other.

        Raises:
            HistoryError: The folder is there, and cannot be listed.
        """
        folder = self._folder(cluster)
        try:
            paths = _files(folder)
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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is recorded of any cluster, as far as that can be seen."""
        with suppress(OSError):
            return not any(self.folder.glob("*/*.json"))
        return False

    def _folder(self, cluster: str) -> Path:
        # What a cluster calls itself is no name for a folder: it may hold anything.
        return self.folder / hashlib.sha256(cluster.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @contextmanager
    def _updating(self, entry: Entry) -> Iterator[Path]:
        """Yield the file of an entry, which nobody else writes meanwhile."""
        with self._writing(entry.cluster, f"Entry {entry.id} stays as it was recorded before.") as folder:
            path = next((path for path in _files(folder) if _parts(path)[1] == entry.id), None)
            if path is None:
                raise HistoryError(f"There is no history entry {entry.id} any more.")
            yield path

    @contextmanager
    def _writing(self, cluster: str, hint: str) -> Iterator[Path]:
        """Yield the folder of a cluster, which nobody else writes to meanwhile."""
        from filelock import FileLock, Timeout

        folder = self._folder(cluster)
        try:
            for one in (self.folder, folder):
                _make_private(one)
            with FileLock(folder / "history.lock", timeout=_LOCKED_SECONDS, mode=0o600):
                yield folder
        except Timeout:
            raise HistoryError(f"Another process holds the history in {printable(str(folder))}.", hint=hint) from None
        except (NotImplementedError, OSError) as error:
            place = printable(str(getattr(error, "filename", None) or folder))
            reason = getattr(error, "strerror", "its drive has no locks")
            raise HistoryError(f"The history cannot be written to {place}: {reason}.", hint=hint) from error


def _make_private(folder: Path) -> None:
    """Make a folder that only the user may read, also where it exists and others may."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    if os.name != "nt" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        with suppress(PermissionError):  # it is another user's, who shares it
            folder.chmod(0o700)


def _files(folder: Path) -> list[Path]:
    """Return the files of entries in the order in which these were begun; those without a number came first."""
    found = (path for path in folder.iterdir() if path.suffix == ".json")
    return sorted(found, key=lambda path: (_parts(path)[0], path.name))


def _parts(path: Path) -> tuple[int, str]:
    match = _NAME.fullmatch(path.name)
    return (int(match["number"] or 0), match["id"]) if match else (0, "")


def _read(path: Path, cluster: str) -> Entry | Unreadable:
    try:
        entry = codec.parse(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return Unreadable(path, "half-written, or not JSON")
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    except (ValueError, KqlmiError) as error:
        return Unreadable(path, str(error))
    if entry.id != _parts(path)[1]:
        return Unreadable(path, f"a copy of entry {entry.id} under another name")
    if entry.cluster != cluster:
        return Unreadable(path, f"a copy of an entry of another cluster, {entry.name}")
    return entry
