"""The parameters that a query declares, and their values in the form that the protocol sends beside the text.

Source: kusto/api/rest/request.md and kusto/query/query-parameters-statement.md of the documentation.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Final
from uuid import UUID

from kqlmi.errors import InputError, printable
from kqlmi.model.entities import did_you_mean
from kqlmi.model.kql.tokenizer import Token

_DECLARE: Final = ("declare", "query_parameters")
_ALIASES: Final = {
    "boolean": "bool",
    "date": "datetime",
    "double": "real",
    "time": "timespan",
    "uniqueid": "guid",
    "uuid": "guid",
}
_NULLS: Final = frozenset({"NaTType", "NAType"})  # of pandas, which is not imported here
_LITERAL: Final = re.compile(r"\w+\s*\(.*\)", re.DOTALL)
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_TICKS_A_DAY: Final = 864_000_000_000
_TICKS_A_SECOND: Final = 10_000_000


def declared(tokens: Sequence[Token]) -> dict[str, str]:
    """Return the type of each parameter that a query declares in ``declare query_parameters (…)``, by name."""
    words = [token.text for token in tokens]
    begun = next((at for at, (one, two) in enumerate(pairwise(words)) if (one, two) == _DECLARE), None)
    if begun is None:
        return {}
    found, depth, previous = dict[str, str](), 0, ""
    for name, colon, kind in zip(words[begun + 3 :], words[begun + 4 :], words[begun + 5 :], strict=False):
        if not depth and previous in {"", ","} and colon == ":":
            found[name] = _ALIASES.get(kind, kind)
        depth += (name in {"(", "[", "{"}) - (name in {")", "]", "}"})
        if depth < 0:
            break
        previous = name
    return found


def bound(kinds: Mapping[str, str], values: Mapping[str, object]) -> dict[str, str | int]:
    """Return the values of parameters as the protocol sends them: literals as text, strings and longs unchanged.

    Text is the value of a string, and for any other type the text of a literal, such as ``2024-01-31`` or ``dynamic([1])``.

    Raises:
        InputError: The query does not declare a parameter, or its type cannot contain the value. No message quotes a value.
    """
    return {name: _bound(name, kinds, value) for name, value in values.items()}


def _bound(name: str, kinds: Mapping[str, str], value: object) -> str | int:
    if name not in kinds:
        declare = f"Begin the query with declare query_parameters({printable(name)}:string);"
        message = f"The query does not declare the parameter {name!r}."
        raise InputError(message, hint=did_you_mean(name, kinds) if kinds else declare)
    kind = kinds[name]
    try:
        text = value if isinstance(value, str) else _text(kind, value)
    except (TypeError, ValueError, OverflowError) as error:
        what = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        reason = f": {error}" if isinstance(error, _ReasonError) else ""
        message = f"The parameter {name!r} of type {kind} cannot be sent from a value of type {what}{reason}."
        raise InputError(message) from None
    if kind == "string":
        return text
    if kind == "long" and _WHOLE.fullmatch(text.strip()):
        return int(text)
    return text if _LITERAL.fullmatch(text.strip()) else f"{'time' if kind == 'timespan' else kind}({text})"


class _ReasonError(ValueError):
    """A value cannot be sent, for a reason that does not quote it."""


def _text(kind: str, value: Any) -> str:
    """Return a Python value as the text of a literal of a Kusto type; raise TypeError or ValueError if it does not fit."""
    if value is None or type(value).__name__ in _NULLS:
        if kind == "string":
            raise _ReasonError("a string cannot be null")
        return f"{kind}(null)"
    if getattr(getattr(value, "dtype", None), "kind", "") == "b":  # numpy.bool
        value = bool(value)
    for types, kinds, written in _WRITTEN:
        if isinstance(value, types):
            if kind == "dynamic" and types in _IN_JSON:
                return f"dynamic({_json(value)})"
            if kind in kinds:
                return written(value)
            break
    raise TypeError


def _json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        raise _ReasonError("it contains values that JSON cannot express") from None


def _plain(value: object) -> int | float:
    """Return a number of another library as Python's own."""
    match value:
        case Integral():
            return int(value)
        case Real():
            return float(value)
    raise TypeError


def _real(value: Real) -> str:
    return repr(float(value)).replace("inf", "+inf").replace("-+", "-")


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise _ReasonError("it is not finite")
    return format(value, "f")


def _datetime(value: datetime) -> str:
    """Return a time in UTC; a time without a time zone is in UTC already, as in Kusto's literals."""
    utc = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    fraction = utc.microsecond * 10 + _hundreds(getattr(utc, "nanosecond", 0))
    whole = datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second)  # noqa: DTZ001 - Z is added
    return f"{whole.isoformat()}.{fraction:07d}Z"


def _timespan(value: timedelta) -> str:
    whole = (value.days * 86_400 + value.seconds) * _TICKS_A_SECOND + value.microseconds * 10
    ticks = whole + _hundreds(getattr(value, "nanoseconds", 0))
    days, rest = divmod(abs(ticks), _TICKS_A_DAY)
    seconds, fraction = divmod(rest, _TICKS_A_SECOND)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{'-' * (ticks < 0)}{days}.{clock}.{fraction:07d}"


def _hundreds(nanoseconds: int) -> int:
    """Return nanoseconds in units of 100, as Kusto keeps them; raise ValueError if that would change the value."""
    if nanoseconds % 100:
        raise _ReasonError("Kusto keeps times to 100 nanoseconds")
    return nanoseconds // 100


# The Kusto types that a Python value of each type can be sent as, and its literal; the first that fits decides.
_WRITTEN: Final[tuple[tuple[type | tuple[type, ...], tuple[str, ...], Callable[[Any], str]], ...]] = (
    (bool, ("bool",), lambda value: str(value).lower()),
    (Integral, ("int", "long", "real", "decimal"), lambda value: str(int(value))),
    (Decimal, ("decimal",), _decimal),
    (Real, ("real",), _real),
    (datetime, ("datetime",), _datetime),
    (date, ("datetime",), date.isoformat),
    (timedelta, ("timespan",), _timespan),
    (UUID, ("guid",), str),
    ((dict, list, tuple), (), str),
)
_IN_JSON: Final = (bool, Integral, Real, (dict, list, tuple))
