"""The tokens of a command or query with their brackets: groups, what stands between commas, and where commands begin."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self, cast

from kqlmi.model.kql.tokenizer import BLANKS, Kind, Token

# As the lexer of kqlmi.model.kql.tokenizer, but a literal that is not closed is one mark, to the end of its line (a fence: of
# the text). So what follows is still read, and no character is looked at twice for each quote before it.
_TOKEN = re.compile(
    rf"""
    (?P<blank>   [{BLANKS}]+ | //[^\r\n\u2028\u2029]* )
  | (?P<literal> [hH]? (?: ```.*?``` | ~~~.*?~~~ | @'(?:[^'\r\n]|'')*' | @"(?:[^"\r\n]|"")*"
               | '(?:[^'\\\r\n]|\\[^\r\n])*' | "(?:[^"\\\r\n]|\\[^\r\n])*" ) )
  | (?P<word>    (?! [hH] (?: ``` | ~~~ | @?['"] ) ) (?: [0-9]*[A-Za-z_$][A-Za-z0-9_]* | [0-9]+ ) )
  | (?P<mark>    [hH]? (?: ``` | ~~~ ) .* | [hH]?@?['"][^\r\n]* | <\| | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSED_BY: Final = {"(": ")", "[": "]", "{": "}"}
_OPENED_BY: Final = {closer: opener for opener, closer in _CLOSED_BY.items()}
# Those behind which an identity may stand, and those that end a text which holds one.
_VERBS: Final = frozenset(
    {"add", "alter", "append", "cancel", "clear", "create", "delete", "disable", "drop", "enable", "execute", "export", "ingest", "list", "move", "rename", "replace", "set", "show"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Nest:
    """Tokens, and for each bracket the place of its partner; an opening one that is not closed has none."""

    tokens: Sequence[Token]
    partner: dict[int, int]

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> Self:
        """Pair the brackets; a closing one leaves open whatever of another kind was not closed inside it."""
        partner: dict[int, int] = {}
        waiting: list[int] = []
        count = dict.fromkeys(_CLOSED_BY, 0)
        for place, token in enumerate(tokens):
            if token.text in _CLOSED_BY:
                waiting.append(place)
                count[token.text] += 1
            elif count.get(opener := _OPENED_BY.get(token.text, ""), 0):
                while True:
                    last = waiting.pop()
                    count[tokens[last].text] -= 1
                    if tokens[last].text == opener:
                        break
                partner[last], partner[place] = place, last
        return cls(tokens, partner)

    def at(self, place: int) -> str:
        """Give the text of a token; empty outside."""
        return self.tokens[place].text if 0 <= place < len(self.tokens) else ""

    def is_literal(self, place: int) -> bool:
        """Tell whether a token is a string literal."""
        return 0 <= place < len(self.tokens) and self.tokens[place].kind == "literal"

    def direct(self, start: int, end: int | None = None) -> Iterator[int]:
        """Give the places from ``start`` on that are in no group, the opening brackets of groups among them."""
        place, stop = start, len(self.tokens) if end is None else end
        while place < stop:
            yield place
            if self.tokens[place].text in _CLOSED_BY:
                place = self.partner.get(place, stop)
            place += 1

    def items(self, start: int, end: int) -> list[tuple[int, int]]:
        """Give what stands between commas from ``start`` to ``end``, as pairs of places."""
        commas = [place for place in self.direct(start, end) if self.at(place) == ","]
        bounds = zip([start, *(place + 1 for place in commas)], [*commas, end], strict=True)
        return [(first, last) for first, last in bounds if first < last]

    def arguments(self, opener: int) -> list[tuple[int, int]]:
        """Give the items of a group; of one that is not closed, those that are one literal."""
        if opener in self.partner:
            return self.items(opener + 1, self.partner[opener])
        items = self.items(opener + 1, len(self.tokens))
        return [(start, end) for start, end in items if self.is_literal(start) and end == start + 1]

    def closes(self, opener: int, end: int) -> bool:
        """Tell whether the group that begins at ``opener`` is the last thing before ``end``."""
        return self.partner.get(opener) == end - 1


def scan(text: str) -> list[Token]:
    """Give the tokens of a text; a literal that is not closed is a mark."""
    return [
        Token(cast("Kind", match.lastgroup), match[0], match.start())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "blank"
    ]


def commands(text: str) -> Iterator[Nest]:
    """Give each command of a script by itself, or the one command or query that a text is.

    A command begins at a dot and a verb, first on their line or behind the ``<|`` of ``.execute … script``.
    """
    tokens = scan(text)
    first = 0
    for place, token in enumerate(tokens[:-1]):
        if token.text == "." and place > first and tokens[place + 1].text in _VERBS:
            before = tokens[place - 1]
            script = tokens[first].text == "." and tokens[first + 1].text == "execute"
            between = text[before.end : token.start]
            if script if before.text == "<|" else "\n" in between or "\r" in between:
                yield Nest.of(tokens[first:place])
                first = place
    yield Nest.of(tokens[first:])
