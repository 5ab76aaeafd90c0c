"""Files that are replaced atomically: after a crash, a full disk or an error, a file has its old content or the new."""

import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAUSES: Final = (0.01, 0.05, 0.2)
_PRIVATE: Final = 0o600


def write(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file. Once this returns, its content and its name survive a crash.

    An existing file keeps its mode and its group, and a link keeps its target. A ``private`` file is readable only by its
    owner from the start. A pipe or a device is written to directly.

    Raises:
        OSError: Nothing was written, and no temporary file is left.
    """
    found = _found(path)
    if found and not stat.S_ISREG(found.st_mode):
        path.write_bytes(data)
        return
    if found and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE if private or found else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if found and not private:
                _take_mode(descriptor, found)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        _replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash, if the system can: Windows and some network drives cannot."""
    # On a broken disk, writing the file itself has already failed.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _found(path: Path) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return path.stat()
    return None


def _take_mode(descriptor: int, found: os.stat_result) -> None:
    """Set the group and mode of a draft to those of the file that it replaces. Any other group gets no access."""
    if not hasattr(os, "fchown"):  # Windows
        return
    mode = stat.S_IMODE(found.st_mode)
    if os.fstat(descriptor).st_gid != found.st_gid:
        try:
            os.fchown(descriptor, -1, found.st_gid)
        except OSError:
            mode &= ~stat.S_IRWXG
    os.fchmod(descriptor, mode)


def _replace(source: Path, target: Path) -> None:
    # Windows refuses to replace a file while another process, such as a virus scanner, has it open.
    for pause in _PAUSES:
        with suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(pause)
    source.replace(target)
