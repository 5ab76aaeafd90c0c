"""The files that a person names: read and written whole, with an error that names the file."""

from pathlib import Path

from kqlmi import atomicfile
from kqlmi.errors import InputError, printable


def read(path: Path) -> bytes:
    """Return what a file holds; nothing where there is no regular file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise InputError(
            f"{printable(str(path))!r} cannot be read: {error.strerror}.", hint="Name another file."
        ) from error


def write(path: Path, text: str) -> None:
    """Write a file whole: what was there before stays until everything is on the disk.

    Raises:
        InputError: It cannot be written; nothing is lost.
    """
    try:
        atomicfile.write(path, text.encode())
    except OSError as error:
        raise InputError(
            f"{printable(str(path))!r} cannot be written: {error.strerror}.", hint="Name another file."
        ) from error
