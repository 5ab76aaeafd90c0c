"""Text that knows where each of its characters stands in the text that it was read from."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from kqlmi.errors import InputError
from kqlmi.model.kql.tokenizer import Token, literal_value, whole_characters

UNKNOWN: Final = "\ufdd0"
"""Stands for whatever cannot be told from the text: a noncharacter, which no text has a use for."""

_QUOTE = re.compile(r"[hH]?(?P<quote>```|~~~|@'|@\"|'|\")")
_DOUBLED = {quote: re.compile(f"{quote}{quote}|.", re.DOTALL) for quote in "'\""}
_ESCAPED = re.compile(
    r"\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|[0-7]{1,2}|.)|[^\\]", re.DOTALL
)
_JSON_ESCAPED = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|.)|.", re.DOTALL)
_JSON_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """A run of characters; ``starts`` and ``ends`` are the offsets of what each was written as."""

    value: str
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def whole(cls, text: str) -> Self:
        """Give a text that stands for itself."""
        return cls(text, range(len(text)), range(1, len(text) + 1))

    @classmethod
    def unknown(cls, start: int, end: int) -> Self:
        """Give what cannot be told, and the offsets where that is written."""
        return cls(UNKNOWN, (start,), (end,))

    def part(self, start: int, end: int) -> Self:
        """Give the characters from ``start`` to ``end``."""
        return type(self)(self.value[start:end], self.starts[start:end], self.ends[start:end])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Give the offsets of what the characters from ``start`` to ``end`` were written as."""
        return (self.starts[start], self.ends[end - 1]) if start < end else (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """The value of a string expression: its pieces in order, each from one literal or unknown."""

    pieces: tuple[Mapped, ...]

    @property
    def value(self) -> str:
        """Give the characters of all pieces."""
        return "".join(piece.value for piece in self.pieces)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Give the offsets of a part; of one that goes over several literals, what stands in the first of them."""
        for piece in self.pieces:
            if start < len(piece.value):
                return piece.span(start, min(end, len(piece.value)))
            start, end = start - len(piece.value), end - len(piece.value)
        return 0, 0


def literal(source: Mapped, token: Token) -> Mapped:
    """Give the value of a string literal of ``source``; of one with an unknown escape, what stands before that."""
    match = _QUOTE.match(token.text)
    if match is None:
        return Mapped("", (), ())
    quote = match["quote"]
    start = token.start + match.end()
    body = source.part(start, max(start, token.end - (3 if quote in {"```", "~~~"} else 1)))
    if quote.startswith("@") and quote[1] in body.value:
        return _decoded(body, ((unit, unit[0][0]) for unit in _DOUBLED[quote[1]].finditer(body.value)))
    if quote in {"'", '"'} and "\\" in body.value:
        return _decoded(body, ((unit, _unescaped(unit[0])) for unit in _ESCAPED.finditer(body.value)))
    return body


def literal_text(token: Token) -> str:
    """Give the value of a string literal where its place is of no interest."""
    return literal(Mapped.whole(token.text), replace(token, start=0)).value


def json_string(body: Mapped) -> Mapped:
    """Give the value of what stands between the quotes of a JSON string."""
    if "\\" not in body.value:
        return body
    return _decoded(body, ((unit, _json_unescaped(unit[0])) for unit in _JSON_ESCAPED.finditer(body.value)))


def _decoded(body: Mapped, units: Iterable[tuple[re.Match[str], str | None]]) -> Mapped:
    """Return one character for each unit of ``body``, or for two that are a surrogate pair, up to the first that has none."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for unit, char in units:
        if char is None:
            break
        if chars and "\udc00" <= char <= "\udfff" and len(pair := whole_characters(chars[-1] + char)) == 1:
            chars[-1], ends[-1] = pair, body.ends[unit.end() - 1]
            continue
        chars.append(char)
        starts.append(body.starts[unit.start()])
        ends.append(body.ends[unit.end() - 1])
    return Mapped("".join(chars), starts, ends)


def _unescaped(unit: str) -> str | None:
    if len(unit) == 1:
        return unit
    try:
        return literal_value(f"'{unit}'")
    except InputError:
        return None


def _json_unescaped(unit: str) -> str:
    if len(unit) == 1:
        return unit
    digits = unit.removeprefix("\\u")
    return chr(int(digits, 16)) if len(digits) == len("0041") else _JSON_SHORT.get(unit[1], unit[1])
