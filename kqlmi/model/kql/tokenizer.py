"""The tokens of a command or query: enough of Kusto's lexer to read names, string literals and comments.

Source: TokenParser.cs of microsoft/Kusto-Query-Language 12.4.1.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from kqlmi.errors import InputError

BLANKS = "\t\n\f\r \u00a0\u1680\u180e" + "".join(map(chr, range(0x2000, 0x200C))) + "\u202f\u205f\u3000\ufeff"

# Of a literal, only the quote that may open it.
_TOKEN = re.compile(
    rf"""
    (?P<blank>   [{BLANKS}]+ | //[^\r\n\u2028\u2029]* )
  | (?P<literal> [hH]? (?: ``` | ~~~ | @?['"] ) )
  | (?P<word>    [0-9]*[A-Za-z_$][A-Za-z0-9_]* | [0-9]+ )
  | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_NO_LITERAL = re.compile(r"(?P<word>[hH][A-Za-z0-9_]*)|(?P<mark>.)")
_CLOSED = {
    "```": re.compile(r".*?```", re.DOTALL),
    "~~~": re.compile(r".*?~~~", re.DOTALL),
    "@'": re.compile(r"(?:[^'\r\n]|'')*'"),
    '@"': re.compile(r'(?:[^"\r\n]|"")*"'),
    "'": re.compile(r"(?:[^'\\\r\n]|\\[^\r\n])*'"),
    '"': re.compile(r'(?:[^"\\\r\n]|\\[^\r\n])*"'),
}
_LINE = re.compile(r"[^\r\n]*")
_FENCES = frozenset({"```", "~~~"})
_PREFIX = re.compile(r"[hH]?(?P<quote>@'|@\"|```|~~~|'|\")")
_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[\\'\"abfnrtv])|u(?P<u4>[0-9A-Fa-f]{4})|U(?P<u8>[0-9A-Fa-f]{8})|x(?P<x>[0-9A-Fa-f]{2})"
    r"|(?P<octal>[0-3][0-7]{2}|[0-7]{1,2})|(?P<bad>.?))",
    re.DOTALL,
)
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


Kind = Literal["literal", "word", "mark"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text with its place; blanks and comments are not tokens."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Give the offset behind the last character."""
        return self.start + len(self.text)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of ``text`` in order; a quote that opens no literal is a mark."""
    place, open_until = 0, dict.fromkeys(_CLOSED, 0)
    while match := _TOKEN.match(text, place):
        end = match.end()
        if match.lastgroup == "literal":
            end = _literal_end(text, match[0].lstrip("hH"), end, open_until)
            if not end and (match := _NO_LITERAL.match(text, place)):
                end = match.end()
        if match and match.lastgroup != "blank":
            yield Token(cast("Kind", match.lastgroup), text[place:end], place)
        place = end


def _literal_end(text: str, quote: str, start: int, open_until: dict[str, int]) -> int:
    """Return where the literal ends whose value begins at ``start``; 0 if nothing closes it.

    Whether a quote closes depends on what stands right before it, not on the one that opened the literal. So where none
    closes this one, none closes another of its kind up to the end of the line (for a fence: of the text), and no
    character is looked at twice for each quote before it.
    """
    if start < open_until[quote]:
        return 0
    if closed := _CLOSED[quote].match(text, start):
        return closed.end()
    line = _LINE.match(text, start)
    open_until[quote] = line.end() if line and quote not in _FENCES else len(text)
    return 0


def literal_value(literal: str) -> str:
    """Give the value of a string literal in any of its forms; an unknown escape raises InputError."""
    prefix = _PREFIX.match(literal)
    if prefix is None:
        raise InputError(f"{literal!r} is not a string literal.")
    quote = prefix["quote"]
    width = 3 if quote in _FENCES else 1
    body = literal[prefix.end() : -width]
    if quote.startswith("@"):
        return body.replace(quote[1] * 2, quote[1])
    return body if width > 1 else whole_characters(_ESCAPE.sub(_unescape, body))


def whole_characters(text: str) -> str:
    r"""Return ``text`` with one character for each surrogate pair, as ``\ud83d\ude00`` writes one."""
    return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def _unescape(match: re.Match[str]) -> str:
    kind, found = match.lastgroup, match[match.lastgroup or 0]
    if kind == "plain":
        return _PLAIN.get(found, found)
    if kind == "octal":
        return chr(int(found, 8))
    if kind == "bad" or int(found, 16) > sys.maxunicode:
        raise InputError(
            f"{match[0]!r} is no escape that Kusto knows.", hint=r"Write \\ for one backslash, or use @'…'."
        )
    return chr(int(found, 16))


def is_write(text: str) -> bool:
    """Tell a management command that may change something: any that does not begin with ``.show``."""
    found = [token.text for _, token in zip(range(2), tokens(text), strict=False)]
    return found[:1] == ["."] and found[1:] != ["show"]


def is_management(text: str) -> bool:
    """Tell a management command (its first token is a dot) from a query."""
    first = next(tokens(text), None)
    return first is not None and first.text == "."
