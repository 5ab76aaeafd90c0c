"""The error tree: everything that kqlmi raises, and what an interrupt becomes.

KqlmiError
├── InputError                  what was typed or given is wrong; nothing was sent
│   ├── PolicyError             a policy's JSON, an object ID, a usage
│   └── CellError               a cell or a magic line
├── NotConnectedError           no cluster to talk to
├── MissingExtraError           an optional dependency is not installed
├── SignInError                 no token could be had
├── ConnectionFailedError       the cluster gave no answer
│   └── RequestTimeoutError     …within the time given
├── ResourceManagerError        Azure Resource Manager refused something, or gave no answer
├── HistoryError                a change cannot be recorded, or a record not be read (kqlmi.history)
├── ServiceError                the cluster answered with an error
│   ├── UnauthorizedError       401: the token was not accepted
│   ├── ForbiddenError          403: a Kusto role is missing
│   ├── EndpointNotFoundError   404: no Kusto endpoint at this URL
│   ├── AnswerError             what came is no answer of Kusto's, not whole, or not to what was asked
│   ├── NoSuchPolicyError       there is no ManagedIdentity policy here, as far as the cluster tells
│   └── ThrottledError          429
├── IngestionError              an ingestion that failed, or of which nothing was heard; says which
└── ApplyError                  a plan that did not go through; says what landed

KeyboardInterrupt
└── RequestInterruptedError     an interrupt during a request; no KqlmiError, so that nothing that goes on after an
                                error goes on after an interrupt
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypedDict, Unpack

from kqlmi.redaction import redacted, redacted_values

# Answers by which a service says that it did nothing. A 5xx proves nothing.
_REFUSALS: Final = range(400, 500)
_BASIC_PLANE: Final = 0xFFFF


def is_refusal(status: int | None, *, own: bool) -> bool:
    """Return whether an answer proves that a service refused a request: by its status, if the answer is the service's own.

    What stands on the way answers with any status, whether it passed the request on or not.
    """
    return own and status in _REFUSALS


def printable(text: str) -> str:
    """Return ``text`` for people: what would not show, or would change how the rest shows, is written as an escape."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    # Five digits behind a small u would read as an escape of four, and a digit.
    return f"\\u{ord(char):04x}" if ord(char) <= _BASIC_PLANE else f"\\U{ord(char):08x}"


class _Common(TypedDict, total=False):
    """What every error may have beside its message."""

    hint: str
    client_request_id: str
    sent: bool


class _Sentence(BaseException):
    """One sentence that says what is wrong, and a hint that says what to do next.

    ``client_request_id`` is that of the request that failed, by which it is found in ``.show commands-and-queries``;
    empty where none was made. ``sent`` is False only where it certainly never left.
    """

    def __init__(self, message: str, *, hint: str = "", client_request_id: str = "", sent: bool = True) -> None:
        """Keep ``message``, ``hint`` and the client request ID apart; ``str()`` joins them. None keeps what is a secret by its form."""
        self.message, self.hint = redacted(message), redacted(hint)
        super().__init__(self.message)
        self.client_request_id, self.sent = client_request_id, sent

    def forget(self, known: Iterable[str] = ()) -> None:
        """Drop the errors that this one came from, whose text may repeat what was sent, and take out ``known`` secrets."""
        self.__cause__ = self.__context__ = None
        self.message, self.hint = redacted(self.message, known), redacted(self.hint, known)
        self.args = (self.message,)

    def __str__(self) -> str:
        """Give the sentence, the ID of a request that was sent, and the hint, on one line.

        What came from a cluster can neither break nor colour it. The hint ends it, so that what it says to type can be
        copied.
        """
        message = self.message.strip()
        # A service's sentence need not end in a full stop; before a hint it does.
        stop = "." if self.hint and (message[-1:].isalnum() or message.endswith((")", "'"))) else ""
        request = f"[{self.client_request_id}]" if self.client_request_id and self.sent else ""
        return printable(" ".join(f"{message}{stop} {request} {self.hint}".split()))

    def _render_traceback_(self) -> list[str]:
        """Give IPython one short line in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class KqlmiError(_Sentence, Exception):
    """The root of what kqlmi raises: a sentence, a hint, and the ID of the request that failed."""


class RequestInterruptedError(_Sentence, KeyboardInterrupt):
    """An interrupt while a request ran.

    ``ended`` tells whether the cluster said that the query runs no longer. ``outcome`` is that of a policy command which
    was read back: ``applied``, ``not applied`` or ``unknown``; empty for anything else.
    """

    def __init__(self, message: str, *, ended: bool = False, outcome: str = "", **common: Unpack[_Common]) -> None:
        super().__init__(message, **common)
        self.ended, self.outcome = ended, outcome


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


@contextmanager
def require_extra(extra: str, message: str) -> Iterator[None]:
    """Raise MissingExtraError where an import fails; in ``message``, ``{name}`` is the module that is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            message.format(name=error.name), hint=f"Install it: pip install 'kqlmi[{extra}]'."
        ) from error


