"""The values of literals, with the source offsets of each character."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Self

from kqlmi.errors import InputError
from kqlmi.model.kql.tokenizer import Token

UNKNOWN: Final = "\ufdd0"
"""The placeholder for a value that is known only at run time: a noncharacter, which real text does not contain."""

# One character as written in a literal or a JSON string.
_ESCAPED = re.compile(
    r"\\(?:u(?P<u4>[0-9A-Fa-f]{4})|U(?P<u8>[0-9A-Fa-f]{8})|x(?P<x>[0-9A-Fa-f]{2})|(?P<octal>[0-3][0-7]{2}|[0-7]{1,2})|.)|.",
    re.DOTALL,
)
_JSON_ESCAPED = re.compile(r"\\(?:u(?P<u4>[0-9A-Fa-f]{4})|.)|.", re.DOTALL)
DOUBLED = {quote: re.compile(f"{quote}{quote}|.", re.DOTALL) for quote in "'\""}
_JSON_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SHORT: Final = _JSON_SHORT | {"a": "\a", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """A run of characters; ``starts`` and ``ends`` are the source offsets at which each is written."""

    value: str
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def whole(cls, text: str) -> Self:
        """Return a string in which each character maps to its own offset."""
        return cls(text, range(len(text)), range(1, len(text) + 1))

    @classmethod
    def placed(cls, text: str, start: int, end: int) -> Self:
        """Return a string in which each character maps to the source from ``start`` to ``end``."""
        return cls(text, (start,) * len(text), (end,) * len(text))

    @classmethod
    def unknown(cls, start: int, end: int) -> Self:
        """Return an unknown value that is written from ``start`` to ``end``."""
        return cls(UNKNOWN, (start,), (end,))

    def part(self, start: int, end: int) -> Self:
        """Return the characters from ``start`` to ``end``."""
        return type(self)(self.value[start:end], self.starts[start:end], self.ends[start:end])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the source offsets of the characters from ``start`` to ``end``, up to the end of their first literal."""
        if start >= end:
            return 0, 0
        last = next((at for at in range(start + 1, end) if self.starts[at] != self.ends[at - 1]), end)
        return self.starts[start], self.ends[last - 1]


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """The value of a string expression: its pieces in order, each from one literal or unknown."""

    pieces: tuple[Mapped, ...]

    @property
    def value(self) -> str:
        """Return the characters of all pieces."""
        return "".join(piece.value for piece in self.pieces)

    @property
    def joined(self) -> Mapped:
        """Return all pieces as one run of characters."""
        first, *others = self.pieces
        if not others:
            return first
        starts, ends = (
            [at for one in self.pieces for at in side(one)] for side in (attrgetter("starts"), attrgetter("ends"))
        )
        return Mapped(self.value, starts, ends)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the source offsets of a part. If it spans several literals, only its portion in the first counts."""
        for piece in self.pieces:
            if start < len(piece.value):
                return piece.span(start, min(end, len(piece.value)))
            start, end = start - len(piece.value), end - len(piece.value)
        return 0, 0


def literal(source: Mapped, token: Token) -> Mapped:
    """Return the value of a string literal of ``source``, up to the first unknown escape."""
    opened = token.text.lstrip("hH")
    quoted = opened.removeprefix("@")
    quote, width = quoted[0], 3 if quoted[0] in "`~" else 1
    body = source.part(token.end - len(quoted) + width, token.end - width)
    if quoted != opened:
        return decoded(body, DOUBLED[quote], lambda unit: unit[0][0]) if quote in body.value else body
    return decoded(body, _ESCAPED, _unescaped) if width == 1 and "\\" in body.value else body


def literal_value(written: str) -> str:
    """Return the value of a string literal in any form.

    Raises:
        InputError: The literal contains an unknown escape.
    """
    found = literal(Mapped.whole(written), Token("literal", written, 0))
    rest = written[found.ends[-1] :] if found.value else written.lstrip("hH'\"")
    if rest.startswith("\\"):
        escape = next(_ESCAPED.finditer(rest))[0]
        raise InputError(f"{escape!r} is not a KQL escape sequence.", hint=r"Write \\ for one backslash, or use @'…'.")
    return found.value


def joined(found: Iterable[Token]) -> str:
    """Return the value of adjacent string literals, which the service joins.

    Raises:
        InputError: A literal contains an unknown escape.
    """
    return whole_characters("".join(literal_value(token.text) for token in found))


def json_string(body: Mapped) -> Mapped:
    """Return the value of a JSON string from the characters between its quotes."""
    if "\\" not in body.value:
        return body
    return decoded(body, _JSON_ESCAPED, lambda unit: _unescaped(unit, _JSON_SHORT) or unit[0][-1])


def whole_characters(text: str) -> str:
    r"""Return ``text`` with each surrogate pair, such as ``\ud83d\ude00``, combined into one character."""
    return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def decoded(body: Mapped, units: re.Pattern[str], char_of: Callable[[re.Match[str]], str | None]) -> Mapped:
    """Return one character for each unit of ``body`` (or each surrogate pair), up to the first unknown escape."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for unit in units.finditer(body.value):
        char = char_of(unit)
        if char is None:
            break
        if chars and "\udc00" <= char <= "\udfff" and len(pair := whole_characters(chars[-1] + char)) == 1:
            chars[-1], ends[-1] = pair, body.ends[unit.end() - 1]
            continue
        chars.append(char)
        starts.append(body.starts[unit.start()])
        ends.append(body.ends[unit.end() - 1])
    return Mapped("".join(chars), starts, ends)


def _unescaped(unit: re.Match[str], short: Mapping[str, str] = _SHORT) -> str | None:
    """Return the character that a unit represents, or None if it is an unknown escape."""
    if len(unit[0]) == 1:
        return unit[0]
    if unit.lastgroup is None:
        return short.get(unit[0][1])
    code = int(unit[unit.lastgroup], 8 if unit.lastgroup == "octal" else 16)
    return chr(code) if code <= sys.maxunicode else None
