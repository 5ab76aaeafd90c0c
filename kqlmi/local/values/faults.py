"""Refusals in Kusto's own error shape; where the service's words are not published, the words are kqlmi's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_DATA: Final = "Kusto.Data.Exceptions"
_SERVICE: Final = "Kusto.Common.Svc.Exceptions"
BAD_REQUEST: Final = f"{_DATA}.KustoBadRequestException"
"""The type of what is refused for no reason that has a type of its own."""
THROTTLED: Final = "Too many requests"
"""The code of what came while too much was running and waiting."""


@dataclass(frozen=True, slots=True)
class Inner:
    """What the service puts into ``innererror``; ``details`` is kqlmi's own, for programs that explain the refusal."""

    code: str
    message: str
    type_name: str
    details: Mapping[str, Any] = field(default_factory=dict)


class KustoError(Exception):
    """A request that the cluster refuses."""

    def __init__(
        self, status: int, code: str, type_name: str, detail: str, *, message: str = "", inner: Inner | None = None
    ) -> None:
        """Keep the parts of the body; ``detail`` becomes ``@message``."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.type_name = type_name
        self.detail = detail
        self.message = message or "Request is invalid and cannot be executed."
        self.inner = inner
        self.permanent = status not in {429, 503, 504}


def syntax_error(what: str) -> KustoError:
    """Refuse text that is no command or query."""
    inner = Inner("SYN0002", f"Syntax error: SYN0002: {what}", f"{_DATA}.SyntaxException")
    return _unprocessable("BadRequest_SyntaxError", inner.type_name, inner)


def semantic_error(what: str) -> KustoError:
    """Refuse a query that names what does not exist or mixes types."""
    inner = Inner("SEM0100", f"Semantic error: SEM0100: {what}", f"{_DATA}.SemanticException")
    return _unprocessable("General_BadRequest", BAD_REQUEST, inner)


def _unprocessable(code: str, type_name: str, inner: Inner) -> KustoError:
    return KustoError(400, code, type_name, f"Request is invalid and cannot be processed: {inner.message}", inner=inner)


def bad_request(what: str) -> KustoError:
    """Refuse a request for a reason of its own."""
    return KustoError(400, "General_BadRequest", BAD_REQUEST, f"Request is invalid and cannot be executed: {what}")


def unsupported(feature: str) -> KustoError:
    """Refuse what the documentation describes and the local cluster does not do."""
    return bad_request(f"the local cluster does not support {feature}")


def not_found(name: str, kind: str) -> KustoError:
    """Refuse a database or entity that does not exist; 400, because clients hide what a 404 says."""
    code, missing = ("DatabaseNotExist", "Database") if kind == "Database" else ("EntityNotFound", "Entity")
    what = f"Entity ID '{name}' of kind '{kind}' was not found."
    return KustoError(400, f"BadRequest_{code}", f"{_DATA}.{missing}NotFoundException", what)


def already_exists(name: str, kind: str) -> KustoError:
    """Refuse to create what is already there."""
    what = f"Entity ID '{name}' of kind '{kind}' already exists."
    return KustoError(400, "BadRequest", f"{_SERVICE}.EntityAlreadyExistsException", what)


def wrong_endpoint() -> KustoError:
    """Refuse a command at the query endpoint."""
    return _misdirected("A management command was sent to the query endpoint; send it to /v1/rest/mgmt.")


def other_endpoint(endpoint: str, query_url: str, ingest_url: str) -> KustoError:
    """Refuse what the other service of the cluster carries out."""
    right = query_url if endpoint == "ingest" else ingest_url
    return _misdirected(f"The {endpoint} endpoint does not take this; send it to {right}.")


def _misdirected(what: str) -> KustoError:
    return KustoError(400, "BadRequest", f"{_SERVICE}.AdminCommandWrongEndpointException", what)


def forbidden_operation(principal: str, operation: str, url: str) -> KustoError:
    """Refuse an operation for lack of a role."""
    what = f"Principal '{principal}' is not authorized to perform operation '{operation}' on '{url}'."
    return _forbidden(f"{_SERVICE}.UnauthorizedOperationException", what)


def forbidden_database(principal: str, database: str) -> KustoError:
    """Refuse to read a database for lack of a role."""
    what = f"Principal '{principal}' is not authorized to read database '{database}'."
    return _forbidden("Kusto.DataNode.Exceptions.UnauthorizedDatabaseAccessException", what)


def _forbidden(type_name: str, what: str) -> KustoError:
    return KustoError(403, "Forbidden", type_name, what, message="Caller is not authorized to perform this action")


def throttled(capacity: int, command_type: str = "", *, is_query: bool = False) -> KustoError:
    """Refuse one request too many; the type of a command is not known before it was read.

    Documented are the status, the sentence and the names of the exceptions. Code and message are as a user has published
    them, and so is the namespace of the exception for queries; that of the other is not known.
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
    """Return the error of a request that the server's own time limit ended."""
    return KustoError(
        504,
        "GatewayTimeout",
        f"{_DATA}.KustoRequestTimeoutException",
        f"Query execution has resulted in error (0x80DA0006): Query is expired after {seconds:g} s (servertimeout).",
        message="Request timed out.",
    )


def cancelled(reason: str) -> KustoError:
    """Return the error of a request that ``.cancel query`` ended."""
    what = f"Query was canceled{': ' + reason if reason else '.'}"
    return KustoError(400, "BadRequest_QueryCanceled", f"{_DATA}.KustoQueryCanceledException", what)


def http_error(status: int, code: str, what: str) -> KustoError:
    """Refuse at the level of HTTP."""
    return KustoError(status, code, f"{_SERVICE}.HttpRequestException", what, message=what)
