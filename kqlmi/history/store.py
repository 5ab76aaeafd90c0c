"""The files of the history, in the order in which their entries began."""

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
# The number before the ID is the order in which entries began; clocks cannot be trusted with that.
_NAME: Final = re.compile(r"(?:(?P<number>[0-9]{8,})\.)?(?P<id>.+)\.json", re.DOTALL)


def default_folder() -> Path:
    """Return the default history folder: in ``$KQLMI_STATE`` if it is set, or else in the user's state folder."""
    from platformdirs import user_state_path

    chosen = os.environ.get("KQLMI_STATE")
    state = Path(chosen).expanduser() if chosen else user_state_path("kqlmi", appauthor=False)
    return state.absolute() / "history"


@dataclass(frozen=True, slots=True)
class History:
    """The history, as files under a folder.

    Each entry is a separate file that is created and replaced atomically, so reading needs no lock. Writing locks the
    cluster's folder.
    """

    folder: Path = field(default_factory=default_folder)

    def begin(self, entry: Entry) -> None:
        """Record a change that is about to be made, as the newest entry. Once this returns, the entry survives a crash.

        Raises:
            HistoryError: The entry cannot be written, or its ID is taken; the change must not be sent.
        """
        hint = "Free some space, make the folder writable, set KQLMI_STATE to another folder, or use --no-history."
        with self._writing(entry.cluster, hint) as folder:
            files = _files(folder)
            if any(_parts(path)[1] == entry.id for path in files):
                raise HistoryError(f"History entry {entry.id} already exists.", hint="Make a new entry.")
            last = _parts(files[-1])[0] if files else 0
            atomicfile.write(folder / f"{last + 1:08}.{entry.id}.json", codec.dump(entry), private=True)
            for above in (self.folder, self.folder.parent):
                atomicfile.sync_folder(above)

    def update(self, entry: Entry) -> None:
        """Replace the recorded entry of the same ID.

        Raises:
            HistoryError: The entry cannot be written; the previous record is kept.
        """
        with self._updating(entry) as path:
            atomicfile.write(path, codec.dump(entry), private=True)

    def settle(self, found: Entry, settled: Entry) -> Entry:
        """Replace ``found`` with ``settled``, unless another process has changed the entry. Return the recorded entry.

        Raises:
            HistoryError: The entry cannot be written; the previous record is kept.
        """
        with self._updating(found) as path:
            stored = _read(path, found.cluster)
            if isinstance(stored, Unreadable):
                raise HistoryError(f"Cannot read a history entry: {stored}.", hint="Repair or remove the file.")
            if stored != found:
                return stored
            atomicfile.write(path, codec.dump(settled), private=True)
            return settled

    def read(self, cluster: str) -> Reading:
        """Return the recorded entries of a cluster in the order in which they began, and the unreadable files.

        Raises:
            HistoryError: The folder exists, but cannot be listed.
        """
        folder = self._folder(cluster)
        try:
            paths = _files(folder)
        except FileNotFoundError:
            return Reading()
        except OSError as error:
            raise HistoryError(
                f"Cannot read the history in {printable(str(folder))}: {error.strerror}.",
                hint="Make the folder readable, or set KQLMI_STATE to another folder.",
            ) from error
        found = [_read(path, cluster) for path in paths]
        return Reading(
            tuple(entry for entry in found if isinstance(entry, Entry)),
            tuple(file for file in found if isinstance(file, Unreadable)),
        )

    @property
    def is_empty(self) -> bool:
        """Return whether no entries are recorded for any cluster, or False if that cannot be read."""
        with suppress(OSError):
            return not any(self.folder.glob("*/*.json"))
        return False

    def _folder(self, cluster: str) -> Path:
        # The endpoint is hashed because it may contain characters that are not allowed in the name of a folder.
        return self.folder / hashlib.sha256(cluster.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @contextmanager
    def _updating(self, entry: Entry) -> Iterator[Path]:
        """Yield the file of an entry, locked against other writers."""
        with self._writing(entry.cluster, f"The previous record of entry {entry.id} is kept.") as folder:
            path = next((path for path in _files(folder) if _parts(path)[1] == entry.id), None)
            if path is None:
                raise HistoryError(f"History entry {entry.id} no longer exists.")
            yield path

    @contextmanager
    def _writing(self, cluster: str, hint: str) -> Iterator[Path]:
        """Yield the folder of a cluster, locked against other writers."""
        from filelock import FileLock, Timeout

        folder = self._folder(cluster)
        try:
            for one in (self.folder, folder):
                _make_private(one)
            with FileLock(folder / "history.lock", timeout=_LOCKED_SECONDS, mode=0o600):
                yield folder
        except Timeout:
            raise HistoryError(
                f"Another process has locked the history in {printable(str(folder))}.", hint=hint
            ) from None
        except (NotImplementedError, OSError) as error:
            place = printable(str(getattr(error, "filename", None) or folder))
            reason = getattr(error, "strerror", "its drive does not support locks")
            raise HistoryError(f"Cannot write the history to {place}: {reason}.", hint=hint) from error


def _make_private(folder: Path) -> None:
    """Create a folder that only the user can read, or restrict an existing folder."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    if os.name != "nt" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        with suppress(PermissionError):  # another user owns it and shares it
            folder.chmod(0o700)


def _files(folder: Path) -> list[Path]:
    """Return the files of entries in the order in which the entries began. Files without a number are the oldest."""
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
