"""The error tree: everything that kqlmi raises.

KqlmiError
├── InputError                  what was typed or given is wrong; nothing was sent
│   ├── PolicyError             a policy's JSON, an object ID, a usage
│   └── CellError               a cell or a magic line
├── NotConnectedError           no cluster to talk to
├── MissingExtraError           an optional dependency is not installed
├── SignInError                 no token could be had
├── ConnectionFailedError       the cluster gave no answer
│   └── RequestTimeoutError     …within the time given
├── HistoryError                a change cannot be recorded, or a record not be read (kqlmi.history)
├── ServiceError                the cluster answered with an error
│   ├── UnauthorizedError       401: the token was not accepted
│   ├── ForbiddenError          403: a Kusto role is missing
│   ├── EndpointNotFoundError   404: no Kusto endpoint at this URL
│   ├── NoSuchPolicyError       there is no ManagedIdentity policy here, as far as the cluster tells
│   └── ThrottledError          429
├── IngestionError              an ingestion that failed, or of which nothing was heard; says which
└── ApplyError                  a plan that did not go through; says what landed
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kqlmi.redaction import redacted, redacted_values


def printable(text: str) -> str:
    """Give ``text`` for people: what would not show, or would change how the rest shows, is written as an escape."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


class KqlmiError(Exception):
    """One sentence that says what is wrong, and a hint that says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep ``message`` and ``hint`` apart; ``str()`` joins them. Neither keeps what is a secret by its form."""
        self.message, self.hint = redacted(message), redacted(hint)
        super().__init__(self.message)

    def forget(self, known: Iterable[str] = ()) -> None:
        """Drop the errors that this one came from, whose text may repeat what was sent, and take out ``known`` secrets."""
        self.__cause__ = self.__context__ = None
        self.message, self.hint = redacted(self.message, known), redacted(self.hint, known)
        self.args = (self.message,)

    def __str__(self) -> str:
        """Give the sentence and the hint on one line; what came from a cluster can neither break nor colour it."""
        message = self.message.strip()
        # A service's sentence need not end in a full stop; before a hint it does.
        stop = "." if self.hint and (message[-1:].isalnum() or message.endswith((")", "'"))) else ""
        return printable(" ".join(f"{message}{stop} {self.hint}".split()))

    def _render_traceback_(self) -> list[str]:
        """Give IPython one short line in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class InputError(KqlmiError):
    """What was typed or given is wrong, and nothing was sent."""


class PolicyError(InputError):
    """A policy's JSON, an object ID or a usage is wrong."""


class CellError(InputError):
    """A cell or a magic line is wrong."""


class NotConnectedError(KqlmiError):
    """No connection is open."""


class MissingExtraError(KqlmiError):
    """An optional dependency is not installed."""


class SignInError(KqlmiError):
    """No token could be had."""


class ConnectionFailedError(KqlmiError):
    """The cluster gave no answer; ``sent`` is False only when the request certainly never left."""

    def __init__(self, message: str, *, hint: str = "", client_request_id: str = "", sent: bool = True) -> None:
        """Keep the client request ID, which finds the request in ``.show commands-and-queries``."""
        super().__init__(message, hint=hint)
        self.client_request_id = client_request_id
        self.sent = sent


class RequestTimeoutError(ConnectionFailedError):
    """The cluster gave no answer within the time given."""


class ServiceError(KqlmiError):
    """The cluster answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        type_name: str = "",
        status: int | None = None,
        permanent: bool | None = None,
        client_request_id: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what the service said: code, exception type, HTTP status, permanence and client request ID.

        ``details`` is what a local cluster adds for programs: which gate refused, for which identity and usage.
        """
        super().__init__(message, hint=hint)
        self.code = code
        self.type_name = type_name
        self.status = status
        self.permanent = permanent
        self.client_request_id = client_request_id
        self.details: dict[str, Any] = redacted_values(dict(details or {}))

    def forget(self, known: Iterable[str] = ()) -> None:
        """Take known secrets out of the details, too."""
        super().forget(known)
        self.details = redacted_values(self.details, known)


class UnauthorizedError(ServiceError):
    """The cluster did not accept the token (401)."""


class ForbiddenError(ServiceError):
    """The caller lacks a Kusto role (403)."""


class EndpointNotFoundError(ServiceError):
    """There is no such Kusto endpoint at this URL (404)."""


class NoSuchPolicyError(ServiceError):
    """The cluster does not know the ManagedIdentity policy."""


class ThrottledError(ServiceError):
    """The cluster asks to try later (429); ``retry_after`` is in seconds, or None where it did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, **fields: Any) -> None:
        """Keep the delay that the cluster asked for."""
        super().__init__(message, **fields)
        self.retry_after = retry_after


class IngestionError(KqlmiError):
    """A file was queued and not ingested, or nothing was heard of it; ``ingestion`` is what is known of it."""

    def __init__(self, message: str, *, ingestion: Any, hint: str = "") -> None:
        """Keep what is known; its ``outcome`` is ``failed`` or ``unknown``."""
        super().__init__(message, hint=hint)
        self.ingestion = ingestion


class ApplyError(KqlmiError):
    """A plan did not go through.

    ``outcome`` is ``partly applied``, ``not applied`` or ``unknown``; ``steps`` are the step results, in order; ``entry``
    is the ID of the history entry, empty where none was made.
    """

    def __init__(self, message: str, *, outcome: str, steps: Sequence[Any] = (), hint: str = "") -> None:
        """Keep what landed."""
        super().__init__(message, hint=hint)
        self.outcome = outcome
        self.steps = tuple(steps)
        self.entry = ""
