"""A cluster's state kept in a folder: written as a whole after each change, so that a kill leaves the old or the new."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import IO, Any

from kqlmi import atomicfile
from kqlmi.errors import InputError
from kqlmi.local.activity import Change, ExportRuns, IngestionFailure
from kqlmi.local.azureroles import AzureRoles
from kqlmi.local.callouts import Callouts
from kqlmi.local.entities import DataConnection, IngestionJob, Report
from kqlmi.local.identities import Identity
from kqlmi.local.policies import Policy
from kqlmi.local.state import Database, State
from kqlmi.local.storage import Storage

_FORMAT = 1
_FILE = "state.json"


@dataclasses.dataclass(frozen=True)
class Saved:
    """What of a state outlives the process; tokens do not."""

    id: str
    identities: tuple[Identity, ...]
    usages: tuple[str, ...]
    policy: Policy | None
    callouts: Callouts | None
    databases: Mapping[str, Database]
    storage: Storage
    azure_roles: AzureRoles
    plugins: frozenset[str]
    user_assigned: Mapping[str, Identity]
    hubs: Mapping[tuple[str, str], tuple[str, ...]]
    connections: Mapping[tuple[str, str], DataConnection]
    jobs: tuple[IngestionJob, ...]
    export_runs: Mapping[tuple[str, str], ExportRuns]
    ingestion_failures: tuple[IngestionFailure, ...]
    journal: tuple[Change, ...]
    reports: Mapping[str, tuple[Report, ...]] = dataclasses.field(default_factory=dict)


_NAMES = tuple(one.name for one in dataclasses.fields(Saved))


class Store:
    """A folder that one cluster at a time keeps its state in."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made if it is not there."""
        self.folder = folder
        self._written: Saved | None = None
        self._lock = Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._held = (folder / "lock").open("a")
            _take(self._held, folder)
            atomicfile.remove_drafts(folder / _FILE)
        except OSError as error:
            raise InputError(
                f"The folder {folder} cannot be used: {error.strerror}.", hint="Choose another."
            ) from error

    @property
    def exists(self) -> bool:
        """Whether a state is kept here."""
        return (self.folder / _FILE).exists()

    def restore(self, state: State) -> None:
        """Give a state what is kept."""
        try:
            content = json.loads((self.folder / _FILE).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise InputError(
                    f"The state in {self.folder} has the format {content['format']}.",
                    hint="Use the version that wrote it.",
                )
            self._written = _decode(Saved, content["state"])
        except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
            raise InputError(f"The state in {self.folder} cannot be read.", hint="Nothing was changed.") from error
        for name in _NAMES:
            setattr(state, name, getattr(self._written, name))

    def save(self, state: State) -> None:
        """Keep a state, unless it is what was kept last; when this returns, it survives."""
        with self._lock:
            with state.lock:
                saved = Saved(**{name: getattr(state, name) for name in _NAMES})
            if self._written is not None and all(getattr(saved, one) is getattr(self._written, one) for one in _NAMES):
                return
            text = json.dumps({"format": _FORMAT, "state": _encode(Saved, saved)}, ensure_ascii=False)
            # Only for whoever started the cluster: it holds what is hidden elsewhere.
            atomicfile.write(self.folder / _FILE, text.encode(), private=True)
            self._written = saved

    def close(self) -> None:
        """Let another cluster take the folder."""
        self._held.close()


def _take(held: IO[str], folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise InputError(f"Another local cluster keeps its state in {folder}.", hint="Stop it first.") from error


def _encode(hint: Any, value: Any) -> Any:
    """Give a value as JSON has it, by its type; ``Any`` is JSON already, with decimals in an object of their own."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if value is None or hint in {str, int, bool, float}:
        return value
    if hint is Any:
        return _plain(value)
    if origin in {types.UnionType, typing.Union}:
        return _encode(next(one for one in arguments if one is not types.NoneType), value)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return {one.name: _encode(hints[one.name], getattr(value, one.name)) for one in dataclasses.fields(hint)}
    return _encode_several(origin, arguments, value)


def _encode_several(origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    if origin is Mapping:
        return [[_encode(arguments[0], name), _encode(arguments[1], held)] for name, held in value.items()]
    if origin in {tuple, frozenset}:
        inner = _inner(arguments, len(value))
        return [_encode(one, held) for one, held in zip(inner, value, strict=True)]
    return str(value)


def _decode(hint: Any, data: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if data is None or hint in {str, int, bool, float}:
        return data
    if hint is Any:
        return _restored(data)
    if origin in {types.UnionType, typing.Union}:
        return _decode(next(one for one in arguments if one is not types.NoneType), data)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return typing.cast("type", hint)(**{name: _decode(hints[name], held) for name, held in data.items()})
    if hint is Path or (isinstance(hint, type) and issubclass(hint, StrEnum)):
        return hint(data)
    return _decode_several(origin, arguments, data)


def _decode_several(origin: Any, arguments: tuple[Any, ...], data: Any) -> Any:
    if origin is Mapping:
        return {_decode(arguments[0], name): _decode(arguments[1], held) for name, held in data}
    if origin in {tuple, frozenset}:
        return origin(_decode(one, held) for one, held in zip(_inner(arguments, len(data)), data, strict=True))
    raise TypeError(f"no value of the type {origin} is kept")


def _inner(arguments: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return (arguments[0],) * count if len(arguments) == 1 or arguments[-1] is Ellipsis else arguments


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, Mapping) and any(str(name).startswith("$") for name in value):
        return {"$object": [[name, _plain(held)] for name, held in value.items()]}
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list | tuple) else value


def _restored(data: Any) -> Any:
    if isinstance(data, dict):
        if "$decimal" in data:
            return Decimal(data["$decimal"])
        pairs = data["$object"] if "$object" in data else data.items()
        return {name: _restored(held) for name, held in pairs}
    return [_restored(held) for held in data] if isinstance(data, list) else data
