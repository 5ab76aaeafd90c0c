"""A cluster's state kept in a folder: each change is one transaction, so that a kill leaves the old or the new."""

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
# What reading something else than a state may raise.
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
    """A folder that one cluster at a time keeps its state in; only its owner may read what is written there."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made if it is not there."""
        self.folder = folder
        self._written: World | None = None
        self._lock = Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives the mode of this file to those that it adds. One that is there is not opened here: closing it
            # would let go of the lock of another cluster in this process.
            with suppress(FileExistsError):
                os.close(os.open(folder / _FILE, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            what = f"The folder {folder} cannot be used: {error.strerror}."
            raise InputError(what, hint="Choose another.") from error
        with self._explained():
            self._connection = sqlite3.connect(folder / _FILE, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._take()
        except BaseException:
            self._connection.close()
            raise

    def _take(self) -> None:
        """Lock the file, and refuse one that holds something else."""
        self._cells = self._new_cells()
        with self._explained():
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            [found] = self._connection.execute("PRAGMA user_version").fetchone()
            self.exists = bool(self._connection.execute("SELECT * FROM sqlite_master").fetchall())
            if self.exists and found != _FORMAT:
                what = f"The state in {self.folder} has the format {found}."
                raise InputError(what, hint="Use the version that wrote it.")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._transaction():  # which takes the lock
                pass

    def _new_cells(self) -> Cells:
        return Cells(self._connection, World, frozenset({World, Database, Table}))

    def restore(self, state: State) -> None:
        """Restore a state from what is kept."""
        with self._explained():
            state.world = self._written = self._cells.read()

    def save(self, state: State) -> None:
        """Keep a state, unless it is what was kept last; when this returns, it survives.

        Raises:
            OSError: The state could not be written, such as to a full disk. The next call writes all of it.
        """
        with self._lock:
            with state.lock:  # no change of several steps is kept by halves
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
                raise OSError(f"the state in {self.folder} could not be written: {error}") from error
            self._written, self.exists = world, True

    def close(self) -> None:
        """Let another cluster take the folder."""
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
                what, hint = f"The state in {self.folder} cannot be read.", "Nothing was changed."
            raise InputError(what, hint=hint) from error
