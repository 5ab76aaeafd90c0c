"""The reader of the result tables in a response, which must be complete and contain no error."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from kqlmi.cluster.protocol.response_checks import LateError, PartialAnswerError
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.model import jsontext

_RESULTS: Final = frozenset({"PrimaryResult", "QueryResult"})
# The tables that are not results; a table of an unknown kind is returned as a result.
_BESIDE: Final = frozenset(
    {"QueryCompletionInformation", "QueryPerfLog", "QueryPlan", "QueryProperties", "QueryStatus", "QueryTraceLog", "TableOfContents"}
)  # fmt: skip
_CONTENTS: Final = frozenset({"Ordinal", "Kind", "Name", "Id"})
_STATUS: Final = frozenset({"Severity", "StatusCode", "StatusDescription"})
_UNNAMED: Final = "The cluster reported an error without a message."

# Where each protocol reports how a request ended: the level below which it is an error, and the columns of the message.
# Severity 2 or less: concepts/partial-query-failures.md of the documentation. Level: the SDK.
_ENDINGS: Final = {
    "QueryCompletionInformation": ("Level", 4, "Payload", "StatusCodeName"),
    "QueryStatus": ("Severity", 3, "StatusDescription", "SeverityName"),
}


class _Part(NamedTuple):
    """A table of a response, with its kind and name in the response."""

    kind: str
    name: str
    content: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column["ColumnName"] for column in self.content["Columns"]]

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries, by the names of the columns."""
        names = self.names
        return (dict(zip(names, row, strict=False)) for row in self.content["Rows"] if isinstance(row, list))


def read(answer: Any, *, version: int) -> Table:
    """Return the first result table of a v1 or v2 response, with the others in ``others``.

    Raises:
        LateError: The response contains an error.
        PartialAnswerError: The response is incomplete, or does not follow the protocol.
    """
    parts, whole = _parts_of_v2(answer) if version > 1 else _parts_of_v1(answer)
    errors = [*_errors(answer, parts), *_statuses(parts)]
    if errors:
        # An error with a code is the most informative.
        raise LateError(next((error for error in errors if error.get("code")), errors[0]))
    results = [part for part in parts if part.kind not in _BESIDE]
    if not whole or not any(part.kind in _RESULTS for part in results):
        raise PartialAnswerError
    first, *others = map(_table, results)
    return replace(first, others=tuple(others), visualization=next(_visualizations(parts), ""))


def _visualizations(parts: Sequence[_Part]) -> Iterator[str]:
    """Yield the kinds of charts that ``render`` requests, which the answer describes as JSON beside its tables."""
    for part in parts:
        for row in part.records if part.kind == "QueryProperties" else ():
            described = jsontext.read(row.get("Value"))
            kind = described.get("Visualization") if isinstance(described, dict) else None
            if isinstance(kind, str) and kind and kind != "table":
                yield kind


def _parts_of_v2(answer: Any) -> tuple[list[_Part], bool]:
    """Return the tables of a v2 response, and whether it is complete and has no table in fragments."""
    kinds = [frame.get("FrameType") for frame in answer]
    tables = [frame for frame in answer if frame["FrameType"] == "DataTable"]
    parts = [_Part(str(table["TableKind"]), str(table["TableName"]), table) for table in tables]
    return parts, kinds[-1:] == ["DataSetCompletion"] and "TableFragment" not in kinds


def _parts_of_v1(answer: Any) -> tuple[list[_Part], bool]:
    """Return the tables of a v1 response, and whether they match its table of contents."""
    parts = [_Part("QueryResult", str(table.get("TableName", "")), table) for table in answer.get("Tables") or ()]
    if len(parts) < 2 or not _CONTENTS.issubset(parts[-1].names):  # noqa: PLR2004 - a table, and the contents
        return [*parts[:1], *(part._replace(kind=_kind(part)) for part in parts[1:])], True
    *parts, contents = parts
    rows = {int(row["Ordinal"]): row for row in contents.records if row["Kind"] != "TableOfContents"}
    listed = [(part, rows.get(place, {})) for place, part in enumerate(parts)]
    return [
        part._replace(kind=str(row.get("Kind", "")), name=str(row.get("PrettyName") or row.get("Name", "")))
        for part, row in listed
    ], set(rows) == set(range(len(parts)))


def _kind(part: _Part) -> str:
    """Return the kind of a table after the first, if the response has no table of contents."""
    if _STATUS.issubset(part.names):
        return "QueryStatus"
    rows = part.content["Rows"]
    properties = part.names == ["Value"] and all(isinstance(row, list) and str(row[0])[:1] == "{" for row in rows)
    return "QueryProperties" if properties else "QueryResult"


def _errors(answer: Any, parts: Sequence[_Part]) -> Iterator[Mapping[str, Any]]:
    """Yield the errors next to the tables, in a table, or instead of a row."""
    frames = answer if isinstance(answer, list) else [answer, *(part.content for part in parts)]
    for frame in frames:
        found = list(_stated(frame))
        yield from found
        if not found and (frame.get("HasErrors") or frame.get("Cancelled")):
            yield {"@message": _UNNAMED if frame.get("HasErrors") else "The request was cancelled."}
    for part in parts:
        for row in part.content["Rows"]:
            if isinstance(row, dict):
                yield from list(_stated(row)) or [{"@message": _UNNAMED}]


def _stated(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for found in (holder.get("OneApiErrors"), holder.get("Exceptions")):
        for one in found if isinstance(found, list) else [found] if found else []:
            inner = one.get("error", one) if isinstance(one, dict) else one
            yield inner if isinstance(inner, dict) else {"@message": str(inner or _UNNAMED)}


def _statuses(parts: Sequence[_Part]) -> Iterator[Mapping[str, Any]]:
    """Yield the errors in the tables that report how the request ended."""
    for part in parts:
        if part.kind in _ENDINGS:
            level, least, words, word = _ENDINGS[part.kind]
            for row in part.records:
                if row.get(level, least) < least:
                    yield {"@message": _words(row.get(words)) or str(row.get(word) or _UNNAMED)}


def _words(status: Any) -> str:
    """Return the message of a status, which may be in JSON, or an empty string."""
    if isinstance(status, str) and status.lstrip()[:1] == "{":
        status = jsontext.read(status, broken=status)
    if isinstance(status, dict):
        status = status.get("Text")
    return status if isinstance(status, str) else ""


def _table(part: _Part) -> Table:
    columns = tuple(
        Column.of(column["ColumnName"], column.get("ColumnType") or column.get("DataType") or "string")
        for column in part.content["Columns"]
    )
    for number, row in enumerate(part.content["Rows"], 1):
        if not isinstance(row, list):
            raise PartialAnswerError
        if len(row) != len(columns):
            raise PartialAnswerError(f"row {number} of {part.name} has {len(row)} values for {len(columns)} columns")
    return Table(columns, tuple(part.content["Rows"]), part.name)
