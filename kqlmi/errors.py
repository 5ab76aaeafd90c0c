"""The error tree: everything that kqlmi raises, and what an interrupt becomes.

KqlmiError
├── InputError                  invalid input; nothing was sent
│   ├── PolicyError             a policy's JSON, an object ID, a usage
│   └── CellError               a cell or a magic line
├── NotConnectedError           no connection is open
├── MissingExtraError           an optional dependency is not installed
├── SignInError                 no token was obtained
├── ConnectionFailedError       the cluster did not respond
│   └── RequestTimeoutError     …before the timeout
├── ResourceManagerError        Azure Resource Manager refused a request, or did not respond
├── HistoryError                a change cannot be recorded, or a record cannot be read (kqlmi.history)
├── ServiceError                the cluster returned an error
│   ├── UnauthorizedError       401: the token was not accepted
│   ├── ForbiddenError          403: a Kusto role is missing
│   ├── EndpointNotFoundError   404: no Kusto endpoint at this URL
│   ├── AnswerError             the response is not from Kusto, is incomplete, or does not match the request
│   ├── NoSuchPolicyError       the cluster does not seem to support the ManagedIdentity policy
│   └── ThrottledError          429: too many requests
├── IngestionError              an ingestion failed, or no report of it arrived
└── ApplyError                  a plan was not applied as a whole; its steps report what was applied

KeyboardInterrupt
└── RequestInterruptedError     an interrupt during a request; not a KqlmiError, so that code which continues after an
                                error does not continue after an interrupt
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypedDict, Unpack

from kqlmi.redaction import redacted, redacted_values

# Statuses with which a service reports that it did nothing. A 5xx proves nothing.
_REFUSALS: Final = range(400, 500)
_BASIC_PLANE: Final = 0xFFFF


def is_refusal(status: int | None, *, own: bool) -> bool:
    """Check whether a response proves that a service refused a request: a 4xx status in the service's ``own`` response.

    Proxies and gateways return any status, whether or not they passed the request on.
    """
    return own and status in _REFUSALS


def printable(text: str) -> str:
    """Return ``text`` for display, with invisible and control characters written as escapes."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    # After a lowercase u, only four digits belong to the escape.
    return f"\\u{ord(char):04x}" if ord(char) <= _BASIC_PLANE else f"\\U{ord(char):08x}"


class _Common(TypedDict, total=False):
    """The keyword arguments that every error accepts."""

    hint: str
    client_request_id: str
    sent: bool


class _Sentence(BaseException):
    """An error with one sentence that states what is wrong, and a hint that states what to do next.

    ``client_request_id`` identifies the failed request in ``.show commands-and-queries``, or is empty if no request was
    made. ``sent`` is False only if the request certainly never left.
    """

    def __init__(self, message: str, *, hint: str = "", client_request_id: str = "", sent: bool = True) -> None:
        """Store ``message``, ``hint`` and the request ID separately, with recognisable secrets redacted; ``str()`` joins them."""
        self.message, self.hint = redacted(message), redacted(hint)
        super().__init__(self.message)
        self.client_request_id, self.sent = client_request_id, sent

    def forget(self, known: Iterable[str] = ()) -> None:
        """Drop the underlying errors, whose messages may repeat what was sent, and redact ``known`` secrets."""
        self.__cause__ = self.__context__ = None
        self.message, self.hint = redacted(self.message, known), redacted(self.hint, known)
        self.args = (self.message,)

    def __str__(self) -> str:
        """Return the message, the ID of a request that was sent, and the hint, on one line.

        Text from a cluster can neither break nor colour the line. The hint comes last, so that a command in it can be
        copied.
        """
        return " ".join(filter(None, self._lines()))

    def _lines(self) -> tuple[str, str]:
        """Return the message with the ID of the request, and the hint, each on one line."""
        message = self.message.strip()
        # A service's message may lack the full stop that a hint needs before it.
        stop = "." if self.hint and (message[-1:].isalnum() or message.endswith((")", "'"))) else ""
        request = f"[{self.client_request_id}]" if self.client_request_id and self.sent else ""
        sentence, hint = (" ".join(text.split()) for text in (f"{message}{stop} {request}", self.hint))
        return printable(sentence), printable(hint)

    def _render_traceback_(self) -> list[str]:
        """Return the message and the hint as two lines, which IPython shows instead of a traceback."""
        sentence, hint = self._lines()
        return [f"{type(self).__name__}: {sentence}", *([hint] if hint else [])]


class KqlmiError(_Sentence, Exception):
    """The base class of kqlmi's errors: a message, a hint, and the ID of the failed request."""


