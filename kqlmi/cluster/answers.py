"""Answers that look like a success and are none: not whole, or with an error in a frame that closes them."""

from collections.abc import Mapping
from typing import Any, Final

# What gateways call the message of an error, the most telling first.
_MESSAGES: Final = (
    "@message",
    "error_description",
    "message",
    "detail",
    "details",
    "title",
    "error",
    "errors",
    "fault",
    "faultstring",
    "description",
    "reason",
)


class PartialAnswerError(Exception):
    """An answer that is not whole, or not in the form that was asked for."""


class RefusedError(Exception):
    """An answer that the SDK takes for an error; ``http_response`` is all of it, of which the SDK keeps only some."""

    def __init__(self, response: Any) -> None:
        """Keep the response."""
        super().__init__()
        self.http_response = response


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
    """Return the error of a response; of any other body its message, where it has one that is for people."""
    try:
        content = response.json()
    except (AttributeError, RecursionError, ValueError):
        text = " ".join(getattr(response, "text", "").split())
        return {"@message": "" if text.startswith("<") else text}
    found = one_api([content])
    return {**found, "@message": found.get("@message") or found.get("message") or _message(content)}


def _message(content: Any, depth: int = 4) -> str:
    """Return the message of an error in JSON of any shape that gateways write; empty if none is found."""
    if isinstance(content, str):
        return " ".join(content.split())
    if isinstance(content, dict) and depth:
        by_name = {str(name).casefold(): value for name, value in content.items()}
        content = [by_name.get(name) for name in _MESSAGES]
    if isinstance(content, list) and depth:
        return next(filter(None, (_message(one, depth - 1) for one in content)), "")
    return ""
