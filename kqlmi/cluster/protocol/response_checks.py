"""The responses that are not results: errors, and incomplete responses."""

from collections.abc import Mapping
from typing import Any, Final

# The names that gateways use for the message of an error, the most informative first.
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
    """A response that is incomplete or not in the requested form. The message states what is missing, if known."""


class RefusedError(Exception):
    """A response that the SDK treats as an error. ``http_response`` is the whole response, which the SDK truncates."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.http_response = response


class LateError(Exception):
    """An error in a frame of a successful response. ``error`` is the service's own JSON."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__()
        self.error = error


def body(response: Any) -> dict[str, Any]:
    """Return the error in the body of a response. A body in another form has only its message, if that is readable."""
    try:
        content = response.json()
    except (AttributeError, RecursionError, ValueError):
        text = " ".join(getattr(response, "text", "").split())
        return {"@message": "" if text.startswith("<") else text}
    error = content.get("error") if isinstance(content, dict) else None
    found = error if isinstance(error, dict) else {}
    return {**found, "@message": found.get("@message") or found.get("message") or _message(content)}


def _message(content: Any, depth: int = 4) -> str:
    """Return the message of an error in JSON of any shape that gateways use, or an empty string."""
    if isinstance(content, str):
        return " ".join(content.split())
    if isinstance(content, dict) and depth:
        by_name = {str(name).casefold(): value for name, value in content.items()}
        content = [by_name.get(name) for name in _MESSAGES]
    if isinstance(content, list) and depth:
        return next(filter(None, (_message(one, depth - 1) for one in content)), "")
    return ""
