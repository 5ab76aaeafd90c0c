"""The textual form of values in files, read by type and written without loss."""

from collections.abc import Callable
from typing import Any

from kqlmi.local.language import literals
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, unsupported
from kqlmi.local.values.tables import Column


def read(column: Column, text: str | None) -> Any:
    """Return the value of a field in a column; a missing or blank one is null, except in a string column.

    Documented: a value that does not fit its column is null.
    """
    if column.type == "string":
        return text or ""
    if text is None or not text.strip():
        return None
    try:
        return literals.parse(column.type, text.strip())
    except (ValueError, KustoError):
        if column.type == "dynamic":  # whether it becomes null or a string is not documented
            raise unsupported(f"values that are not JSON, as in the column {column.name!r}") from None
        return None


def write(column: Column, value: Any) -> str | None:
    """Return a value as a string that ``read`` converts back, or None for null."""
    return None if value is None else _WRITERS.get(column.type, str)(value)


_WRITERS: dict[str, Callable[[Any], str]] = {
    "bool": lambda value: "true" if value else "false",
    "datetime": kusto_time.format_datetime,
    "timespan": kusto_time.format_timespan,
}