class SignInError(KqlmiError):
    """No token could be had."""


class ConnectionFailedError(KqlmiError):
    """The cluster gave no answer; where the failure is ``lasting``, it will meet every other request too."""

    def __init__(self, message: str, *, lasting: bool = False, **common: Unpack[_Common]) -> None:
        super().__init__(message, **common)
        self.lasting = lasting


class RequestTimeoutError(ConnectionFailedError):
    """The cluster gave no answer within the time given."""


class ServiceError(KqlmiError):
    """The cluster answered with an error."""

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
        """Keep what the service said: code, exception type, HTTP status and permanence.

        ``retry_after`` is in seconds, None where it did not say. ``details`` is what a local cluster adds for programs: which gate refused, for which identity and usage.
        """
        super().__init__(message, **common)
        self.code, self.type_name, self.status = code, type_name, status
        self.permanent, self.retry_after = permanent, retry_after
        self.details: dict[str, Any] = redacted_values(dict(details or {}))

    @property
    def is_kustos(self) -> bool:
        """Return whether Kusto itself wrote the error, and nothing in between."""
        return bool(self.code and self.type_name)

    def forget(self, known: Iterable[str] = ()) -> None:
        """Take known secrets out of the details, too."""
        super().forget(known)
        self.details = redacted_values(self.details, known)


class UnauthorizedError(ServiceError):
    """The cluster did not accept the token (401), and said so itself: by its error, or by asking for a bearer token."""

    @property
    def is_kustos(self) -> bool:
        """Return True: nothing else is raised as this."""
        return True


class ForbiddenError(ServiceError):
    """The caller lacks a Kusto role (403), as the cluster itself says."""


class EndpointNotFoundError(ServiceError):
    """There is no such Kusto endpoint at this URL (404)."""


class AnswerError(ServiceError):
    """What came is no answer of Kusto's, not whole, or not an answer to what was asked; it proves nothing."""


class NoSuchPolicyError(ServiceError):
    """The cluster does not know the ManagedIdentity policy, as it seems from its refusal."""


class ThrottledError(ServiceError):
    """The cluster asks to try later (429)."""


class IngestionError(KqlmiError):
    """A file was queued and not ingested, or nothing was heard of it; ``ingestion`` is what is known of it."""

    def __init__(self, message: str, *, ingestion: Any, hint: str = "") -> None:
        """Keep what is known; its ``outcome`` is ``failed`` or ``unknown``."""
        super().__init__(message, hint=hint)
        self.ingestion = ingestion


class ResourceManagerError(KqlmiError):
    """Azure Resource Manager refused something, or gave no answer.

    ``status`` is the HTTP status, None where no answer came. ``nothing_happened`` is True only where that is certain,
    ``ended`` only where an operation has ended with this failure.
    """

    ended = False

    def __init__(
        self, message: str, *, hint: str = "", status: int | None = None, nothing_happened: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.status, self.nothing_happened = status, nothing_happened


Ended = Literal["applied", "partly applied", "not applied", "unknown"]
"""How a change ended."""


class ApplyError(KqlmiError):
    """A plan did not go through.

    ``outcome`` is ``partly applied``, ``not applied`` or ``unknown``, or ``applied`` where an interrupt came when all of
    it had landed; ``steps`` are the step results, in order; ``entry`` is the ID of the history entry, empty where none
    was made.
    """

    def __init__(
        self, message: str, *, outcome: Ended, steps: Sequence[Any] = (), entry: str = "", **common: Unpack[_Common]
    ) -> None:
        super().__init__(message, **common)
        self.outcome, self.steps, self.entry = outcome, tuple(steps), entry
