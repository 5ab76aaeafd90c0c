"""A change in Azure Resource Manager: sent once, followed to its end, and settled by what is there afterwards."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from kqlmi.arm.arm_errors import translated
from kqlmi.errors import ApplyError, KqlmiError, ResourceManagerError

State = Literal["before", "after", "changing", "other"]
"""What is found: as before the change, as after it, an operation that goes on, or anything else."""

DEADLINE: Final = 900.0
LOST: Final = 120.0
"""How long, in seconds, an operation is followed, and how long a lost answer is looked for."""

_OFTEN: Final = 1.0
_SELDOM: Final = 15.0
_SHORTEST: Final = 0.05
# Azure's client sends a request again after many errors, even a PATCH: what was changed meanwhile would be overwritten.
ONCE: Final[dict[str, Any]] = {"retry_total": 0}


@dataclass(frozen=True, slots=True)
class Change:
    """A change: ``what`` it does (``assign loader``), the role it needs, and how to look afterwards.

    ``send`` gives azure-core's poller; ``look`` reads what is there. ``look_by`` is the line by which people look.
    """

    what: str
    needs: str
    send: Callable[[], Any]
    look: Callable[[], State]
    look_by: str
    pause: float


@contextmanager
def before_sending() -> Iterator[None]:
    """Raise what fails as an ApplyError that says that nothing was sent."""
    try:
        yield
    except KqlmiError as error:
        raise ApplyError(f"{error.message} Nothing was sent.", outcome="not applied", hint=error.hint) from error


def run(change: Change, *, deadline: float | None, tell: Callable[[str], None]) -> None:
    """Send a change, follow it for ``deadline`` seconds at most (15 minutes by default), and verify that it is there.

    Raises:
        ApplyError: It was refused or failed, or what is there is not what was planned. The error's ``outcome`` tells
            whether anything changed; ``unknown`` is never guessed.
    """
    limit = DEADLINE if deadline is None else deadline
    try:
        failure, ended = _send(change, time.monotonic() + limit, tell)
        if failure and failure.nothing_happened:
            raise ApplyError(failure.message, outcome="not applied", hint=failure.hint) from failure
        if failure:
            tell(f"{'It failed: what is there' if ended else 'The answer was lost: what is there by now'} is read.")
        found = _settle(change, time.monotonic() + min(LOST, limit), ended=ended)
    except KeyboardInterrupt:
        raise _interrupted(change) from None
    if found == "after":
        return
    why = failure.message if failure else f"Azure Resource Manager accepted to {change.what}, and it does not show"
    if found == "before" and ended and failure:
        raise ApplyError(f"{why} Nothing changed.", outcome="not applied", hint=failure.hint) from failure
    states = {
        "before": "it does not show yet, and may still come",
        "changing": "the operation goes on in Azure",
        "other": "something else is there by now",
    }
    state = states[found] if found else "what is there cannot be read"
    raise ApplyError(
        f"{why.rstrip('.')}: {state}.", outcome="unknown", hint=f"To see what is there by now: {change.look_by}"
    ) from failure


def _interrupted(change: Change) -> ApplyError:
    """Look what is there after an interrupt, which stops no operation that Azure has begun."""
    with suppress(KqlmiError, KeyboardInterrupt):
        if change.look() == "after":
            return ApplyError(f"Interrupted, and by now Azure did it: {change.what}.", outcome="applied")
    return ApplyError(
        f"Interrupted: whether Azure goes on to {change.what} is not known, and an operation that it has begun is not"
        " stopped by that.",
        outcome="unknown",
        hint=f"To see what is there by now: {change.look_by}",
    )


def _send(change: Change, end: float, tell: Callable[[str], None]) -> tuple[ResourceManagerError | None, bool]:
    """Send a change and follow it; give what failed, and whether the operation has certainly ended."""
    try:
        with translated(change.what, change.needs):
            poller = change.send()
    except ResourceManagerError as error:
        return error, False
    except KqlmiError as error:
        # No token could be had, so that nothing was sent.
        raise ApplyError(error.message, outcome="not applied", hint=error.hint) from error
    tell(f"Azure Resource Manager accepted to {change.what}, and carries it out.")
    try:
        with translated(change.what, change.needs):
            return None, _follow(poller, end, tell)
    except KqlmiError as error:
        status, ended = (error.status, error.ended) if isinstance(error, ResourceManagerError) else (None, False)
        return ResourceManagerError(error.message, hint=error.hint, status=status), ended


def _follow(poller: Any, end: float, tell: Callable[[str], None]) -> bool:
    """Wait for the end of an operation; False where it goes on."""
    began = reported = time.monotonic()
    while not poller.done() and (now := time.monotonic()) < end:
        if now - reported >= _SELDOM:
            reported = now
            tell(f"{poller.status()}, for {now - began:.0f} s.")
        poller.wait(min(_OFTEN, end - now))
    if not poller.done():
        return False
    poller.result()
    return True


def _settle(change: Change, end: float, *, ended: bool) -> State | None:
    """Read what is there until it is clear, or the time is over; None where it cannot be read."""
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
