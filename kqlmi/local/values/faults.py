"""Errors in Kusto's own format; a message that the service does not publish is kqlmi's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_DATA: Final = "Kusto.Data.Exceptions"
_SERVICE: Final = "Kusto.Common.Svc.Exceptions"
BAD_REQUEST: Final = f"{_DATA}.KustoBadRequestException"
"""The exception type of an error that has no more specific type."""
THROTTLED: Final = "Too many requests"
"""The error code of a request that exceeds the limit of running and waiting requests."""


@dataclass(frozen=True, slots=True)
class Inner:
    """The content of ``innererror``; ``details`` is kqlmi's addition, for programs that explain the error."""

    code: str
    message: str
    type_name: str
    details: Mapping[str, Any] = field(default_factory=dict)


class KustoError(Exception):
    """An error with which the cluster refuses a request."""

    def __init__(
        self, status: int, code: str, type_name: str, detail: str, *, message: str = "", inner: Inner | None = None
    ) -> None:
        """Store the parts of the response body; ``detail`` becomes ``@message``."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.type_name = type_name
        self.detail = detail
        self.message = message or "Request is invalid and cannot be executed."
        self.inner = inner
        self.permanent = status not in {429, 503, 504}


def syntax_error(what: str) -> KustoError:
    """Return the error for input that is not a command or query."""
    inner = Inner("SYN0002", f"Syntax error: SYN0002: {what}", f"{_DATA}.SyntaxException")
    return _unprocessable("BadRequest_SyntaxError", inner.type_name, inner)


def semantic_error(what: str) -> KustoError:
    """Return the error for a query that refers to something unknown or mixes types."""
    inner = Inner("SEM0100", f"Semantic error: SEM0100: {what}", f"{_DATA}.SemanticException")
    return _unprocessable("General_BadRequest", BAD_REQUEST, inner)


def _unprocessable(code: str, type_name: str, inner: Inner) -> KustoError:
    return KustoError(400, code, type_name, f"Request is invalid and cannot be processed: {inner.message}", inner=inner)


def bad_request(what: str) -> KustoError:
    """Return the error for a request that is invalid for the given reason."""
    return KustoError(400, "General_BadRequest", BAD_REQUEST, f"Request is invalid and cannot be executed: {what}")


def unsupported(feature: str) -> KustoError:
    """Return the error for a documented feature that the local cluster does not support."""
    return bad_request(f"the local cluster does not support {feature}")


def not_found(name: str, kind: str) -> KustoError:
    """Return the error for a missing database or entity; its status is 400, because clients hide the message of a 404."""
    code, missing = ("DatabaseNotExist", "Database") if kind == "Database" else ("EntityNotFound", "Entity")
    what = f"Entity ID '{name}' of kind '{kind}' was not found."
    return KustoError(400, f"BadRequest_{code}", f"{_DATA}.{missing}NotFoundException", what)


def already_exists(name: str, kind: str) -> KustoError:
    """Return the error for the creation of an entity that already exists."""
    what = f"Entity ID '{name}' of kind '{kind}' already exists."
    return KustoError(400, "BadRequest", f"{_SERVICE}.EntityAlreadyExistsException", what)


def wrong_endpoint() -> KustoError:
    """Return the error for a command sent to the query endpoint."""
    return _misdirected("A management command was sent to the query endpoint; send it to /v1/rest/mgmt.")


def other_endpoint(endpoint: str, query_url: str, ingest_url: str) -> KustoError:
    """Return the error for a request that belongs to the cluster's other endpoint."""
    right = query_url if endpoint == "ingest" else ingest_url
    return _misdirected(f"The {endpoint} endpoint does not support this request; send it to {right}.")


def _misdirected(what: str) -> KustoError:
    return KustoError(400, "BadRequest", f"{_SERVICE}.AdminCommandWrongEndpointException", what)


def forbidden_operation(principal: str, operation: str, url: str) -> KustoError:
    """Return the error for an operation that the principal's roles do not permit."""
    what = f"Principal '{principal}' is not authorized to perform operation '{operation}' on '{url}'."
    return _forbidden(f"{_SERVICE}.UnauthorizedOperationException", what)


def forbidden_database(principal: str, database: str) -> KustoError:
    """Return the error for reading a database without a role that permits it."""
    what = f"Principal '{principal}' is not authorized to read database '{database}'."
    return _forbidden("Kusto.DataNode.Exceptions.UnauthorizedDatabaseAccessException", what)


def _forbidden(type_name: str, what: str) -> KustoError:
    return KustoError(403, "Forbidden", type_name, what, message="Caller is not authorized to perform this action")


def throttled(capacity: int, command_type: str = "", *, is_query: bool = False) -> KustoError:
    """Return the error for a request beyond the capacity; the type of a command is unknown until it is read.

    Documented: the status, the sentence and the names of the exceptions. Published by a user: the code, the message and the
    namespace of the exception for queries. The namespace of the other exception is unknown.
    """
    what, kind = ("query", "Query") if is_query else ("management command", "ControlCommand")
    which = f"CommandType: '{command_type}', " if command_type else ""
    return KustoError(
        429,
        THROTTLED,
        f"Kusto.DataNode.Exceptions.{kind}ThrottledException",
        f"The {what} was aborted due to throttling. Retrying after some backoff might succeed. {which}Capacity: {capacity}, "
        "Origin: 'RequestRateLimitPolicy/WorkloadGroup/default'.",
        message="Request is denied due to throttling.",
    )


def timed_out(seconds: float) -> KustoError:
    """Return the error for a request that exceeded its server timeout."""
    return KustoError(
        504,
        "GatewayTimeout",
        f"{_DATA}.KustoRequestTimeoutException",
        f"Query execution has resulted in error (0x80DA0006): Query is expired after {seconds:g} s (servertimeout).",
        message="Request timed out.",
    )


def cancelled(reason: str) -> KustoError:
    """Return the error for a request that ``.cancel query`` ended."""
    what = f"Query was canceled{': ' + reason if reason else '.'}"
    return KustoError(400, "BadRequest_QueryCanceled", f"{_DATA}.KustoQueryCanceledException", what)


def http_error(status: int, code: str, what: str) -> KustoError:
    """Return the error for a request that is refused at the HTTP level."""
    return KustoError(status, code, f"{_SERVICE}.HttpRequestException", what, message=what)
