"""The translation of a query into SQL by duckdb-kql, with checks for the errors that it ignores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from kqlmi.local.engine import results
from kqlmi.local.language import literals
from kqlmi.local.language.reader import Reader
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import bad_request, semantic_error

_NAME = r'"((?:[^"]|"")*)"'
# A string literal, a column that keeps its name, or any other name, after AS or not.
_QUOTED = re.compile(rf"'(?:[^']|'')*'|{_NAME} AS \"\1\"|(AS\s+)?{_NAME}")

_SERIES = re.compile(r"'(?:[^']|'')*'|UNNEST\(generate_series\((CAST\()?")
_LONGEST = 1_000_000
_BOUNDED = (
    "generate_series(first, CASE WHEN {} > {} THEN error('the local cluster does not support ranges of more than {} values') "
    "ELSE last END, step)"
)
_DISTANCE = {
    "kqlmi_longs": "(CAST(last AS HUGEINT) - first) // nullif(step, 0)",
    "kqlmi_moments": "(epoch_us(last) - epoch_us(first)) // nullif(epoch_us(step), 0)",
}
_MOST_REPEATED = 1024
# The documentation differs: greater numbers are reduced to this one, or are allowed. DuckDB evaluates both branches.
_REPEAT = f"""CREATE MACRO repeat(value, times) AS CASE WHEN times > {_MOST_REPEATED} OR times * length(value) > {_LONGEST}
THEN error('the local cluster repeats a string at most {_MOST_REPEATED} times, up to {_LONGEST} characters')
ELSE rpad('', CAST(least(length(value) * greatest(times, 0), {_LONGEST}) AS INTEGER), value) END"""
MACROS = (
    *(
        f"CREATE MACRO {name}(first, last, step) AS {_BOUNDED.format(distance, _LONGEST, _LONGEST)}"
        for name, distance in _DISTANCE.items()
    ),
    _REPEAT,
)
"""The macros that a connection needs to run the SQL: they limit values during whose creation DuckDB ignores interrupts.

A macro takes precedence over DuckDB's own function of the same name.
"""

Schema = Mapping[str, Sequence[str]]
"""Column names by table name, which has the form ``alias.Table``."""


@dataclass(frozen=True)
class Query:
    """A query in the form that the engine reads, with its context; ``functions`` are definitions by database."""

    text: str
    database: str | None
    schema: Schema
    parameters: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str | None, list[str]] = field(default_factory=dict)


def to_sql(query: Query) -> tuple[str, dict[str, Any]]:
    """Return the SQL of a query and the values of its parameters."""
    schema = query.schema
    asked = (query.text, query.database, _frozen(schema), _frozen(query.functions))
    translated = _kept(*asked)
    if translated.declarations:
        declared = {one.name: one.type for one in translated.declarations}
        given = query.parameters.items()
        values = {name: _value(name, declared[name], one) for name, one in given if name in declared}
        translated = _translate(*asked, values)
    if translated.unbound:
        raise semantic_error(f"the query parameter '{translated.unbound[0]}' has no value")
    _refuse_other_case(str(translated), schema)
    return _SERIES.sub(_bounded, str(translated)), dict(translated.parameters)


_Frozen = tuple[tuple[Any, tuple[str, ...]], ...]


def _frozen(lists: Mapping[Any, Sequence[str]]) -> _Frozen:
    return tuple((name, tuple(values)) for name, values in lists.items())


def _translate(
    text: str, database: str | None, schema: _Frozen, functions: _Frozen, values: dict[str, Any] | None = None
) -> Any:
    import duckdb_kql  # heavy

    shapes, defined = ({name: list(texts) for name, texts in lists} for lists in (schema, functions))
    return duckdb_kql.to_sql(text, shapes, values, database, allow_write=False, functions=defined)


# Continuous exports and dashboards repeat the same queries.
_kept = lru_cache(maxsize=256)(_translate)


def _bounded(match: re.Match[str]) -> str:
    if match[0].startswith("'"):
        return match[0]
    return f"UNNEST(kqlmi_longs({match[1]}" if match[1] else "UNNEST(kqlmi_moments("


def _refuse_other_case(sql: str, schema: Schema) -> None:
    """Refuse a name in the wrong case, which Kusto would not find; DuckDB ignores case."""
    introduced: set[str] = set()
    used: set[str] = set()
    for kept, introduces, name in _QUOTED.findall(sql):
        (introduced if introduces else used).add((kept or name).replace('""', '"'))
    tables = {table.partition(".")[2] for table in schema}
    known = tables.union(*schema.values())
    by_lower = {name.lower(): name for name in known}
    for name in sorted(used - introduced - known - {""}):
        if name.lower() in by_lower:
            raise semantic_error(f"Failed to resolve '{name}'; did you mean '{by_lower[name.lower()]}'?")


def _value(name: str, kind: str, given: Any) -> Any:
    """Return a parameter's value as a Python object; clients send it as JSON or as a literal."""
    if not isinstance(given, str) or kind == "string":
        return given
    literal = literals.read(Reader(given))
    try:
        value = literal.value if literal and literal.type == kind else literals.parse(kind, given)
    except ValueError:
        raise bad_request(f"the query parameter '{name}' is {given!r}, which is not a valid {kind}") from None
    if value is None or kind not in {"datetime", "timespan"}:
        return value
    if kind == "datetime":
        return kusto_time.to_datetime(results.to_microseconds(value) * 10)
    return timedelta(microseconds=results.to_microseconds(value))
