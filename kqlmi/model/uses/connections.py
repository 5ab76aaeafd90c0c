"""The managed identity that a connection string names, for storage and for SQL.

Source: the pages on storage and SQL connection strings of the Azure Data Explorer documentation. That key names are
case-insensitive is inferred.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kqlmi.model.kql.source_map import UNKNOWN

# Connection strings are shorter; the limit bounds the cost of reading one, however often it is used.
_MAX_LENGTH: Final = 8192
# The service masks secrets with asterisks, and the masked part may contain an identity.
_DOUBTFUL = re.compile(rf"{UNKNOWN}|\*{{3,}}")
_SEGMENT = re.compile(r"(?:^|;)([^;]*)")
_QUOTED_PIECE = re.compile(r"\"[^\"]*\"|'[^']*'|;|[^;\"']+|.", re.DOTALL)
_MANAGED: Final = "activedirectorymanagedidentity"
_STORAGE_KEYS: Final = ("managed_identity", "managedidentity")
_USER_KEYS: Final = ("user id", "userid", "uid", "user")
_OTHER_KEYS: Final = ("password", "pwd", "accountkey", "access token")
_SERVER_KEYS: Final = ("server", "data source", "address", "addr", "network address", "accountendpoint")


@dataclass(frozen=True, slots=True)
class Named:
    """An identity as written in a connection string, from ``start`` to ``end``, or None if it cannot be determined."""

    identity: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Connection:
    """The identities that a connection string authenticates with, and its URL or server, without credentials."""

    named: tuple[Named, ...]
    target: str = ""


def storage(text: str) -> Connection:
    """Read ``URL;managed_identity=…``, the form for storage and for AI models."""
    if len(text) > _MAX_LENGTH:
        return Connection((Named(None, 0, len(text)),))
    bounds = [match.span(1) for match in _SEGMENT.finditer(text)]
    target = _url(text[: bounds[0][1]])
    named = tuple(
        _named(text, *_trimmed(text, start + equals + 1, end))
        for start, end in bounds[1:]
        if (equals := text[start:end].find("=")) >= 0
        and text[start : start + equals].strip().casefold() in _STORAGE_KEYS
        and text[start + equals + 1 : end].strip()
    )
    if named:
        return Connection(named, target)
    methods = [text[start:end].strip() for start, end in bounds[1:]]
    if any(method and not _DOUBTFUL.search(method) for method in methods):
        return Connection((), target)
    return Connection(_doubt(text), target)


def sql(text: str) -> Connection:
    """Read ``Server=…;Authentication="Active Directory Managed Identity";User Id=…``, for SQL Server and Cosmos DB."""
    if len(text) > _MAX_LENGTH:
        return Connection((Named(None, 0, len(text)),))
    fields = dict(_fields(text))
    server = next((text[slice(*fields[key])] for key in _SERVER_KEYS if key in fields), "")
    target = "" if _DOUBTFUL.search(server) else server
    way = fields.get("authentication")
    method = text[slice(*way)] if way else ""
    if way and "".join(method.casefold().split()) == _MANAGED:
        user = next((fields[key] for key in _USER_KEYS if key in fields and range(*fields[key])), None)
        if user:
            return Connection((_named(text, *user),), target)
        return Connection(_doubt(text) or (Named("system", *way),), target)
    if (method and not _DOUBTFUL.search(method)) or any(key in fields for key in _OTHER_KEYS):
        return Connection((), target)
    return Connection(_doubt(text), target)


def either(text: str) -> Connection:
    """Read a connection string of either kind, for flows that do not support a managed identity."""
    found = storage(text)
    return found if found.named else sql(text)


def addressed(text: str) -> Connection:
    """Read a string that may be a connection string: it is one only if it begins with a target and names an identity."""
    found = either(text)
    return found if len(found.target.split()) == 1 else Connection(())


def plain(text: str) -> Connection:
    """Read a string that consists of an identity alone."""
    start, end = _trimmed(text, 0, len(text))
    return Connection((_named(text, start, end),) if start < end else ())


def is_cosmos(text: str) -> bool:
    """Check whether a connection string is for Cosmos DB rather than for SQL Server."""
    return any(key == "accountendpoint" for key, _ in _fields(text[:_MAX_LENGTH]))


def _named(text: str, start: int, end: int) -> Named:
    value = text[start:end]
    return Named(None if _DOUBTFUL.search(value) else value, start, end)


def _doubt(text: str) -> tuple[Named, ...]:
    found = _DOUBTFUL.search(text)
    return (Named(None, *found.span()),) if found else ()


def _url(text: str) -> str:
    url = text.partition("?")[0].strip()
    if "://" not in url or _DOUBTFUL.search(url):
        return ""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    # The part before the @ in abfss://filesystem@account is not a credential.
    return f"{scheme}://{host.rpartition('@')[2] if scheme.casefold().startswith('http') else host}{slash}{path}"


def _fields(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each key in lower case with the span of its value; a semicolon in quotes does not end a value."""
    start, marks = 0, [match.start() for match in _QUOTED_PIECE.finditer(text) if match[0] == ";"]
    for end in (*marks, len(text)):
        equals = text.find("=", start, end)
        if equals >= 0:
            first, last = _trimmed(text, equals + 1, end)
            if last - first > 1 and text[first] in "\"'" and text[last - 1] == text[first]:
                first, last = _trimmed(text, first + 1, last - 1)
            yield " ".join(text[start:equals].casefold().split()), (first, last)
        start = end + 1


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    value = text[start:end]
    start += len(value) - len(value.lstrip())
    return start, start + len(value.strip())
