"""Reading and writing the files that the user names, with errors that name the file."""

from pathlib import Path

from kqlmi import atomicfile
from kqlmi.errors import InputError, printable


def read(path: Path) -> bytes:
    """Return the contents of a file; empty if it is not a regular file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise InputError(
            f"{printable(str(path))!r} cannot be read: {error.strerror}.", hint="Name another file."
        ) from error


def write(path: Path, text: str) -> None:
    """Write a file atomically: the previous contents stay until the new ones are on the disk.

    Raises:
        InputError: The file cannot be written; the previous contents are kept.
    """
    try:
        atomicfile.write(path, text.encode())
    except OSError as error:
        raise InputError(
            f"{printable(str(path))!r} cannot be written: {error.strerror}.", hint="Name another file."
        ) from error
