"""Answers that look like a success and are none: not whole, or with an error in a frame that closes them."""

from collections.abc import Mapping
from typing import Any


class PartialAnswerError(Exception):
    """An answer that is not whole, or not in the form that was asked for."""


class LateError(Exception):
    """An error that a frame of a successful answer carries; ``error`` is as the service writes it."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        """Keep the service's error."""
        super().__init__()
        self.error = error


def refuse_part(answer: Any) -> None:
    """Refuse a v2 answer that does not end, or that comes in pieces, and any answer without a table."""
    if isinstance(answer, list):
        kinds = [frame.get("FrameType") for frame in answer]
        whole = kinds[-1:] == ["DataSetCompletion"] and "DataTable" in kinds and "TableFragment" not in kinds
    else:
        whole = bool(answer.get("Tables"))
    if not whole:
        raise PartialAnswerError


def refuse_late_errors(answer: Any) -> None:
    """Raise the error that stands in a closing frame of a v2 answer."""
    for frame in answer if isinstance(answer, list) else ():
        if frame.get("FrameType") == "DataSetCompletion" and (frame.get("HasErrors") or frame.get("Cancelled")):
            raise LateError(one_api(frame.get("OneApiErrors")))
        if frame.get("TableKind") == "QueryCompletionInformation":
            names = [column["ColumnName"] for column in frame["Columns"]]
            for row in frame["Rows"]:
                fields = dict(zip(names, row, strict=False))
                # Level 4 is information, below it stand errors.
                if isinstance(row, list) and fields.get("Level", 4) < 4:  # noqa: PLR2004
                    raise LateError({"@message": str(fields.get("Payload", ""))})


def one_api(errors: Any) -> dict[str, Any]:
    """Give the first of the service's errors; empty where it is in no known form."""
    first = errors[0] if errors and isinstance(errors[0], dict) else {}
    found = first.get("error")
    return found if isinstance(found, dict) else {}


def body(response: Any) -> dict[str, Any]:
    """Give the error of a response; plain text becomes its message, and a page of markup does not."""
    try:
        found = one_api([response.json()])
    except (AttributeError, ValueError):
        found = {}
    text = " ".join(getattr(response, "text", "").split())
    return found or {"@message": "" if text.startswith("<") else text}
