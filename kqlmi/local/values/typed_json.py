"""The JSON form of typed values: dataclasses, mappings, tuples, sets and enumerations."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

_JSON: Final = frozenset({str, int, bool, float, Any})


@cache
def fields(kind: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields, by name."""
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def encode(kind: Any, value: Any) -> Any:
    """Return the JSON form of a value of the given type; ``Any`` is already JSON, except for decimals, which become objects."""
    kind, origin, arguments = _parts(kind)
    if value is None or kind in _JSON:
        return _plain(value)
    if dataclasses.is_dataclass(kind):
        return {name: encode(one, getattr(value, name)) for name, one in fields(typing.cast("type", kind)).items()}
    if origin is Mapping:
        return [[encode(arguments[0], name), encode(arguments[1], item)] for name, item in value.items()]
    if origin in {tuple, frozenset}:
        return [encode(one, item) for one, item in zip(_inner(arguments, len(value)), value, strict=True)]
    return str(value)


def decode(kind: Any, data: Any) -> Any:
    """Return the value of the given type from its JSON form."""
    kind, origin, arguments = _parts(kind)
    if data is None or kind in _JSON:
        return _restored(data)
    if dataclasses.is_dataclass(kind):
        hints = fields(typing.cast("type", kind))
        return typing.cast("type", kind)(**{name: decode(hints[name], item) for name, item in data.items()})
    if kind is Path or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return kind(data)
    if origin is Mapping:
        return {decode(arguments[0], name): decode(arguments[1], item) for name, item in data}
    if origin in {tuple, frozenset}:
        return origin(decode(one, item) for one, item in zip(_inner(arguments, len(data)), data, strict=True))
    raise TypeError(f"values of type {kind} cannot be read from JSON")


@cache
def _parts(kind: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return a type, without None if it is optional, with its origin and arguments."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    return kind, typing.get_origin(kind), typing.get_args(kind)


def _inner(arguments: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return (arguments[0],) * count if len(arguments) == 1 or arguments[-1] is Ellipsis else arguments


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, Mapping) and any(str(name).startswith("$") for name in value):
        return {"$object": [[name, _plain(item)] for name, item in value.items()]}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _restored(data: Any) -> Any:
    if isinstance(data, dict):
        if "$decimal" in data:
            return Decimal(data["$decimal"])
        pairs = data["$object"] if "$object" in data else data.items()
        return {name: _restored(item) for name, item in pairs}
    return [_restored(item) for item in data] if isinstance(data, list) else data
