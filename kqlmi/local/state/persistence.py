"""The persistence of a cluster's state in a folder, where each change is one atomic transaction."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

from kqlmi.errors import InputError
from kqlmi.local.state.cells import Cells
from kqlmi.local.state.state import Database, State, World
from kqlmi.local.values.tables import Table

_FORMAT: Final = 1
_FILE: Final = "state.db"
# The exceptions that reading a damaged or foreign file may raise.
_UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    sqlite3.Error,
)


class Store:
    """A folder in which one cluster at a time keeps its state; only the owner can read its files."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder, and create it if it does not exist."""
        self.folder = folder
        self._written: World | None = None
        self._lock = Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite creates its other files with the mode of this one. An existing file is not opened here: closing it
            # would release the lock of another cluster in this process.
            with suppress(FileExistsError):
                os.close(os.open(folder / _FILE, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            what = f"The folder {folder} cannot be used: {error.strerror}."
            raise InputError(what, hint="Use another folder.") from error
        with self._explained():
            self._connection = sqlite3.connect(folder / _FILE, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._take()
        except BaseException:
            self._connection.close()
            raise

    def _take(self) -> None:
        """Lock the file, and raise if it is in another format."""
        self._cells = self._new_cells()
        with self._explained():
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            [found] = self._connection.execute("PRAGMA user_version").fetchone()
            self.exists = bool(self._connection.execute("SELECT * FROM sqlite_master").fetchall())
            if self.exists and found != _FORMAT:
                what = f"The state in {self.folder} has the unsupported format {found}."
                raise InputError(what, hint="Use the version of kqlmi that wrote it.")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._transaction():  # takes the lock
                pass

    def _new_cells(self) -> Cells:
        return Cells(self._connection, World, frozenset({World, Database, Table}))

    def restore(self, state: State) -> None:
        """Restore a state from the folder."""
        with self._explained():
            state.world = self._written = self._cells.read()

    def save(self, state: State) -> None:
        """Save a state, unless it is the one last saved; it is on disk when this returns.

        Raises:
            OSError: The state could not be written, for example to a full disk. The next call writes all of it.
        """
        with self._lock:
            with state.lock:  # so that a change in several steps is saved whole
                world = state.world
            if world is self._written:
                return
            try:
                with self._transaction():
                    if not self.exists:
                        self._cells.create()
                        self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
                    self._cells.write(world)
            except sqlite3.Error as error:
                raise OSError(f"Cannot write the state in {self.folder}: {error}") from error
            self._written, self.exists = world, True

    def close(self) -> None:
        """Release the folder for another cluster."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.rollback()
            self._cells = self._new_cells()
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _UNREADABLE as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                what, hint = f"Another local cluster keeps its state in {self.folder}.", "Stop it first."
            else:
                what, hint = f"Cannot read the state in {self.folder}.", "Nothing was changed."
            raise InputError(what, hint=hint) from error
