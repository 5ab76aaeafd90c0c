"""Retries: which requests may be sent again, how often, and after what wait."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kqlmi.cluster.faults.refusals import nothing_happened
from kqlmi.errors import (
    ConnectionFailedError,
    ForbiddenError,
    RequestTimeoutError,
    ServiceError,
    ThrottledError,
    UnauthorizedError,
)
from kqlmi.model.statement import Statement

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")

# The statuses of gateways in front of a cluster that is not ready, or of a cluster that is too busy.
_PASSING: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
_HOLD_ROLES: Final = frozenset({"cluster", "database", "external", "function", "materialized", "table"})
_ROLES: Final = frozenset({"admins", "ingestors", "monitors", "unrestrictedviewers", "users", "viewers"})
_NOTICEABLE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of retries; times are in seconds.

    Waits start at ``first`` and double each time, or are as long as the cluster requests. No wait is longer than
    ``longest``, and all attempts fit into the request's own timeout. If a role was granted less than ``fresh`` ago, a
    refused request is sent again up to ``role_attempts`` times, after waiting ``role_wait`` each time.
    """

    attempts: int = 4
    first: float = 0.25
    longest: float = 60.0
    fresh: float = 300.0
    role_attempts: int = 3
    role_wait: float = 10.0
    sleep: Callable[[float], Any] = time.sleep


class Retrying:
    """The retries of one session's requests, made if they are safe and may help. The SDK itself does not retry.

    ``tell`` is called with a sentence before a noticeable wait, in the main thread only, where cells run. The time at which
    the session granted a role is stored, because a cluster returns 401 or 403 until the role takes effect.
    """

    def __init__(self, patience: Patience | None = None, tell: Callable[[str], None] = lambda _: None) -> None:
        self.patience, self.tell = patience or Patience(), tell
        self._granted: float | None = None

    def send(self, statement: Statement, send: Callable[[float], Result], seconds: float) -> Result:
        """Send a command or query with ``send``, which gets the time left, and retry if that is safe and may help.

        A read is sent again after any transient error, a write only if it was proven not applied. A policy command that
        writes is sent only once here: its sender first checks whether the policy has changed, and then calls ``repeat``.
        """
        if statement.policy_writes:
            return send(seconds)
        answer = self._run(send, seconds, self._not_applied if statement.is_write else self._passes)
        if grants_role(statement):
            self._granted = time.monotonic()
        return answer

    def repeat(self, send: Callable[[float], Result], seconds: float) -> Result:
        """Send a write with ``send``, and retry if it was proven not applied and may succeed."""
        return self._run(send, seconds, self._not_applied)

    def _run(self, send: Callable[[float], Result], seconds: float, again: Callable[[BaseException], bool]) -> Result:
        import tenacity

        end, late = time.monotonic() + seconds, tenacity.stop_before_delay(seconds)
        attempts = tenacity.Retrying(
            sleep=self.patience.sleep,
            stop=lambda state: late(state) or self._enough(state),
            wait=self._wait,
            retry=tenacity.retry_if_exception(again),
            before_sleep=self._before,
            reraise=True,
        )
        return attempts(lambda: send(min(seconds, max(1, math.ceil(end - time.monotonic())))))

    def _passes(self, error: BaseException) -> bool:
        """Check whether a read may succeed when it is sent again."""
        if isinstance(error, ConnectionFailedError):
            return not (error.lasting or isinstance(error, RequestTimeoutError))
        if not isinstance(error, ServiceError):
            return False
        # Kusto's own 504 ends a request that ran for too long, and would end it again.
        gateway = error.status in _PASSING and not (error.code and error.status == HTTPStatus.GATEWAY_TIMEOUT)
        return isinstance(error, ThrottledError) or (gateway and not error.permanent) or self._awaits_role(error)

    def _not_applied(self, error: BaseException) -> bool:
        """Check whether a write was proven not applied and may succeed when it is sent again."""
        return nothing_happened(error) and self._passes(error)

    def _awaits_role(self, error: BaseException | None) -> bool:
        return (
            isinstance(error, UnauthorizedError | ForbiddenError)
            and self._granted is not None
            and time.monotonic() - self._granted < self.patience.fresh
        )

    def _wait(self, state: "RetryCallState") -> float:
        import tenacity

        error, jitter = _error(state), float(tenacity.wait_random(0, self.patience.first)(state))
        if self._awaits_role(error):
            return self.patience.role_wait
        if isinstance(error, ServiceError) and error.retry_after is not None:
            return error.retry_after + jitter
        return float(self.patience.first * 2 ** (state.attempt_number - 1) + jitter)

    def _enough(self, state: "RetryCallState") -> bool:
        if not self._awaits_role(_error(state)):
            return state.attempt_number >= self.patience.attempts or state.upcoming_sleep > self.patience.longest
        if state.attempt_number <= self.patience.role_attempts:
            return False
        # Another role than the granted one is missing, so the next refusal is not retried.
        self._granted = None
        return True

    def _before(self, state: "RetryCallState") -> None:
        error, seconds = _error(state), state.upcoming_sleep
        if threading.current_thread() is not threading.main_thread():
            return
        if self._awaits_role(error):
            self.tell(
                f"Refused, but a role that was granted a moment ago can take minutes to take effect. Trying again in"
                f" {seconds:g} s ({state.attempt_number} of {self.patience.role_attempts})…"
            )
        elif seconds >= _NOTICEABLE:
            why = "The cluster is busy" if isinstance(error, ServiceError) else "Could not reach the cluster"
            self.tell(f"{why}. Trying again in {seconds:.0f} s…")


def _error(state: "RetryCallState") -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def grants_role(statement: Statement) -> bool:
    """Check whether a command grants a Kusto role, such as ``.add database D admins (…)``."""
    words = [token.text.casefold() for token in statement.tokens[:12]]
    if words[:2] not in ([".", "add"], [".", "set"]) or not _HOLD_ROLES.issuperset(words[2:3]):
        return False
    return words[2:3] == ["cluster"] or not _ROLES.isdisjoint(words[3:])
