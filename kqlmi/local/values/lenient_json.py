"""JSON as the service reads it, with single-quoted strings allowed."""

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Never

_INSIDE = r"""(?:[^{}\\\x00-\x1f]|\\(?:['"\\/bfnrt]|u[0-9A-Fa-f]{{4}}))*"""
# The pieces to convert or check: a string, a quote without a valid string, a bracket, and the byte order mark.
_PIECE = re.compile(rf"""'{_INSIDE.format("'")}'|"{_INSIDE.format('"')}"|['"\[\]{{}}\ufeff]""")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MAX_DEPTH = 64
_MAX_DIGITS = 1000
_SHOWN = 40


class LenientJsonError(ValueError):
    """An error in JSON text, with its offset if it is known."""


def loads(text: str) -> Any:
    """Return the value of a JSON string; a repeated key in an object is an error.

    A number is an int, a float, or a Decimal if a float would change its value.
    """
    depth = moved = 0
    offsets = [(0, 0)]  # the end of each piece in the strict text, and how much longer that text is up to there

    def strict(found: re.Match[str]) -> str:
        nonlocal depth, moved
        piece = found[0]
        if piece in {"'", '"'}:
            raise LenientJsonError(
                f"the string at offset {found.start()} is not closed by {piece}, or contains an invalid character or escape"
            )
        depth += (piece in {"[", "{"}) - (piece in {"]", "}"})
        if depth > _MAX_DEPTH:
            raise LenientJsonError(f"nested more than {_MAX_DEPTH} levels deep")
        written = " " if piece == "\ufeff" else json.dumps(_text(piece[1:-1])) if len(piece) > 1 else piece
        moved += len(written) - len(piece)
        offsets.append((found.end() + moved, moved))
        return written

    strict_text = _PIECE.sub(strict, text)
    try:
        return json.loads(
            strict_text, object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_refuse
        )
    except json.JSONDecodeError as error:
        offset = error.pos - next(more for end, more in reversed(offsets) if end <= error.pos)
        found = repr(text[offset : offset + 20]) if text[offset:].strip() else "the end"
        raise LenientJsonError(f"{error.msg} at offset {offset}, found {found}") from None


def dumps(value: Any) -> str:
    """Return compact JSON; a Decimal becomes a number."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except TypeError:  # there is a Decimal in it
        if isinstance(value, dict):
            return f"{{{','.join(f'{dumps(name)}:{dumps(item)}' for name, item in value.items())}}}"
        if isinstance(value, list | tuple):
            return f"[{','.join(map(dumps, value))}]"
        return str(value)


def is_text(value: Any) -> bool:
    """Check whether every string in a JSON value can be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(inside: str) -> str:
    value = _ESCAPE.sub(_decode, inside)
    try:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise LenientJsonError("a string contains an unpaired surrogate") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise LenientJsonError(f"the property {name!r} appears twice")
        members[name] = value
    return members


def _refuse(word: str) -> Never:
    raise LenientJsonError(f"{word} is not a JSON value")


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
