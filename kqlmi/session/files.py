"""Files that are written whole."""

import os
from pathlib import Path

from kqlmi.errors import InputError


def write(path: Path, text: str) -> None:
    """Write a file whole: what was there before stays until everything is on the disk.

    Raises:
        InputError: It cannot be written; nothing is lost.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"{str(path)!r} cannot be written: {error.strerror}.", hint="Name another file.") from error
