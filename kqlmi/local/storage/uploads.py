"""The files that clients upload; a name is looked up among the known uploads, and never becomes part of a path."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from kqlmi import atomicfile
from kqlmi.local.state.state import State
from kqlmi.local.storage import files, formats
from kqlmi.local.values.faults import KustoError, bad_request, http_error
from kqlmi.local.values.tables import Column, Table

_NAME: Final = re.compile(r"[A-Za-z0-9_][\w.-]{0,1023}", re.ASCII)
_OWN: Final = re.compile(r"\.?[0-9a-f]{64}(\.gz)?(\.[0-9a-f]{8}\.new)?")


class Uploads:
    """The uploaded files of a cluster, in their own folder; their names are part of the state."""

    def __init__(self, state: State, folder: Path) -> None:
        """Create the folder, and remove files that a killed process has left in it."""
        self._state, self._folder = state, folder.resolve()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        known = set(map(_file, state.world.uploads))
        for found in self._folder.iterdir():
            if found.name not in known and _OWN.fullmatch(found.name):  # the folder may contain unrelated files
                found.unlink()
        self._forgotten: set[str] = set()

    def take(self, name: str, content: bytes, *, replaces: bool) -> None:
        """Store an upload; an existing one is replaced only if ``replaces`` is true."""
        if not _NAME.fullmatch(name):
            raise http_error(
                400, "InvalidInput", "The name of a blob must consist of letters, digits, '.', '_' and '-'."
            )
        state = self._state
        with state.lock:
            if name in state.world.uploads and not replaces:
                raise http_error(409, "BlobAlreadyExists", "The blob already exists.")
            state.change(lambda w: replace(w, uploads=w.uploads | {name}))
        atomicfile.write(self._folder / _file(name), content, private=True)

    def read(self, name: str, given: str, columns: tuple[Column, ...], *, skips_first: bool) -> Table:
        """Return the rows of an upload; by default, the extension of its name determines the format."""
        if name not in self._state.world.uploads:
            raise bad_request(f"there is no such blob (the upload '{name}')")
        file = _file(name)
        try:
            return files.read(self._folder, file, formats.format_of(name, given), columns, skips_first=skips_first)
        except KustoError as error:
            detail = error.detail.replace(file, name)
            raise KustoError(error.status, error.code, error.type_name, detail) from error

    def forget(self, name: str) -> None:
        """Remove an upload from the state; its file remains until ``sweep``."""
        with self._state.lock:
            if name in self._state.world.uploads:
                self._state.change(lambda w: replace(w, uploads=w.uploads - {name}))
                self._forgotten.add(name)

    def sweep(self) -> None:
        """Delete the files of forgotten uploads; call it after the state without them has been saved."""
        with self._state.lock:
            for name in self._forgotten - self._state.world.uploads:
                (self._folder / _file(name)).unlink(missing_ok=True)
            self._forgotten.clear()


def _file(name: str) -> str:
    """Return the name of an upload's file, which is valid on every file system and keeps ``.gz`` for reading."""
    return hashlib.sha256(name.encode()).hexdigest() + (".gz" if name.lower().endswith(".gz") else "")
