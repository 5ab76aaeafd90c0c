"""A lexer for KQL, which also decodes string literals."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, syntax_error


class Kind(Enum):
    """The kind of a token."""

    WORD = "word"
    NUMBER = "number"
    GUID = "guid"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token; ``value`` is the decoded value of a string literal, and ``hidden`` is true if it has the ``h`` prefix.

    The ``text`` of a string literal includes its quotes, so it never equals the text of a word or symbol.
    """

    kind: Kind
    start: int
    end: int
    text: str
    value: str = ""
    hidden: bool = False

    @property
    def nesting(self) -> int:
        """The change of the nesting depth: 1 for an opening bracket, -1 for a closing one, 0 otherwise."""
        return (self.text in _OPENING) - (self.text in _CLOSING)


# Whitespace as the service's lexer defines it, which includes ZERO WIDTH SPACE and the byte order mark; a comment also
# ends at U+2028 and U+2029.
_TRIVIA = re.compile(
    "(?:[\t \r\n\f\u00a0\u1680\u180e\u2000-\u200b\u202f\u205f\u3000\ufeff\u2028\u2029]|//[^\r\n\u2028\u2029]*)*"
)
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9_])")
_DIGITS_AND_LETTERS = re.compile(r"[0-9]+[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TIMESPAN = re.compile(
    rf"[0-9]+(?:\.[0-9]+)?(?:{'|'.join(sorted(kusto_time.UNITS, key=len, reverse=True))})(?![A-Za-z0-9_])"
)
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_]*")
_QUOTE = re.compile(r"([hH]?)(@?)(```|~~~|'|\")")
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\'"])|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([0-3][0-7]{0,2}|[4-7][0-7]?))"""
)
_PLAIN = {quote: re.compile(rf"((?:[^{quote}\\\r\n]|{_ESCAPE.pattern})*){quote}") for quote in "'\""}
_VERBATIM = {quote: re.compile(rf"((?:[^{quote}\r\n]|{quote}{quote})*){quote}") for quote in "'\""}
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LAST_CODE_POINT = 0x10FFFF
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@lru_cache(maxsize=1024)  # all patterns that a command may match read the same tokens
def next_token(text: str, position: int) -> Token:
    """Return the token at or after a position; raise a syntax error for a malformed string literal."""
    trivia = _TRIVIA.match(text, position)
    start = trivia.end() if trivia else position
    if start == len(text):
        return Token(Kind.END, start, start, "")
    if opening := _QUOTE.match(text, start):
        return _string(text, opening)
    for kind, pattern in ((Kind.GUID, _GUID), (Kind.NUMBER, _TIMESPAN)):
        if match := pattern.match(text, start):
            return Token(kind, start, match.end(), match[0])
    number = _NUMBER.match(text, start)
    name = _DIGITS_AND_LETTERS.match(text, start) or _WORD.match(text, start)
    if name and (not number or name.end() > number.end()):
        return Token(Kind.WORD, start, name.end(), name[0])
    if number:
        return Token(Kind.NUMBER, start, number.end(), number[0])
    return Token(Kind.SYMBOL, start, start + 1, text[start])


def tokens(text: str) -> Iterator[Token]:
    """Yield every token except the end."""
    token = next_token(text, 0)
    while token.kind is not Kind.END:
        yield token
        token = next_token(text, token.end)


def readable(text: str) -> tuple[list[Token], int]:
    """Return the tokens before the first malformed string literal, and the offset at which reading ended."""
    found: list[Token] = []
    try:
        for token in tokens(text):
            found.append(token)  # noqa: PERF402 - tokens before a malformed literal are kept
    except KustoError:
        return found, found[-1].end if found else 0
    return found, len(text)


def replaced(text: str, pieces: Iterable[tuple[int, int, str]]) -> str:
    """Return a source with some parts replaced; each piece is a start, an end and the replacement, in ascending order."""
    parts: list[str] = []
    done = 0
    for start, end, by in pieces:
        parts += [text[done:start], by]
        done = end
    return "".join([*parts, text[done:]])


def mask_hidden(text: str) -> str:
    """Return a source with the value of each ``h'…'`` literal masked, as in the service's logs.

    After a malformed literal, for example in data after ``<|``, the rest is omitted, because it could contain a secret.
    """
    found, end = readable(text)
    shown = replaced(text[:end], ((one.start, one.end, "h'****'") for one in found if one.hidden))
    return shown if end == len(text) else f"{shown}'****'"


def hidden_values(text: str) -> set[str]:
    """Return the values of the ``h'…'`` literals in a source, up to the first malformed literal."""
    return {token.value for token in readable(text)[0] if token.hidden}


def _string(text: str, opening: re.Match[str]) -> Token:
    prefix, at, quote = opening.groups()
    if len(quote) > 1:
        close = text.find(quote, opening.end())
        value, end = (text[opening.end() : close], close + len(quote)) if close >= 0 else ("", -1)
    else:
        body = (_VERBATIM if at else _PLAIN)[quote].match(text, opening.end())
        value, end = (body[1], body.end()) if body else ("", -1)
        value = value.replace(quote * 2, quote) if at else _unescape(value)
    if end < 0:
        raise syntax_error(f"the string literal at offset {opening.start()} is not closed, or has an invalid escape")
    return Token(Kind.STRING, opening.start(), end, text[opening.start() : end], value, bool(prefix))


def _unescape(body: str) -> str:
    if "\\" not in body:
        return body
    value = _ESCAPE.sub(_decode, body)
    try:  # two \uHHHH escapes may form one character
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise syntax_error("a string literal contains an unpaired surrogate") from None


def _decode(match: re.Match[str]) -> str:
    letter, short, long, byte, octal = match.groups()
    if letter:
        return _LETTERS.get(letter, letter)
    code = int(octal, 8) if octal else int(short or long or byte, 16)
    if code > _LAST_CODE_POINT:
        raise syntax_error(f"{match[0]} is not a valid character")
    return chr(code)
