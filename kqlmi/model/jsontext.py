"""JSON as the service reads it, and written without changing a number."""

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any

from kqlmi.errors import PolicyError
from kqlmi.redaction import is_secret

# A string that is not closed reaches to the end, so that no text is gone over twice.
_STRINGS = re.compile(r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?""", re.DOTALL)


class Raw(str):
    """JSON text that is written as it is."""

    __slots__ = ()


def dump(value: Any, indent: str = "\n") -> str:
    """Give JSON text in ASCII, decimals as they were read: a float would round them."""
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
    """Read JSON in which strings may stand in single quotes; numbers with a point become decimals.

    Raises:
        PolicyError: It is not JSON, or a property stands twice in an object.
    """
    try:
        # A policy as the service writes it has no single quote, and nothing to go over.
        strict = _STRINGS.sub(_double_quoted, text) if "'" in text else text
        return json.loads(strict, object_pairs_hook=_object, parse_float=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        # A piece of a secret does not show that it is one.
        near = "" if is_secret(text) else f", near {text[max(0, error.pos - 12) : error.pos + 12]!r}"
        raise PolicyError(
            f"That is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{near}.",
            hint='A policy looks like [{"ObjectId": "<guid>", "AllowedUsages": "ExternalTable"}].',
        ) from None
    except (RecursionError, ValueError):
        raise PolicyError("That is not JSON that can be read.", hint="It is nested too deep, or too long.") from None


def read(value: Any, *, broken: Any = None) -> Any:
    """Return what a JSON text holds: None where it is empty, and ``broken`` where it is none.

    What is no text was read already, and is returned as it is.
    """
    try:
        return (load(value) if value.strip() else None) if isinstance(value, str) else value
    except PolicyError:
        return broken


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        [(twice, _)] = Counter(name for name, _ in items).most_common(1)
        raise PolicyError(f"Property {twice!r} stands twice in one object.")
    return found


def _refuse(constant: str) -> None:
    raise PolicyError(f"{constant} is not JSON.")


def _double_quoted(match: re.Match[str]) -> str:
    if match[0].startswith('"') or len(match[0]) == 1 or not match[0].endswith("'"):
        return match[0]
    # A pair of characters at a time, so that a backslash is never taken for the escape of what follows its pair.
    return '"' + re.sub(r"\\'|\\.|\"", lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]), match[0][1:-1]) + '"'
