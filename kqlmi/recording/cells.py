"""A text with policy commands that write, sent as it stands and recorded: what its answer does not prove is read back."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kqlmi.apply import DEADLINE
from kqlmi.cluster.connection import Connection, new_client_request_id
from kqlmi.cluster.evidence import is_anothers, policy_writes
from kqlmi.cluster.faults.refusals import nothing_happened
from kqlmi.cluster.outcome_recovery import Awaited, Settled, after_break, after_interrupt, after_timeout
from kqlmi.cluster.policies import read_policy, write_policy, written_policy
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import (
    AnswerError,
    ForbiddenError,
    KqlmiError,
    PolicyError,
    RequestInterruptedError,
    RequestTimeoutError,
    ServiceError,
)
from kqlmi.history import Entry, Outcome, StepRecord, open_entries
from kqlmi.model.entities import Scope
from kqlmi.model.policy import commands
from kqlmi.model.policy.commands import PolicyCommand
from kqlmi.model.statement import Statement
from kqlmi.recording.recorder import Recorder, first_value

if TYPE_CHECKING:
    from kqlmi.model.policy.policy import Policy

_UNDO: Final = {"applied": "%kqlmi undo reverts that.", "partly applied": "%kqlmi undo reverts that."}
_INTERRUPTED: Final = {
    "applied": "Interrupted, but the command was carried out.",
    "partly applied": "Interrupted. The script was carried out in part.",
    "not applied": "Interrupted. The command was not carried out.",
    "unknown": "Interrupted. Whether the command was carried out is not known.",
}
_FAILED: Final = {
    "applied": "The policy was changed all the same:",
    "partly applied": "Policies were changed all the same:",
    "not applied": "The policy was not changed.",
}


def run(recorder: Recorder, statement: Statement, database: str, *, timeout: float) -> Table:
    """Send a statement that writes policies, with the policies read around it, and return its answer.

    Of a script that the service carries out in part, each scope has the outcome that its own policy shows.

    Raises:
        AnswerError: What came is no answer to the command, and its policy does not show that it was carried out.
        KqlmiError: It was refused or failed; the hint says what became of it all the same.
        RequestInterruptedError: It was interrupted; ``outcome`` says what became of it.
    """
    context = (
        Scope.database(database or _database(recorder))
        if any(not one.scope for one in statement.policy_writes)
        else None
    )
    request = new_client_request_id()
    try:
        steps = _around(recorder, statement, context, request)
    except ForbiddenError:
        # Who may not read a policy may not write it: the refusal of the command itself says so best.
        return write_policy(recorder.connection, statement, database, timeout=timeout, retrying=recorder.retrying)
    sent = _Sent(recorder, recorder.entry("cell", steps), statement.policy_command)
    try:
        recorder.begin(sent.entry)
    except KeyboardInterrupt:
        raise sent.interrupted() from None

    def send(left: float) -> Table:
        if sent.again:
            sent.entry = replace(sent.entry, steps=_around(recorder, statement, context, request))
            recorder.update(sent.entry)
        sent.again = sent.unclear = True
        sent.until = time.monotonic() + left
        try:
            return recorder.connection.execute(statement, database or None, timeout=left, client_request_id=request)
        except (KqlmiError, KeyboardInterrupt) as error:
            sent.unclear = not nothing_happened(error)
            raise

    try:
        answer = recorder.retrying.repeat(send, timeout)
    except KqlmiError as error:
        sent.failed(error)
        raise
    except KeyboardInterrupt:
        raise sent.interrupted() from None
    try:
        sent.answered(answer)
    except KeyboardInterrupt:
        raise sent.interrupted() from None
    return answer


@dataclass(slots=True)
class _Sent:
    """What is known of a text on its way; ``command`` is None for a script.

    ``again`` is True once it was tried, ``unclear`` where it may have been carried out, which is so ``until`` its deadline.
    """

    recorder: Recorder
    entry: Entry
    command: PolicyCommand | None
    again: bool = False
    unclear: bool = False
    until: float = 0.0

    def failed(self, error: KqlmiError) -> None:
        """Close the entry of a text that ended with an error, and have the error say what the policies show."""
        settle = after_timeout if isinstance(error, RequestTimeoutError) else self._after_break
        if self.unclear:
            found = self._read_back("unknown", refused=True) if self.command is None else self._settled(settle)
        elif isinstance(error, ServiceError) and (self.command is None or self.command.piped):
            # It was carried out up to where it failed: a script, or a command before what follows it.
            found = self._read_back("not applied", refused=True)
        else:
            found = self.entry.with_all("not applied")
        found = open_entries.closed(found)
        with suppress(KeyboardInterrupt):  # the error says how it ended
            self.recorder.update(found)
        if self.unclear or found.outcome in _UNDO:
            error.hint = f"{_FAILED.get(found.outcome, error.hint)} {_UNDO.get(found.outcome, '')}".strip()

    def answered(self, answer: Table) -> None:
        """Close the entry of a text that was answered; AnswerError where neither that nor the policy shows the change."""
        found = open_entries.closed(self._by(answer))
        self.recorder.update(found)
        if self.command and found.outcome != "applied":
            raise AnswerError(
                "What came is no answer to the command.",
                hint=_FAILED.get(found.outcome) or _look(found),
                client_request_id=found.steps[0].client_request_id,
            )

    def interrupted(self) -> RequestInterruptedError:
        """Read back what became of a text, close its entry, and return what an interrupt of it becomes."""
        found = open_entries.closed(
            self._settled(_after_interrupt) if self.unclear else self.entry.with_all("not applied")
        )
        with suppress(KeyboardInterrupt):
            self.recorder.update(found)
        return RequestInterruptedError(
            _INTERRUPTED.get(found.outcome, _INTERRUPTED["unknown"]),
            hint=_look(found) if found.outcome == "unknown" else _UNDO.get(found.outcome, ""),
            client_request_id=found.steps[0].client_request_id,
            sent=self.unclear,
            outcome=found.outcome,
        )

    def _by(self, answer: Table) -> Entry:
        if self.command is None:
            return self._read_back("not applied", refused=False)
        if not self.command.piped:
            [step] = self.entry.steps
            with suppress(AnswerError):
                after = written_policy(answer, step.scope)
                return self.entry.with_step(0, replace(step, after=after, outcome="applied"))
        return self._settled(self._after_break, answered=True)

    def _settled(self, settle: Callable[[Connection, Awaited], Settled], *, answered: bool = False) -> Entry:
        """Return the entry with the outcomes that the policies show; of what shows nothing, an answer is believed."""
        entry = self.entry
        for place, step in enumerate(entry.steps):
            awaited = Awaited(step.scope, step.before, step.after, step.client_request_id)
            found = settle(self.recorder.connection, awaited) if awaited.shows or answered else Settled()
            after = found.policy if found.outcome == "applied" else step.after
            entry = entry.with_step(place, replace(step, after=after, outcome=found.outcome))
        return entry

    def _after_break(self, connection: Connection, awaited: Awaited) -> Settled:
        self.recorder.retrying.tell(
            f"Whether the policy of the {awaited.scope} was changed is not known. Reading it again, for"
            f" {DEADLINE:g} s at most…"
        )
        return after_break(connection, awaited, self.until, DEADLINE)

    def _read_back(self, stayed: Outcome, *, refused: bool) -> Entry:
        """Return the entry with the policies as they are now; ``stayed`` is the outcome of those that did not change."""
        entry = self.entry.with_all("unknown")
        for place, step in enumerate(entry.steps):
            with suppress(KqlmiError):
                now = read_policy(self.recorder.connection, step.scope)
                changes = refused or Awaited(step.scope, step.before, step.after).shows
                same = now == step.before and changes
                if refused and self.command:
                    # The journal may show the commands of a script under IDs of their own.
                    writes = policy_writes(self.recorder.connection, step.scope)
                    same = same or is_anothers(writes, {step.client_request_id}, now)
                outcome = stayed if same else "applied"
                entry = entry.with_step(place, replace(step, after=now, outcome=outcome))
        return entry


def _after_interrupt(connection: Connection, awaited: Awaited) -> Settled:
    return after_interrupt(connection, awaited, DEADLINE)


def _around(recorder: Recorder, statement: Statement, context: Scope | None, request: str) -> tuple[StepRecord, ...]:
    """Return a step for each scope that commands write: its policy as it is, and as they are to leave it."""
    before: dict[Scope, Policy | None] = {}
    after: dict[Scope, Policy | None] = {}
    for command in statement.policy_writes:
        scope = command.scope or context
        assert scope  # noqa: S101 - there is a context wherever a command names no scope
        if scope not in before:
            before[scope] = after[scope] = read_policy(recorder.connection, scope)
        with suppress(PolicyError):  # the service will refuse it in its own words
            after[scope] = commands.expected(command, after[scope])
    ids = recorder.ids(before)
    return tuple(
        StepRecord(scope, statement.masked, before[scope], after[scope], "open", request, ids.get(scope, ""))
        for scope in before
    )


def _database(recorder: Recorder) -> str:
    return first_value(recorder.connection.execute("print name = current_database()"), "name")


def _look(entry: Entry) -> str:
    return f"Look before you send it again: {commands.show(entry.steps[0].scope)}"
