"""Storage of a value in SQLite as small cells of JSON, so that a change writes only the cells that changed.

A mapping has a cell for each entry, a tuple one for each element, and some dataclasses one for each field; any other
value is one cell. The place of a cell is the path to it: JSON values, joined by line breaks. A part that is the same
object as the one last written has not changed.
"""

import json
import typing
from collections.abc import Mapping
from itertools import chain, compress, repeat
from operator import is_not
from sqlite3 import Connection
from typing import Any, Final

from kqlmi.local.values import typed_json

_CREATE: Final = """CREATE TABLE cell (place TEXT, number INTEGER, born INTEGER, value TEXT, PRIMARY KEY (place, number))
    WITHOUT ROWID"""
_PUT: Final = "INSERT INTO cell VALUES (?, ?, ?, ?) ON CONFLICT (place, number) DO UPDATE SET value = excluded.value"
# No JSON text contains a line break (10), and 11 is the next character.
_DROP: Final = "DELETE FROM cell WHERE place = ?1 OR place >= ?1 || char(10) AND place < ?1 || char(11)"
_WHOLE: Final = -1
_NOTHING: Final = object()


class Cells:
    """The cells of one value; ``parted`` are the dataclasses that are stored field by field."""

    def __init__(self, connection: Connection, kind: type, parted: frozenset[type]) -> None:
        """Take a connection in autocommit mode, and the type of the value."""
        self._connection, self._kind, self._parted = connection, kind, parted
        self._kept: Any = _NOTHING
        self._born = 0
        self._firsts: dict[str, int] = {}  # the number of a tuple's first element, after earlier ones were dropped

    def create(self) -> None:
        """Create the table; the caller commits it with the first value."""
        self._connection.execute(_CREATE)

    def read(self) -> Any:
        """Return the stored value."""
        wholes: dict[str, str] = {}
        names: dict[str, list[str]] = {}
        elements: dict[str, list[str]] = {}
        for place, number, born, text in self._connection.execute("SELECT * FROM cell ORDER BY born, place, number"):
            if number == _WHOLE:
                self._born = born
                wholes[place] = text
                above, _, name = place.rpartition("\n")
                names.setdefault(above, []).append(name)
            else:
                self._firsts.setdefault(place, number)
                elements.setdefault(place, []).append(text)

        def read(kind: Any, place: str) -> Any:
            if kind in self._parted:
                return kind(**{name: read(one, _under(place, name)) for name, one in typed_json.fields(kind).items()})
            inner = typing.get_args(kind)
            if typing.get_origin(kind) is Mapping:
                entries = {name: f"{place}\n{name}" for name in names.get(place, ())}
                return {
                    typed_json.decode(inner[0], json.loads(name)): read(inner[1], entries[name]) for name in entries
                }
            if _is_sequence(kind):
                return tuple(typed_json.decode(inner[0], json.loads(text)) for text in elements.get(place, ()))
            return typed_json.decode(kind, json.loads(wholes[place]))

        self._kept = read(self._kind, "")
        return self._kept

    def write(self, value: Any) -> None:
        """Store a value instead of the one last read or written; if there was neither, replace everything."""
        if self._kept is _NOTHING:
            self._connection.execute("DELETE FROM cell")
        self._write(self._kind, "", self._kept, value)
        self._kept = value

    def _write(self, kind: Any, place: str, old: Any, new: Any) -> None:
        if new is old:
            return
        if kind in self._parted:
            for name, one in typed_json.fields(kind).items():
                self._write(one, _under(place, name), getattr(old, name, _NOTHING), getattr(new, name))
        elif typing.get_origin(kind) is Mapping:
            self._write_entries(kind, place, {} if old is _NOTHING else old, new)
        elif _is_sequence(kind):
            self._write_elements(kind, place, () if old is _NOTHING else old, new)
        else:
            self._put(place, _WHOLE, kind, new)

    def _write_entries(self, kind: Any, place: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> None:
        keys, values = typing.get_args(kind)

        def at(name: Any) -> str:
            return _under(place, typed_json.encode(keys, name))

        order = list(new)
        if list(old) != order:
            stay = [name for name in old if name in new]
            if stay != order[: len(stay)]:  # an entry has moved, but entries are read in the order of their creation
                stay = []
            for name in old.keys() - set(stay):
                self._connection.execute(_DROP, [at(name)])
            old = {name: old[name] for name in stay}
            for name in order[len(stay) :]:
                self._put(at(name), _WHOLE, None, None)
        # The entries that stay precede the new ones, in the same order.
        for name in compress(new, map(is_not, new.values(), chain(old.values(), repeat(_NOTHING)))):
            self._write(values, at(name), old.get(name, _NOTHING), new[name])

    def _write_elements(self, kind: Any, place: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
        gone = next((at for at, one in enumerate(old) if one is new[0]), 0) if new else 0
        first = self._firsts[place] = self._firsts.get(place, 0) + gone
        old = old[gone:]
        if gone or len(new) < len(old):
            outside = "DELETE FROM cell WHERE place = ? AND number >= 0 AND number NOT BETWEEN ? AND ?"
            self._connection.execute(outside, [place, first, first + len(new) - 1])
        changed = compress(range(len(old)), map(is_not, new, old))
        for at in chain(changed, range(len(old), len(new))):
            self._put(place, first + at, typing.get_args(kind)[0], new[at])

    def _put(self, place: str, number: int, kind: Any, value: Any) -> None:
        self._born += number == _WHOLE
        born = self._born if number == _WHOLE else 0
        self._connection.execute(_PUT, (place, number, born, json.dumps(typed_json.encode(kind, value))))


def _under(place: str, name: Any) -> str:
    return f"{place}\n{json.dumps(name)}"


def _is_sequence(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1] is Ellipsis
