"""Values as the text that files hold: read from it into a type, written to it without loss."""

from collections.abc import Callable
from typing import Any

from kqlmi.local.language import literals
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, unsupported
from kqlmi.local.values.tables import Column


def read(column: Column, text: str | None) -> Any:
    """Return the value that a text has in a column; nothing is null, but the empty text in a string column.

    Documented: a value that its column cannot hold is null.
    """
    if column.type == "string":
        return text or ""
    if text is None or not text.strip():
        return None
    try:
        return literals.parse(column.type, text.strip())
    except (ValueError, KustoError):
        if column.type == "dynamic":  # whether it becomes null or a string is not documented
            raise unsupported(f"text that is no JSON, as in the column {column.name!r}") from None
        return None


def write(column: Column, value: Any) -> str | None:
    """Return the text of a value, which ``read`` takes back; null is None."""
    return None if value is None else _WRITERS.get(column.type, str)(value)


_WRITERS: dict[str, Callable[[Any], str]] = {
    "bool": lambda value: "true" if value else "false",
    "datetime": kusto_time.format_datetime,
    "timespan": kusto_time.format_timespan,
}
