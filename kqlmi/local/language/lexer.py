"""KQL text cut into tokens, and string literals decoded."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, syntax_error


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    GUID = "guid"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text; ``value`` is the decoded value of a string literal, ``hidden`` marks its ``h`` prefix.

    The ``text`` of a string literal begins and ends with its quotes, so it is never that of a word or symbol.
    """

    kind: Kind
    start: int
    end: int
    text: str
    value: str = ""
    hidden: bool = False

    @property
    def nesting(self) -> int:
        """How many brackets a token opens (1) or closes (-1)."""
        return (self.text in _OPENING) - (self.text in _CLOSING)


# The whitespace of the service's own lexer (ZERO WIDTH SPACE and the byte order mark belong to it); a comment
# ends also at U+2028 and U+2029.
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


@lru_cache(maxsize=1024)  # every pattern that a command may match reads the same tokens
def next_token(text: str, position: int) -> Token:
    """Return the token at or after a position; raise a syntax error where a string literal is broken."""
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
    """Yield every token, the end not included."""
    token = next_token(text, 0)
    while token.kind is not Kind.END:
        yield token
        token = next_token(text, token.end)


def readable(text: str) -> tuple[list[Token], int]:
    """Return the tokens of a text, and where they end: at a literal that is broken, or with the text."""
    found: list[Token] = []
    try:
        for token in tokens(text):
            found.append(token)  # noqa: PERF402 - what was read before a broken literal is kept
    except KustoError:
        return found, found[-1].end if found else 0
    return found, len(text)


def replaced(text: str, pieces: Iterable[tuple[int, int, str]]) -> str:
    """Return the text with other texts in some places, each given by its start and end, in their order."""
    parts: list[str] = []
    done = 0
    for start, end, by in pieces:
        parts += [text[done:start], by]
        done = end
    return "".join([*parts, text[done:]])


def mask_hidden(text: str) -> str:
    """Return the text with the value of each ``h'…'`` literal replaced, as the service's logs show it.

    Behind a broken literal, or in data after ``<|``, the rest could hold a secret, and is left out.
    """
    found, end = readable(text)
    shown = replaced(text[:end], ((one.start, one.end, "h'****'") for one in found if one.hidden))
    return shown if end == len(text) else f"{shown}'****'"


def hidden_values(text: str) -> set[str]:
    """Return the values of the ``h'…'`` literals of a text, as far as it can be read."""
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
        raise syntax_error(f"the string literal at offset {opening.start()} is not closed, or holds an unknown escape")
    return Token(Kind.STRING, opening.start(), end, text[opening.start() : end], value, bool(prefix))


def _unescape(body: str) -> str:
    if "\\" not in body:
        return body
    value = _ESCAPE.sub(_decode, body)
    try:  # two \uHHHH may be the halves of one character
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise syntax_error("a string literal holds half of a surrogate pair, which is no character") from None


def _decode(match: re.Match[str]) -> str:
    letter, short, long, byte, octal = match.groups()
    if letter:
        return _LETTERS.get(letter, letter)
    code = int(octal, 8) if octal else int(short or long or byte, 16)
    if code > _LAST_CODE_POINT:
        raise syntax_error(f"{match[0]} is no character")
    return chr(code)
