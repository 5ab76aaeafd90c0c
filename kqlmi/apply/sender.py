"""The sender of statements that write policies: it retries only if nothing happened, and reads back unclear outcomes."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kqlmi.cluster import outcome_recovery
from kqlmi.cluster.connection import Connection, new_client_request_id
from kqlmi.cluster.faults.refusals import nothing_happened
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.cluster.outcome_recovery import Awaited, StepResult
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import KqlmiError, RequestInterruptedError, RequestTimeoutError
from kqlmi.history import Entry

NOT_RUN = "Interrupted. The command was not run."


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a statement.

    ``started`` is a time of the monotonic clock. ``proven_unsent`` is True if the attempt certainly changed nothing.
    """

    started: float
    proven_unsent: bool = False


@dataclass(slots=True)
class Sender:
    """The sender of one statement, which afterwards reads back the outcome.

    ``seconds`` is the server's deadline for all attempts together. A policy is read back until the deadline passes, for
    ``longest`` seconds at most. ``tell`` is called with a sentence before a long wait. ``attempt`` is the last attempt.
    """

    connection: Connection
    text: str
    database: str | None
    seconds: float
    retrying: Retrying
    tell: Callable[[str], None]
    request: str = field(default_factory=new_client_request_id)
    longest: float = math.inf
    attempt: Attempt | None = None

    @property
    def is_open(self) -> bool:
        """Check whether the statement may have been run, or may still run."""
        return self.attempt is not None and not self.attempt.proven_unsent

    def send(self, before_again: Callable[[], None] = lambda: None) -> Table:
        """Send the statement, and retry if it provably changed nothing. Call ``before_again`` before each further attempt.

        Raises:
            KqlmiError: The statement was refused or failed. If ``is_open``, it may have been run nevertheless.
            KeyboardInterrupt: The request was interrupted. If ``is_open``, the statement may have been run.
        """

        def send(left: float) -> Table:
            if self.attempt:
                before_again()
            self.attempt = Attempt(time.monotonic())
            try:
                return self.connection.execute(self.text, self.database, timeout=left, client_request_id=self.request)
            except (KqlmiError, KeyboardInterrupt) as error:
                self.attempt = replace(self.attempt, proven_unsent=nothing_happened(error))
                raise

        return self.retrying.repeat(send, self.seconds)

    def send_unrecorded(self) -> Table:
        """Send the statement without reading its policies."""
        try:
            return self.send()
        except RequestInterruptedError:
            raise
        except KeyboardInterrupt:
            if self.is_open:
                raise
            # The interrupt arrived during a wait, after an attempt that changed nothing.
            raise RequestInterruptedError(NOT_RUN, client_request_id=self.request, sent=False) from None

    def settled(self, step: Awaited, error: BaseException | None) -> StepResult:
        """Return the result of a step that failed, or whose response does not show the outcome."""
        if not self.attempt or self.attempt.proven_unsent:
            return StepResult(step, "not applied", step.before, self.request)
        if error and not outcome_recovery.shows(step):
            return StepResult(step, "unknown", client_request_id=self.request)
        if isinstance(error, KeyboardInterrupt):
            with suppress(KeyboardInterrupt):
                self.tell(f"Interrupted. Reading the policy of the {step.scope} again…")
            return outcome_recovery.after_interrupt(self.connection, step, self.request)
        if isinstance(error, RequestTimeoutError):
            return outcome_recovery.read_back(self.connection, step, self.request)
        why = f": {reason(error)}" if error else "."
        self.tell(
            f"kqlmi could not determine whether the policy of the {step.scope} was changed{why} Reading it again for up"
            f" to {min(self.seconds, self.longest):g} s…"
        )
        # The command may still be run until its deadline: before that, the old state proves nothing.
        deadline = self.attempt.started + self.seconds
        until = min(deadline, time.monotonic() + self.longest)
        return outcome_recovery.read_back(
            self.connection, step, self.request, until, lambda: time.monotonic() >= deadline
        )


def reason(error: BaseException) -> str:
    """Return the message of an error."""
    return error.message if isinstance(error, KqlmiError) else str(error)


def with_results(entry: Entry, done: Sequence[StepResult]) -> Entry:
    """Return an entry with the results of its first steps."""
    found = (
        replace(step, after=result.policy if result.outcome == "applied" else step.after, outcome=result.outcome)
        for step, result in zip(entry.steps, done, strict=False)
    )
    return replace(entry, steps=(*found, *entry.steps[len(done) :]))
