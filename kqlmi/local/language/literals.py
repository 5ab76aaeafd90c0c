"""Scalar literals of KQL, read exactly, including digits that the query engine would round."""

import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.reader import Reader
from kqlmi.local.values import kusto_time, lenient_json
from kqlmi.local.values.faults import KustoError, semantic_error
from kqlmi.local.values.tables import kusto_type

INT_RANGE = range(-(2**31), 2**31)
LONG_RANGE = range(-(2**63), 2**63)
DECIMAL_DIGITS = 34

# Python does not convert integers of more than 4300 digits.
_LONGEST = 1000
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9A-Fa-f]+|[0-9]+)")
_REAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_REAL_WORDS = {"nan": math.nan, "+inf": math.inf, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Literal:
    """A value and its Kusto type."""

    type: str
    value: Any


def read(reader: Reader) -> Literal | None:
    """Consume a literal and return it, or return None if something else follows."""
    token = reader.peek()
    if token.kind is Kind.STRING:
        return Literal("string", reader.strings())
    sign = reader.next().text if token.text in {"-", "+"} else ""
    token = reader.peek()
    if token.kind is Kind.NUMBER:
        reader.next()
        return _number(sign + token.text)
    if sign or token.kind is not Kind.WORD:
        return None
    reader.next()
    if token.text in {"true", "false"}:
        return Literal("bool", token.text == "true")
    kind = kusto_type(token.text)
    if kind is None or kind == "string" or not reader.take("("):
        return None
    return _typed(kind, reader)


def parse(kind: str, text: str) -> Any:
    """Return the value of ``kind(text)``; raise ValueError if the text is not valid for the type."""
    if kind not in {"string", "dynamic"} and len(text) > _LONGEST:
        raise ValueError(f"{text[:40]}…")
    return _PARSERS[kind](text)


def checked(value: int, kind: str = "long") -> int:
    """Return the value; refuse one that is out of range for an ``int`` or a ``long``."""
    if value not in (INT_RANGE if kind == "int" else LONG_RANGE):
        raise _out_of_range(kind, value)
    return value


def _typed(kind: str, reader: Reader) -> Literal | None:
    start = reader.position
    depth = 1
    while depth:
        token = reader.next()
        if token.kind is Kind.END:
            return None
        depth += {"(": 1, ")": -1}.get(token.text, 0)
    text = reader.text[start : reader.position - 1].strip()
    if text == "null":
        return Literal(kind, None)
    try:
        return Literal(kind, parse(kind, text))
    except ValueError:
        return None


def _number(text: str) -> Literal | None:
    if len(text) > _LONGEST:
        raise _out_of_range("numeric", f"{text[:40]}…")
    if _INTEGER.fullmatch(text):
        return Literal("long", checked(_integer(text)))
    if _REAL.fullmatch(text):
        return Literal("real", float(text))
    span = kusto_time.parse_timespan(text.lstrip("+-"))
    if span is None:
        return None
    return Literal("timespan", -span if text.startswith("-") else span)


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text, 16 if "x" in text.lower() else 10)


def _out_of_range(kind: str, value: object) -> KustoError:
    return semantic_error(f"the {kind} literal {value} is out of range")


def _real(text: str) -> float:
    if text.lower() in _REAL_WORDS:
        return _REAL_WORDS[text.lower()]
    if not _REAL.fullmatch(text) or math.isinf(float(text)):
        raise ValueError(text)
    return float(text)


def _decimal(text: str) -> Decimal:
    if not _REAL.fullmatch(text):
        raise ValueError(text)
    try:
        value = Decimal(text)
        exact = Context(prec=DECIMAL_DIGITS, traps=[InvalidOperation]).create_decimal(value)
    except InvalidOperation:
        raise _out_of_range("decimal", text) from None
    if exact != value:
        raise semantic_error(f"the decimal literal {text} has more than {DECIMAL_DIGITS} digits")
    return value


def _bool(text: str) -> bool:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    return bool(_integer(text))


def _datetime(text: str) -> int:
    value = kusto_time.parse_datetime(_unquoted(text))
    if value is None:
        raise ValueError(text)
    return value


def _timespan(text: str) -> int:
    text = _unquoted(text)
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    value = int(digits) * kusto_time.DAY if digits.isascii() and digits.isdigit() else kusto_time.parse_timespan(digits)
    if value is None and text == "-10675199.02:48:05.4775808":
        return kusto_time.MIN_TIMESPAN
    if value is None or value > kusto_time.MAX_TIMESPAN:
        raise ValueError(text)
    return sign * value


def _unquoted(text: str) -> str:
    if text[:1] not in {"'", '"'}:
        return text
    reader = Reader(text)
    value = reader.string()
    if not reader.at_end():
        raise ValueError(text)
    return value


_PARSERS: dict[str, Callable[[str], Any]] = {
    "bool": _bool,
    "int": lambda text: checked(_integer(text), "int"),
    "long": lambda text: checked(_integer(text)),
    "real": _real,
    "decimal": _decimal,
    "string": str,
    "datetime": _datetime,
    "timespan": _timespan,
    "guid": lambda text: str(uuid.UUID(_unquoted(text))),
    "dynamic": lambda text: lenient_json.dumps(lenient_json.loads(text)),
}
