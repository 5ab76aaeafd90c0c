"""The tokens of a command or query: enough of Kusto's lexer to read names, string literals and comments.

Source: TokenParser.cs of microsoft/Kusto-Query-Language 12.4.1.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast

BLANKS = "\t\n\f\r \u00a0\u1680\u180e" + "".join(map(chr, range(0x2000, 0x200C))) + "\u202f\u205f\u3000\ufeff"

# A literal that is not closed reaches as far as its end was looked for: what follows is still read, and no character is
# looked at once more for each quote before it.
_TOKEN = re.compile(
    rf"""
    (?P<blank>    [{BLANKS}]+ | //[^\r\n\u2028\u2029]* )
  | (?P<literal>  [hH]? (?: ```.*?``` | ~~~.*?~~~ | @'(?:[^'\r\n]|'')*+' | @"(?:[^"\r\n]|"")*+"
                | '(?:[^'\\\r\n]|\\[^\r\n])*+' | "(?:[^"\\\r\n]|\\[^\r\n])*+" ) )
  | (?P<unclosed> [hH]? (?: (?: ``` | ~~~ ) .* | @?['"][^\r\n]* ) )
  | (?P<word>     [0-9]*[A-Za-z_$][A-Za-z0-9_]* | [0-9]+ )
  | (?P<mark>     <\| | . )
    """,
    re.VERBOSE | re.DOTALL,
)

Kind = Literal["literal", "unclosed", "word", "mark"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text with its place; blanks and comments are not tokens.

    A literal that is ``unclosed`` goes up to the end of its line, and between fences up to that of the text.
    """

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Return the offset behind the last character."""
        return self.start + len(self.text)


def tokens(text: str) -> tuple[Token, ...]:
    """Return the tokens of a text in their order."""
    return tuple(
        Token(cast("Kind", match.lastgroup), match[0], match.start())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "blank"
    )
