"""Constant expressions of a query: their strings, where the text alone tells them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.payloads import leaves, pieces
from kqlmi.model.kql.source_map import Mapped, Text, literal, literal_text

# What is longer or deeper is not told: no connection string is, and a text must not cost more than its length.
_MAX_PIECES: Final = 256
_MAX_DEPTH: Final = 32
_NO_STRING: Final = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """The strings of an array or a property bag, each with the name of the property it stands in, or in no one's."""

    leaves: tuple[tuple[str, Text], ...] = ()


Value = Text | Bag


@dataclass(slots=True)
class Names:
    """The values that ``let`` has bound so far, by name, as the braces around them allow; None hides what a name meant."""

    bound: dict[str, Value | None] = field(default_factory=dict)
    _outer: list[dict[str, Value | None]] = field(default_factory=lambda: [{}])

    def bind(self, name: str, value: Value | None) -> None:
        """Bind a name until the brace that is open closes."""
        self._outer[-1].setdefault(name, self.bound.get(name))
        self.bound[name] = value

    def enter(self) -> None:
        """Go behind an opening brace."""
        self._outer.append({})

    def leave(self) -> None:
        """Go behind a closing brace, where names mean again what they meant before."""
        if len(self._outer) > 1:
            self.bound |= self._outer.pop()


@dataclass(frozen=True, slots=True)
class Expressions:
    """The expressions of a text: what each is worth where only literals, names and a few functions make it up."""

    source: Mapped
    nest: Nest

    def unknown(self, start: int, end: int) -> Text:
        """Return what cannot be told: the expression from ``start`` to ``end``."""
        tokens = self.nest.tokens
        return Text((Mapped.unknown(*self.source.span(tokens[start].start, tokens[end - 1].end)),))

    def value(self, start: int, end: int, names: Mapping[str, Value | None], depth: int = 0) -> Value:
        """Return the value of the expression from ``start`` to ``end``; unknown unless it is constant."""
        nest = self.nest
        if start >= end or depth > _MAX_DEPTH:
            return self.unknown(start, end) if start < end else Bag()
        if all(nest.is_literal(place) for place in range(start, end)):
            return self._joined([Text((literal(self.source, token),)) for token in nest.tokens[start:end]], start, end)
        if (name := name_at(nest, start, end)) is not None:
            none = name in _NO_STRING or name.isdecimal()
            return Bag() if none else names.get(name) or self.unknown(start, end)
        if nest.at(start) == "(" and nest.closes(start, end):
            return self.value(start + 1, end - 1, names, depth + 1)
        if nest.at(start + 1) == "(" and nest.closes(start + 1, end):
            return self._call(start, end, names, depth + 1)
        return self.unknown(start, end)

    def _call(self, start: int, end: int, names: Mapping[str, Value | None], depth: int) -> Value:
        function = self.nest.at(start)
        if function == "dynamic":
            return Bag(leaves(pieces(self.source, self.nest.tokens[start + 2 : end - 1])))
        values = [self.value(first, last, names, depth) for first, last in self.nest.arguments(start + 1)]
        if function == "strcat":
            return self._joined(values, start, end)
        if function == "tostring" and len(values) == 1:
            return values[0]
        if function in {"bag_pack", "pack", "pack_dictionary"}:
            pairs = zip(values[::2], values[1::2], strict=False)
            return self._packed(((k.value if isinstance(k, Text) else "", v) for k, v in pairs), start, end)
        if function == "pack_array":
            return self._packed((("", value) for value in values), start, end)
        return self.unknown(start, end)

    def _joined(self, values: Iterable[Value], start: int, end: int) -> Text:
        found: list[Mapped] = []
        for value in values:
            if isinstance(value, Bag) or len(found) + len(value.pieces) > _MAX_PIECES:
                return self.unknown(start, end)
            found += value.pieces
        return Text(tuple(found))

    def _packed(self, items: Iterable[tuple[str, Value]], start: int, end: int) -> Value:
        found: list[tuple[str, Text]] = []
        for name, value in items:
            inner = value.leaves if isinstance(value, Bag) else (("", value),)
            if len(found) + len(inner) > _MAX_PIECES:
                return self.unknown(start, end)
            found += ((own or name, text) for own, text in inner)
        return Bag(tuple(found))


def name_at(nest: Nest, start: int, end: int) -> str | None:
    """Return the name that stands from ``start`` to ``end``: a word, or a literal in brackets."""
    if start < len(nest.tokens) and end == start + 1 and nest.tokens[start].kind == "word":
        return nest.at(start)
    if end == start + 3 and nest.at(start) == "[" and nest.is_literal(start + 1) and nest.at(start + 2) == "]":
        return literal_text(nest.tokens[start + 1])
    return None


def bind(expressions: Expressions, names: Names, let: int) -> None:
    """Bind the name behind the word ``let`` at a place, if one stands there."""
    nest = expressions.nest
    equals = let + 2 if nest.at(let + 1) != "[" else let + 4
    name = name_at(nest, let + 1, equals)
    if name is None or nest.at(equals) != "=":
        return
    end = next((place for place in nest.direct(equals + 1) if nest.at(place) in {";", ")", "]", "}"}), len(nest.tokens))
    value = expressions.value(equals + 1, end, names.bound)
    names.bind(name, value)


def parameters(nest: Nest, brace: int) -> Iterator[str]:
    """Yield the names of the parameters of the function whose body opens at ``brace``."""
    opener = nest.partner.get(brace - 1, brace) if nest.at(brace - 1) == ")" else brace
    yield from (nest.at(place) for place in nest.direct(opener + 1, brace - 1) if nest.at(place + 1) == ":")
