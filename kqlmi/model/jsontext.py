"""JSON as the service reads it, written without changing any number."""

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any

from kqlmi.errors import PolicyError
from kqlmi.redaction import is_secret

# An unclosed string extends to the end, so that nothing is scanned twice.
_STRINGS = re.compile(r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?""", re.DOTALL)


class Raw(str):
    """JSON text that is written unchanged."""

    __slots__ = ()


def dump(value: Any, indent: str = "\n") -> str:
    """Return JSON text in ASCII, with decimals exactly as they were read."""
    inner = indent + "  "
    if isinstance(value, Raw | Decimal):
        return str(value)
    if isinstance(value, dict) and value:
        rows = (f"{json.dumps(name)}: {dump(item, inner)}" for name, item in value.items())
        return "{" + inner + f",{inner}".join(rows) + indent + "}"
    if isinstance(value, list) and value:
        return "[" + inner + f",{inner}".join(dump(item, inner) for item in value) + indent + "]"
    return json.dumps(value)


def load(text: str) -> Any:
    """Read JSON, whose strings may be in single quotes; numbers with a decimal point become ``Decimal``.

    Raises:
        PolicyError: The text is not JSON, or an object contains a property twice.
    """
    try:
        # Policies that the service wrote have no single quotes, and need no conversion.
        strict = _STRINGS.sub(_double_quoted, text) if "'" in text else text
        return json.loads(strict, object_pairs_hook=_object, parse_float=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        # An excerpt of a secret would not be recognised as one, and so not be redacted.
        near = "" if is_secret(text) else f", near {text[max(0, error.pos - 12) : error.pos + 12]!r}"
        raise PolicyError(
            f"The text is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}{near}.",
            hint='A policy looks like [{"ObjectId": "<guid>", "AllowedUsages": "ExternalTable"}].',
        ) from None
    except (RecursionError, ValueError):
        hint = "It is nested too deeply, or a number in it is too long."
        raise PolicyError("Cannot read the JSON.", hint=hint) from None


def read(value: Any, *, broken: Any = None) -> Any:
    """Return the value of a JSON string: None if it is empty, and ``broken`` if it is not valid.

    A value that is not a string was read before, and is returned unchanged.
    """
    try:
        return (load(value) if value.strip() else None) if isinstance(value, str) else value
    except PolicyError:
        return broken


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        [(twice, _)] = Counter(name for name, _ in items).most_common(1)
        raise PolicyError(f"Property {twice!r} occurs twice in one object.", hint="Remove one of them.")
    return found


def _refuse(constant: str) -> None:
    raise PolicyError(f"{constant} is not valid JSON.")


def _double_quoted(match: re.Match[str]) -> str:
    if match[0].startswith('"') or len(match[0]) == 1 or not match[0].endswith("'"):
        return match[0]
    # Escapes are matched whole, so that the second backslash of an escaped pair never begins another escape.
    return '"' + re.sub(r"\\'|\\.|\"", lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]), match[0][1:-1]) + '"'
