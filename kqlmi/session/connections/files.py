"""Reading and writing the files that the user specifies, with errors that name the file."""

from pathlib import Path

from kqlmi import atomicfile
from kqlmi.errors import InputError, printable


def read(path: Path) -> bytes:
    """Return the contents of a file, or nothing if it is not a regular file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise InputError(
            f"Cannot read {printable(str(path))!r}: {error.strerror}.", hint="Specify another file."
        ) from error


def write(path: Path, text: str) -> None:
    """Write a file atomically: the previous contents stay until the new contents are on the disk.

    Raises:
        InputError: The file cannot be written. The previous contents are kept.
    """
    try:
        atomicfile.write(path, text.encode())
    except OSError as error:
        raise InputError(
            f"Cannot write {printable(str(path))!r}: {error.strerror}.", hint="Specify another file."
        ) from error
