"""Constant expressions of a query, whose string values can be determined without running it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.payloads import leaves, pieces
from kqlmi.model.kql.source_map import Mapped, Text

# Anything longer or deeper counts as unknown. No connection string is that long, and the cost must stay linear.
_MAX_PIECES: Final = 256
_MAX_DEPTH: Final = 32
_NO_STRING: Final = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """The strings of an array or a property bag, each with the name of its property, which may be empty."""

    leaves: tuple[tuple[str, Text], ...] = ()


Value = Text | Bag


@dataclass(slots=True)
class Names:
    """The values bound by ``let``, by name, as scoped by braces; None marks a parameter, which hides an outer value."""

    bound: dict[str, Value | None] = field(default_factory=dict)
    _outer: list[dict[str, Value | None]] = field(default_factory=lambda: [{}])

    def bind(self, name: str, value: Value | None) -> None:
        """Bind a name until the current brace closes."""
        self._outer[-1].setdefault(name, self.bound.get(name))
        self.bound[name] = value

    def enter(self) -> None:
        """Enter the scope of an opening brace."""
        self._outer.append({})

    def leave(self) -> None:
        """Leave the scope at a closing brace, and restore the outer bindings."""
        if len(self._outer) > 1:
            self.bound |= self._outer.pop()


def value_of(nest: Nest, start: int, end: int, names: Mapping[str, Value | None], depth: int = 0) -> Value:
    """Return the value of the expression from ``start`` to ``end``; it is unknown unless the expression is constant."""
    if start >= end or depth > _MAX_DEPTH:
        return nest.unknown(start, end) if start < end else Bag()
    if all(nest.is_literal(place) for place in range(start, end)):
        return _joined(nest, [Text((nest.literal(place),)) for place in range(start, end)], start, end)
    if (name := name_at(nest, start, end)) is not None:
        none = name in _NO_STRING or name.isdecimal()
        return Bag() if none else names.get(name) or nest.unknown(start, end)
    if nest.at(start) == "(" and nest.closes(start, end):
        return value_of(nest, start + 1, end - 1, names, depth + 1)
    if nest.at(start + 1) == "(" and nest.closes(start + 1, end):
        return _call(nest, start, end, names, depth + 1)
    return nest.unknown(start, end)


def _call(nest: Nest, start: int, end: int, names: Mapping[str, Value | None], depth: int) -> Value:
    function = nest.at(start)
    if function == "dynamic":
        return Bag(leaves(pieces(nest.source, nest.tokens[start + 2 : end - 1])))
    values = [value_of(nest, first, last, names, depth) for first, last in nest.arguments(start + 1)]
    if function == "strcat":
        return _joined(nest, values, start, end)
    if function == "tostring" and len(values) == 1:
        return values[0]
    if function in {"bag_pack", "pack", "pack_dictionary"}:
        pairs = zip(values[::2], values[1::2], strict=False)
        return _packed(nest, ((k.value if isinstance(k, Text) else "", v) for k, v in pairs), start, end)
    if function == "pack_array":
        return _packed(nest, (("", item) for item in values), start, end)
    return nest.unknown(start, end)


def _joined(nest: Nest, values: Iterable[Value], start: int, end: int) -> Text:
    found: list[Mapped] = []
    for item in values:
        if isinstance(item, Bag) or len(found) + len(item.pieces) > _MAX_PIECES:
            return nest.unknown(start, end)
        found += item.pieces
    return Text(tuple(found))


def _packed(nest: Nest, items: Iterable[tuple[str, Value]], start: int, end: int) -> Value:
    found: list[tuple[str, Text]] = []
    for name, item in items:
        inner = item.leaves if isinstance(item, Bag) else (("", item),)
        if len(found) + len(inner) > _MAX_PIECES:
            return nest.unknown(start, end)
        found += ((own or name, text) for own, text in inner)
    return Bag(tuple(found))


def name_at(nest: Nest, start: int, end: int) -> str | None:
    """Return the name from ``start`` to ``end``, a word or literals in brackets, or None if it is not a name."""
    if start < len(nest.tokens) and end == start + 1 and nest.tokens[start].kind == "word":
        return nest.at(start)
    if end > start + 2 and nest.at(start) == "[" and all(map(nest.is_literal, range(start + 1, end - 1))):
        return nest.literals(start + 1).value if nest.at(end - 1) == "]" else None
    return None


def bind(nest: Nest, names: Names, let: int) -> None:
    """Bind the name that follows the word ``let`` at an index, if there is one."""
    equals = let + 2 if nest.at(let + 1) != "[" else let + 4
    name = name_at(nest, let + 1, equals)
    if name is None or nest.at(equals) != "=":
        return
    end = next((place for place in nest.direct(equals + 1) if nest.at(place) in {";", ")", "]", "}"}), len(nest.tokens))
    names.bind(name, value_of(nest, equals + 1, end, names.bound))


def parameters(nest: Nest, brace: int) -> Iterator[str]:
    """Yield the parameter names of the function whose body opens at ``brace``."""
    opener = nest.partner.get(brace - 1, brace) if nest.at(brace - 1) == ")" else brace
    yield from (nest.at(place) for place in nest.direct(opener + 1, brace - 1) if nest.at(place + 1) == ":")