class RequestInterruptedError(_Sentence, KeyboardInterrupt):
    """An interrupt during a request.

    ``ended`` is True if the cluster reported that the query no longer runs. ``outcome`` is the outcome of a policy command
    that was read back (``applied``, ``not applied`` or ``unknown``), and empty for any other request.
    """

    def __init__(self, message: str, *, ended: bool = False, outcome: str = "", **common: Unpack[_Common]) -> None:
        super().__init__(message, **common)
        self.ended, self.outcome = ended, outcome


class InputError(KqlmiError):
    """Invalid input; nothing was sent."""


class PolicyError(InputError):
    """Invalid policy JSON, or an invalid object ID or usage."""


class CellError(InputError):
    """An invalid cell or magic line."""


class NotConnectedError(KqlmiError):
    """No connection is open."""


class MissingExtraError(KqlmiError):
    """An optional dependency is not installed."""


@contextmanager
def require_extra(extra: str, message: str) -> Iterator[None]:
    """Raise MissingExtraError if an import fails. ``{name}`` in ``message`` is replaced with the missing module."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            message.format(name=error.name), hint=f"Install it: pip install 'kqlmi[{extra}]'."
        ) from error


class SignInError(KqlmiError):
    """No token was obtained."""


class ConnectionFailedError(KqlmiError):
    """The cluster did not respond. A ``lasting`` failure will affect every other request too."""

    def __init__(self, message: str, *, lasting: bool = False, **common: Unpack[_Common]) -> None:
        super().__init__(message, **common)
        self.lasting = lasting


class RequestTimeoutError(ConnectionFailedError):
    """The cluster did not respond before the timeout."""


class ServiceError(KqlmiError):
    """The cluster returned an error."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        type_name: str = "",
        status: int | None = None,
        permanent: bool | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        **common: Unpack[_Common],
    ) -> None:
        """Store what the service reported: code, exception type, HTTP status, and whether the error is permanent.

        ``retry_after`` is in seconds, or None if the service did not report it. ``details`` contains the gate, the identity
        and the usage, which only a local cluster reports.
        """
        super().__init__(message, **common)
        self.code, self.type_name, self.status = code, type_name, status
        self.permanent, self.retry_after = permanent, retry_after
        self.details: dict[str, Any] = redacted_values(dict(details or {}))

    @property
    def is_kustos(self) -> bool:
        """Check whether Kusto itself wrote the error, and not a proxy or gateway."""
        return bool(self.code and self.type_name)

    def forget(self, known: Iterable[str] = ()) -> None:
        """Redact known secrets in the details too."""
        super().forget(known)
        self.details = redacted_values(self.details, known)


class UnauthorizedError(ServiceError):
    """The cluster itself did not accept the token (401): it returned a Kusto error, or requested a bearer token."""

    @property
    def is_kustos(self) -> bool:
        """Return True: only the cluster's own responses are raised as this error."""
        return True


class ForbiddenError(ServiceError):
    """The caller lacks a Kusto role (403), as the cluster itself reports."""


class EndpointNotFoundError(ServiceError):
    """There is no such Kusto endpoint at this URL (404)."""


class AnswerError(ServiceError):
    """The response is not from Kusto, is incomplete, or does not match the request. It proves nothing."""


class NoSuchPolicyError(ServiceError):
    """The cluster does not seem to support the ManagedIdentity policy, judging by its refusal."""


class ThrottledError(ServiceError):
    """The cluster refused the request because there are too many (429)."""


class IngestionError(KqlmiError):
    """A queued file was not ingested, or no report of it arrived. ``ingestion`` is its last known state."""

    def __init__(self, message: str, *, ingestion: Any, hint: str = "") -> None:
        """Store ``ingestion``, whose ``outcome`` is ``failed`` or ``unknown``."""
        super().__init__(message, hint=hint)
        self.ingestion = ingestion


class ResourceManagerError(KqlmiError):
    """Azure Resource Manager refused a request, or did not respond.

    ``status`` is the HTTP status, or None if there was no response. ``nothing_happened`` is True only if it is certain that
    nothing changed, ``ended`` only if the operation is over and has failed.
    """

    ended = False

    def __init__(
        self, message: str, *, hint: str = "", status: int | None = None, nothing_happened: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.status, self.nothing_happened = status, nothing_happened


Ended = Literal["applied", "partly applied", "not applied", "unknown"]
"""The outcome of a change."""


class ApplyError(KqlmiError):
    """A plan was not applied as a whole, or was interrupted.

    ``outcome`` is ``partly applied``, ``not applied`` or ``unknown``, or ``applied`` if an interrupt arrived after the whole
    plan had been applied. ``steps`` are the step results, in order. ``entry`` is the ID of the history entry, or empty.
    """

    def __init__(
        self, message: str, *, outcome: Ended, steps: Sequence[Any] = (), entry: str = "", **common: Unpack[_Common]
    ) -> None:
        super().__init__(message, **common)
        self.outcome, self.steps, self.entry = outcome, tuple(steps), entry
