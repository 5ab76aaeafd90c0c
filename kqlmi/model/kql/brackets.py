"""Bracket matching: the groups of a command or query, their items, and the commands of a script."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Self

from kqlmi.model.kql.source_map import Mapped, Text, literal
from kqlmi.model.kql.tokenizer import Token

_CLOSED_BY: Final = {"(": ")", "[": "]", "{": "}"}
_OPENED_BY: Final = {closer: opener for opener, closer in _CLOSED_BY.items()}
# A line that begins with a dot and one of these begins a command; any other line may continue a query.
_VERBS: Final = frozenset(
    {"add", "alter", "append", "assert", "attach", "cancel", "clear", "create", "delete", "detach", "disable", "drop", "enable", "execute", "export", "get", "grant", "import", "ingest", "join", "kill", "list", "merge", "move", "redirect", "rename", "replace", "restore", "revoke", "run", "save", "seal", "set", "show", "undo"}
)  # fmt: skip
_UNFINISHED: Final = frozenset({*"|<>=,+-*/([{.:", "<|"})


@dataclass(frozen=True, slots=True)
class Nest:
    """Tokens of a source; ``partner`` maps the index of each bracket to its partner's, unless the bracket is unmatched."""

    source: Mapped
    tokens: Sequence[Token]
    partner: dict[int, int]

    @classmethod
    def of(cls, source: Mapped, tokens: Sequence[Token]) -> Self:
        """Match the brackets; a closing bracket leaves unclosed brackets of other kinds inside it unmatched."""
        partner: dict[int, int] = {}
        waiting: list[int] = []
        depth = dict.fromkeys(_CLOSED_BY, 0)
        for place, token in enumerate(tokens):
            if token.text in _CLOSED_BY:
                waiting.append(place)
                depth[token.text] += 1
            elif depth.get(opener := _OPENED_BY.get(token.text, ""), 0):
                while True:
                    last = waiting.pop()
                    depth[tokens[last].text] -= 1
                    if tokens[last].text == opener:
                        break
                partner[last], partner[place] = place, last
        return cls(source, tokens, partner)

    def at(self, place: int) -> str:
        """Return the text of the token at an index, or an empty string if the index is out of range."""
        return self.tokens[place].text if 0 <= place < len(self.tokens) else ""

    def is_literal(self, place: int) -> bool:
        """Check whether the token at an index is a string literal."""
        return 0 <= place < len(self.tokens) and self.tokens[place].kind == "literal"

    def literal(self, place: int) -> Mapped:
        """Return the value of the string literal at an index."""
        return literal(self.source, self.tokens[place])

    def literals(self, place: int) -> Text:
        """Return the value of the adjacent string literals at an index, which the service joins."""
        end = next(each for each in count(place) if not self.is_literal(each))
        return Text(tuple(map(self.literal, range(place, end))))

    def unknown(self, start: int, end: int) -> Text:
        """Return an unknown value for the expression from ``start`` to ``end``."""
        span = self.source.span(self.tokens[start].start, self.tokens[end - 1].end)
        return Text((Mapped.unknown(*span),))

    def direct(self, start: int, end: int | None = None) -> Iterator[int]:
        """Yield the indexes from ``start`` that are outside nested groups, including the groups' opening brackets."""
        place, stop = start, len(self.tokens) if end is None else end
        while place < stop:
            yield place
            if self.tokens[place].text in _CLOSED_BY:
                place = self.partner.get(place, stop)
            place += 1

    def items(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the comma-separated items from ``start`` to ``end``, as pairs of indexes; empty items are left out."""
        commas = [place for place in self.direct(start, end) if self.at(place) == ","]
        bounds = zip([start, *(place + 1 for place in commas)], [*commas, end], strict=True)
        return [(first, last) for first, last in bounds if first < last]

    def arguments(self, opener: int) -> list[tuple[int, int]]:
        """Return the items of a group. If the group is not closed, return only items that are a single literal."""
        if opener in self.partner:
            return self.items(opener + 1, self.partner[opener])
        items = self.items(opener + 1, len(self.tokens))
        return [(start, end) for start, end in items if self.is_literal(start) and end == start + 1]

    def closes(self, opener: int, end: int) -> bool:
        """Check whether the group that begins at ``opener`` closes directly before ``end``."""
        return self.partner.get(opener) == end - 1


def commands(source: Mapped, tokens: Sequence[Token]) -> Iterator[Nest]:
    """Yield each command of a script, or the whole text if it is a single command or query.

    A command begins with a dot and a verb, at the start of a line or after the ``<|`` of ``.execute … script``.
    """
    first = 0
    for place, token in enumerate(tokens[:-1]):
        if token.text == "." and place > first and tokens[place + 1].text in _VERBS:
            before = tokens[place - 1]
            script = tokens[first].text == "." and tokens[first + 1].text == "execute"
            between = source.value[before.end : token.start]
            if script if before.text == "<|" else "\n" in between or "\r" in between:
                yield Nest.of(source, tokens[first:place])
                first = place
    yield Nest.of(source, tokens[first:])


def second_command(text: str, tokens: Sequence[Token]) -> str:
    """Return the start of the line on which a second command begins, or an empty string unless one certainly does."""
    words = [token.text for token in tokens]
    if words[:2] == [".", "execute"] and "script" in words:
        return ""
    if words[:3] == [".", "ingest", "inline"]:
        # The rest is data.
        tokens = tokens[: words.index("<|") if "<|" in words else None]
    depth = 0
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        # An unclosed literal may contain closing brackets.
        depth = 0 if before.kind == "unclosed" else depth + (before.text in _CLOSED_BY) - (before.text in _OPENED_BY)
        if (
            token.text == "."
            and depth == 0
            and after.start == token.end
            and after.text in _VERBS
            and before.text not in _UNFINISHED
            and not {"\n", "\r"}.isdisjoint(text[before.end : token.start])
        ):
            # Quoted text may be a secret, as may a comment.
            return re.split(r"h?@?[\"'`~]|//", text[token.start :].splitlines()[0])[0].strip()[:60]
    return ""
