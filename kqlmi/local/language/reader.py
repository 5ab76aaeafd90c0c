"""A reader of tokens, and of the syntax elements of commands."""

import re
from collections.abc import Collection
from functools import cache

from kqlmi.local.language.lexer import Kind, Token, mask_hidden, next_token
from kqlmi.local.values.faults import KustoError, syntax_error
from kqlmi.local.values.tables import Column, kusto_type

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_]*|[0-9]+[A-Za-z_][A-Za-z0-9_]*")
_UNQUOTED = re.compile(r"[^\[\]\r\n]+")


class Mismatch(Exception):  # noqa: N818 - it controls the matching of patterns and never escapes it
    """A position at which the source does not match the expected syntax."""

    def __init__(self, position: int, expected: str) -> None:
        super().__init__(expected)
        self.position = position
        self.expected = expected

    def as_fault(self, text: str) -> KustoError:
        """Return the mismatch as a syntax error."""
        rest = mask_hidden(text[self.position :])[:40]
        found = repr(rest) if self.position < len(text) else "the end of the input"
        return syntax_error(f"at offset {self.position}: expected {self.expected}, found {found}")


class Reader:
    """A source and the current position in it."""

    def __init__(self, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position

    def peek(self) -> Token:
        """Return the next token without consuming it."""
        return next_token(self.text, self.position)

    def next(self) -> Token:
        """Consume and return the next token."""
        token = self.peek()
        self.position = token.end
        return token

    def take(self, text: str) -> bool:
        """Consume a word or symbol, and return whether it was next; the parts of ``a-b`` and of ``<|`` must be adjacent."""
        first, *others = _parts(text)
        token = self.peek()
        if token.text != first:
            return False
        reader = Reader(self.text, token.end)
        end = token.end
        for part in others:
            token = reader.next()
            if token.text != part or token.start != end:
                return False
            end = token.end
        following = reader.peek()
        if following.text == "-" and following.start == reader.position and text[-1].isalnum():
            after = next_token(self.text, following.end)
            if after.start == following.end and after.kind is Kind.WORD:
                return False  # part of a longer word: alter-merge is not alter
        self.position = reader.position
        return True

    def expect(self, text: str) -> None:
        """Consume a word or symbol; raise a mismatch if it is not next."""
        if not self.take(text):
            raise self.mismatch(f"'{text}'")

    def mismatch(self, expected: str) -> Mismatch:
        """Return a mismatch at the next token."""
        return Mismatch(self.peek().start, expected)

    def at_end(self) -> bool:
        """Check whether the end of the source is reached."""
        return self.peek().kind is Kind.END

    def string(self) -> str:
        """Consume exactly one string literal and return its value."""
        token = self.peek()
        if token.kind is not Kind.STRING:
            raise self.mismatch("a string literal")
        self.position = token.end
        return token.value

    def strings(self) -> str:
        """Consume one or more adjacent string literals and return their joined values."""
        value = self.string()
        while self.peek().kind is Kind.STRING:
            value += self.string()
        return value

    def name(self, reserved: Collection[str] = ()) -> str:
        """Consume and return a name: an identifier, a string literal, ``['…']`` or ``[…]``."""
        token = self.peek()
        if token.kind is Kind.STRING:
            return self.string()
        if token.text == "[":
            return self._bracketed()
        if token.kind is Kind.WORD and _IDENTIFIER.fullmatch(token.text) and token.text not in reserved:
            self.position = token.end
            return token.text
        raise self.mismatch("a name (quoted as ['…'] if it is not an identifier)")

    def _bracketed(self) -> str:
        opening = self.next()
        if self.peek().kind is Kind.STRING:
            value = self.strings()
            self.expect("]")
            return value
        unquoted = _UNQUOTED.match(self.text, opening.end)
        if not unquoted or not unquoted[0].strip() or self.text[unquoted.end() : unquoted.end() + 1] != "]":
            raise self.mismatch("a name and ']'")
        self.position = unquoted.end() + 1
        return unquoted[0].strip()

    def expressions(self, opening: str, closing: str) -> tuple[str, ...]:
        """Consume ``(a, b, …)``, or the same in other brackets, and return the source of each item."""
        self.expect(opening)
        found: list[str] = []
        start = self.position
        depth = 0
        while True:
            token = self.next()
            if token.kind is Kind.END:
                raise Mismatch(token.start, f"'{closing}'")
            if depth == 0 and token.text in {",", closing}:
                piece = self.text[start : token.start].strip()
                if not piece and (found or token.text == ","):
                    raise Mismatch(token.start, "an expression")
                if piece:
                    found.append(piece)
                start = token.end
                if token.text == closing:
                    return tuple(found)
            depth = max(depth + token.nesting, 0)

    def properties(self) -> dict[str, str]:
        """Consume ``(name = value, …)`` and return a dict from lower-case name to the source of the value."""
        found: dict[str, str] = {}
        for text in self.expressions("(", ")"):
            reader = Reader(text)
            name = reader.name().lower()
            reader.expect("=")
            if name in found:
                raise syntax_error(f"the property '{name}' is specified twice")
            found[name] = text[reader.position :].strip()
        return found

    def schema(self) -> tuple[Column, ...]:
        """Consume ``(name: type, …)`` and return the columns."""
        self.expect("(")
        found: dict[str, Column] = {}
        while not found or self.take(","):
            name = self.name()
            self.expect(":")
            kind = kusto_type(self.peek().text)
            if kind is None:
                raise self.mismatch("a Kusto type")
            self.next()
            if not name or name in found:
                raise syntax_error(f"the column name {name!r} is empty, or specified twice")
            found[name] = Column(name, kind)
        self.expect(")")
        return tuple(found.values())


@cache  # of the words and symbols of the patterns
def _parts(text: str) -> list[str]:
    return re.findall(r"\w+|\W", text)
