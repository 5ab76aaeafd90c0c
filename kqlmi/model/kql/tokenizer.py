"""The tokens of a command or query: enough of Kusto's lexer to read names, string literals and comments.

Source: TokenParser.cs of microsoft/Kusto-Query-Language 12.4.1.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast

BLANKS = "\t\n\f\r \u00a0\u1680\u180e" + "".join(map(chr, range(0x2000, 0x200C))) + "\u202f\u205f\u3000\ufeff"

# An unclosed literal extends to where the search for its end stopped. The rest is still read, and nothing is scanned
# again for each quote before it.
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
    """A token with its offset; blanks and comments are not tokens.

    An ``unclosed`` literal extends to the end of its line or, if it opens with a fence, to the end of the source.
    """

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Return the offset after the last character."""
        return self.start + len(self.text)


def tokens(text: str) -> tuple[Token, ...]:
    """Return the tokens of a command or query in order."""
    return tuple(
        Token(cast("Kind", match.lastgroup), match[0], match.start())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "blank"
    )
