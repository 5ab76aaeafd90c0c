"""The engine's results and errors, converted to Kusto's."""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from kqlmi.local.language.literals import checked
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, bad_request, semantic_error, syntax_error, unsupported
from kqlmi.local.values.tables import Column, Table

_TICKS_A_MICROSECOND = 10
_RAISED = re.compile(r"(?:\w+ )*Error: (the local cluster .*)")
_MISSING_TABLE = re.compile(r"Table with name (.+?) does not exist")
_MISSING_COLUMN = re.compile(r"""(?:column|Column) "?([^"\s]+)"? (?:not found|referenced)""")


def to_microseconds(value: int) -> int:
    """Convert ticks to microseconds; refuse a value with a seventh fractional digit."""
    microseconds, rest = divmod(value, _TICKS_A_MICROSECOND)
    if rest:
        raise unsupported("values with a seventh fractional digit: its engine keeps microseconds")
    return microseconds


def from_duckdb(described: Iterable[Sequence[Any]], rows: Iterable[Sequence[Any]]) -> Table:
    """Return a DuckDB result with Kusto types; ``described`` contains the name and DuckDB type of each column."""
    kinds = [(name, str(kind)) for name, kind, *_ in described]
    columns = tuple(Column(name, _kusto(kind)) for name, kind in kinds)
    converters = [_converter(kind, column.type) for (_, kind), column in zip(kinds, columns, strict=True)]
    return Table(
        columns,
        tuple(tuple(convert(value) for convert, value in zip(converters, row, strict=True)) for row in rows),
    )


def refusal(error: Exception) -> KustoError:
    """Return the Kusto error for an exception from the engine."""
    from duckdb_kql.errors import KqlSyntaxError, KqlUnsupportedError  # heavy

    if isinstance(error, KustoError):
        return error
    message = str(error)
    if isinstance(error, KqlSyntaxError):
        return syntax_error(message)
    if isinstance(error, OSError):  # its message can contain a path on this machine
        return bad_request(f"the local cluster failed: {error.strerror or type(error).__name__}")
    if isinstance(error, KqlUnsupportedError):
        return bad_request(f"the engine of the local cluster does not support this: {message}")
    if match := _RAISED.match(message):
        return bad_request(match[1])
    return semantic_error(_unresolved(message) or message.partition("\n")[0])


def _unresolved(message: str) -> str:
    if match := _MISSING_TABLE.search(message):
        return f"'table' operator: Failed to resolve table expression named '{match[1]}'"
    if match := _MISSING_COLUMN.search(message):
        return f"Failed to resolve column or scalar expression named '{match[1]}'"
    return ""


def _kusto(kind: str) -> str:
    from duckdb_kql.types import kusto_type  # heavy

    if kind.strip('"') == "NULL":  # every other null of KQL has a type in DuckDB
        return "dynamic"
    if kusto_type(kind) == "decimal":
        raise bad_request("the engine of the local cluster does not compute decimal values exactly")
    return kusto_type(kind)


def _converter(kind: str, kusto: str) -> Callable[[Any], Any]:
    if kind == "JSON[]":  # each element is separate JSON
        return _nullable(lambda texts: "[" + ",".join("null" if one is None else one for one in texts) + "]")
    if kusto == "dynamic" and kind != "JSON" and "JSON" in kind:
        raise bad_request(
            f"the engine of the local cluster returns {kind}, which cannot be distinguished from a string"
        )
    return _FROM_DUCKDB[kusto]


def _nullable(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _datetime(value: Any) -> int:
    if isinstance(value, datetime):
        return kusto_time.from_datetime(value.replace(tzinfo=None))
    if isinstance(value, date):
        return kusto_time.from_datetime(datetime(value.year, value.month, value.day))  # noqa: DTZ001 - ticks have no zone
    raise bad_request(f"the datetime {value} is outside the years 1 to 9999")


def _timespan(value: Any) -> int:
    if not isinstance(value, timedelta):
        raise bad_request(f"the engine of the local cluster returned {value!r}, which is not a timespan")
    span = kusto_time.from_timedelta(value)
    if not kusto_time.MIN_TIMESPAN <= span <= kusto_time.MAX_TIMESPAN:
        raise bad_request(f"the timespan {value} is out of range")
    return span


def _string(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise bad_request(f"the engine of the local cluster returned {value!r}, which is not a string")
    return value


def _dynamic(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_json(value), ensure_ascii=False)


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, datetime):
        return kusto_time.format_datetime(_datetime(value))
    if isinstance(value, timedelta):
        return kusto_time.format_timespan(_timespan(value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


_FROM_DUCKDB: dict[str, Callable[[Any], Any]] = {
    "bool": _nullable(bool),
    "int": _nullable(int),
    "long": _nullable(checked),
    "real": _nullable(float),
    "string": _string,
    "guid": _nullable(str),
    "dynamic": _nullable(_dynamic),
    "datetime": _nullable(_datetime),
    "timespan": _nullable(_timespan),
}
