"""JSON as the service reads it: strict JSON, and strings in single quotes."""

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRINGS = {
    quote: re.compile(rf"((?:[^{quote}\\\x00-\x1f]|\\(?:['\"\\/bfnrt]|u[0-9A-Fa-f]{{4}}))*){quote}") for quote in "'\""
}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": True, "false": False, "null": None}
_MAX_DEPTH = 64
_MAX_DIGITS = 1000
_SHOWN = 40


class LenientJsonError(ValueError):
    """What is wrong, and where."""


def loads(text: str) -> Any:
    """Give the value of a JSON text; a key that an object repeats is an error.

    A number is an int, a float, or a Decimal where a float would be another number.
    """
    reader = _Reader(text)
    value = reader.value(0)
    reader.end()
    return value


def dumps(value: Any) -> str:
    """Write compact JSON; a Decimal is a number."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except TypeError:  # a Decimal, somewhere
        if isinstance(value, dict):
            return f"{{{','.join(f'{dumps(name)}:{dumps(item)}' for name, item in value.items())}}}"
        if isinstance(value, list | tuple):
            return f"[{','.join(map(dumps, value))}]"
        return str(value)


def is_text(value: Any) -> bool:
    """Tell whether every text in a JSON value is made of whole characters, and can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text[self.position : self.position + 1]

    def fail(self, expected: str) -> LenientJsonError:
        found = repr(self.text[self.position : self.position + 20]) if self.peek() else "the end"
        return LenientJsonError(f"expected {expected} at offset {self.position}, found {found}")

    def end(self) -> None:
        if self.peek():
            raise self.fail("the end")

    def take(self, symbol: str) -> bool:
        if self.peek() != symbol:
            return False
        self.position += 1
        return True

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise LenientJsonError(f"nested more than {_MAX_DEPTH} deep")
        if self.take("["):
            return self.array(depth + 1)
        if self.take("{"):
            return self.object(depth + 1)
        if self.peek() in _STRINGS:
            return self.string()
        if match := _NUMBER.match(self.text, self.position):
            self.position = match.end()
            return _number(match[0])
        for word, meaning in _WORDS.items():
            if self.text.startswith(word, self.position):
                self.position += len(word)
                return meaning
        raise self.fail("a JSON value")

    def array(self, depth: int) -> list[Any]:
        items: list[Any] = []
        if self.take("]"):
            return items
        while True:
            items.append(self.value(depth))
            if self.take("]"):
                return items
            if not self.take(","):
                raise self.fail("',' or ']'")

    def object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        if self.take("}"):
            return members
        while True:
            if self.peek() not in _STRINGS or not self.peek():
                raise self.fail("a property name in quotes")
            name = self.string()
            if name in members:
                raise LenientJsonError(f"the property {name!r} is given twice")
            if not self.take(":"):
                raise self.fail("':'")
            members[name] = self.value(depth)
            if self.take("}"):
                return members
            if not self.take(","):
                raise self.fail("',' or '}'")

    def string(self) -> str:
        quote = self.peek()
        match = _STRINGS[quote].match(self.text, self.position + 1)
        if not match:
            raise self.fail(f"a string that ends with {quote}")
        self.position = match.end()
        value = _ESCAPE.sub(_decode, match[1])
        try:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise LenientJsonError("a string holds half of a surrogate pair, which is no character") from None


def _number(text: str) -> int | float | Decimal:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    if len(text) > _MAX_DIGITS or not math.isfinite(float(text)):
        raise LenientJsonError(f"the number {shown} is out of range")
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise LenientJsonError(f"the number {shown} is out of range") from None
    return float(text) if Decimal(repr(float(text))) == exact else exact


def _decode(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _LETTERS.get(code, code)
