"""The JSON payloads of policy commands, read with errors in Kusto's format."""

from typing import Any

from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import bad_request


def read(policy: str, text: str) -> Any:
    """Read the payload of a command; ``policy`` is the kind of policy, for errors."""
    try:
        return lenient_json.loads(text)
    except lenient_json.LenientJsonError as error:
        raise bad_request(f"{policy} policy: the payload is not valid JSON: {error}") from error


def read_array(policy: str, text: str) -> list[Any]:
    """Read a payload that must be an array of policy objects."""
    items = read(policy, text)
    if not isinstance(items, list):
        raise bad_request(f"{policy} policy: the payload must be a JSON array of policy objects")
    return items
