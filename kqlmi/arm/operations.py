"""Changes in Azure Resource Manager: sent once, followed to the end, and verified by reading the result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from kqlmi.arm.arm_errors import translated
from kqlmi.errors import ApplyError, KqlmiError, ResourceManagerError

State = Literal["before", "after", "changing", "other"]
"""The current state: as before the change, as after it, with an operation in progress, or anything else."""

DEADLINE: Final = 900.0
LOST: Final = 120.0
"""The times, in seconds, for which an operation is followed, and for which the result is read after a lost response."""

_OFTEN: Final = 1.0
_SELDOM: Final = 15.0
_SHORTEST: Final = 0.05
# Azure's client retries after many errors, even a PATCH, which would overwrite changes made in the meantime.
ONCE: Final[dict[str, Any]] = {"retry_total": 0}


@dataclass(frozen=True, slots=True)
class Change:
    """A change: ``what`` it does (``assign loader``), the role it needs, and how to read the result.

    ``send`` returns azure-core's poller, and ``look`` the current state. ``look_by`` is the line that shows users that
    state.
    """

    what: str
    needs: str
    send: Callable[[], Any]
    look: Callable[[], State]
    look_by: str
    pause: float


@contextmanager
def before_sending() -> Iterator[None]:
    """Raise errors as an ApplyError which states that nothing was sent."""
    try:
        yield
    except KqlmiError as error:
        raise ApplyError(f"{error.message} Nothing was sent.", outcome="not applied", hint=error.hint) from error


def run(change: Change, *, deadline: float | None, tell: Callable[[str], None]) -> None:
    """Send a change, follow it for ``deadline`` seconds at most (15 minutes by default), and verify the result.

    Raises:
        ApplyError: The change was refused or failed, or the result is not what was planned. The error's ``outcome``
            reports whether anything changed, and is ``unknown`` unless that is certain.
    """
    limit = DEADLINE if deadline is None else deadline
    try:
        failure, ended = _send(change, time.monotonic() + limit, tell)
        if failure and failure.nothing_happened:
            raise ApplyError(failure.message, outcome="not applied", hint=failure.hint) from failure
        if failure:
            tell(f"{'The operation failed' if ended else 'The response was lost'}. Reading the current state…")
        found = _settle(change, time.monotonic() + min(LOST, limit), ended=ended)
    except KeyboardInterrupt:
        raise _interrupted(change) from None
    if found == "after":
        return
    why = failure.message if failure else f"Azure Resource Manager accepted the request to {change.what}"
    if found == "before" and ended and failure:
        raise ApplyError(f"{why} Nothing changed.", outcome="not applied", hint=failure.hint) from failure
    states = {
        "before": "The change is not visible yet, and may still be made",
        "changing": "The operation is still in progress in Azure",
        "other": "The current state is neither the old one nor the planned one",
    }
    state = states[found] if found else "kqlmi could not read the current state"
    raise ApplyError(
        f"{why.rstrip('.')}. {state}.", outcome="unknown", hint=f"To see the current state: {change.look_by}"
    ) from failure


def _interrupted(change: Change) -> ApplyError:
    """Return the error for an interrupt, with the current state: an operation that Azure has begun continues."""
    with suppress(KqlmiError, KeyboardInterrupt):
        if change.look() == "after":
            return ApplyError(f"Interrupted, but Azure completed the request to {change.what}.", outcome="applied")
    return ApplyError(
        f"Interrupted. kqlmi could not determine whether Azure will {change.what}: an interrupt does not stop an operation"
        " that has begun.",
        outcome="unknown",
        hint=f"To see the current state: {change.look_by}",
    )


def _send(change: Change, end: float, tell: Callable[[str], None]) -> tuple[ResourceManagerError | None, bool]:
    """Send a change and follow it. Return the failure, if any, and whether the operation has certainly ended."""
    try:
        with translated(change.what, change.needs):
            poller = change.send()
    except ResourceManagerError as error:
        return error, False
    except KqlmiError as error:
        # No token was obtained, so nothing was sent.
        raise ApplyError(error.message, outcome="not applied", hint=error.hint) from error
    tell(f"Azure Resource Manager accepted the request to {change.what}. Waiting for it to complete…")
    try:
        with translated(change.what, change.needs):
            return None, _follow(poller, end, tell)
    except KqlmiError as error:
        status, ended = (error.status, error.ended) if isinstance(error, ResourceManagerError) else (None, False)
        return ResourceManagerError(error.message, hint=error.hint, status=status), ended


def _follow(poller: Any, end: float, tell: Callable[[str], None]) -> bool:
    """Wait for the end of an operation, and return whether it has ended."""
    began = reported = time.monotonic()
    while not poller.done() and (now := time.monotonic()) < end:
        if now - reported >= _SELDOM:
            reported = now
            tell(f"Status after {now - began:.0f} s: {poller.status()}.")
        poller.wait(min(_OFTEN, end - now))
    if not poller.done():
        return False
    poller.result()
    return True


def _settle(change: Change, end: float, *, ended: bool) -> State | None:
    """Read the current state until the outcome is clear or the time is up. Return None if it cannot be read."""
    found: State | None = None
    while True:
        try:
            found = change.look()
        except KqlmiError:
            found = None
        clear = found in {"after", "other"} or (ended and found == "before")
        if clear or time.monotonic() >= end:
            return found
        time.sleep(max(change.pause, _SHORTEST))
