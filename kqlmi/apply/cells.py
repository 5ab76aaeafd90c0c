"""Users' own statements that write policies: sent unchanged, recorded, and read back if the outcome is unclear."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kqlmi.apply.sender import NOT_RUN, Sender, with_results
from kqlmi.cluster.evidence import is_anothers, policy_writes
from kqlmi.cluster.outcome_recovery import DEADLINE, shows
from kqlmi.cluster.policies import read_policy, written_policy
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import (
    AnswerError,
    ForbiddenError,
    KqlmiError,
    PolicyError,
    RequestInterruptedError,
    ServiceError,
)
from kqlmi.history import Entry, Outcome, Recorder, StepRecord, open_entries
from kqlmi.history.recorder import Log, first_value
from kqlmi.model.entities import Scope
from kqlmi.model.policy import commands
from kqlmi.model.policy.commands import PolicyCommand
from kqlmi.model.statement import Statement

if TYPE_CHECKING:
    from kqlmi.model.policy.policy import Policy

_UNDO: Final = {"applied": "To revert that: %kqlmi undo", "partly applied": "To revert that: %kqlmi undo"}
_INTERRUPTED: Final = {
    "applied": "Interrupted, but the command was run.",
    "partly applied": "Interrupted. Only part of the script was run.",
    "not applied": NOT_RUN,
    "unknown": "Interrupted. kqlmi could not determine whether the command was run.",
}
_FAILED: Final = {
    "applied": "The policy was changed nevertheless.",
    "partly applied": "Policies were changed nevertheless.",
    "not applied": "The policy was not changed.",
}


def run(recorder: Recorder, statement: Statement, database: str, *, timeout: float) -> Table:
    """Send a statement that writes policies, record the policies before and after it, and return the response.

    If the service runs only part of a script, the outcome of each scope is read from its policy.

    Raises:
        AnswerError: The response does not match the command, and the policy does not show that it was run.
        KqlmiError: The statement was refused or failed. The hint reports whether policies were changed nevertheless.
        RequestInterruptedError: The request was interrupted. Its ``outcome`` is the outcome of the statement.
    """
    retrying = recorder.retrying
    sender = Sender(
        recorder.connection, statement, database or None, timeout, retrying, retrying.tell, longest=DEADLINE
    )
    names_no_scope = any(not one.scope for one in statement.policy_writes)
    context = Scope.database(database or _database(recorder)) if names_no_scope else None
    try:
        steps = _around(recorder, statement, context, sender.request)
    except ForbiddenError:
        # A caller who cannot read a policy cannot write it either: the refusal of the command itself reports that best.
        return sender.send_unrecorded()
    sent = _Sent(recorder.log("cell", steps), statement.policy_command, sender)

    def read_again() -> None:
        steps = recorder.with_ids(_around(recorder, statement, context, sender.request))
        sent.log.save(replace(sent.log.entry, steps=steps))

    try:
        sent.log.begin()
        try:
            answer = sender.send(read_again)
        except KqlmiError as error:
            sent.failed(error)
            raise
        sent.answered(answer)
    except KeyboardInterrupt as error:
        raise sent.interrupted(error) from None
    return answer


@dataclass(slots=True)
class _Sent:
    """A statement that is being sent, with its history log. ``command`` is None for a script."""

    log: Log
    command: PolicyCommand | None
    sender: Sender

    def failed(self, error: KqlmiError) -> None:
        """Close the entry of a failed statement, and add the outcome that the policies show to the error's hint."""
        unclear = self.sender.is_open
        # An interrupt ends the reading; the error still reports how the statement ended.
        found = self.log.entry.with_all("unknown")
        with suppress(KeyboardInterrupt):
            found = self._after(error)
        found = open_entries.closed(found)
        with suppress(KeyboardInterrupt):
            self.log.save(found)
        if unclear or found.outcome in _UNDO:
            error.hint = f"{_FAILED.get(found.outcome, error.hint)} {_UNDO.get(found.outcome, '')}".strip()
        elif found.outcome == "unknown":
            error.hint = f"{error.hint} {_check(found)}".strip()

    def answered(self, answer: Table) -> None:
        """Close the entry. Raise AnswerError if neither the response nor the policy shows the change."""
        found = open_entries.closed(self._by(answer))
        self.log.save(found)
        if self.command and found.outcome != "applied":
            raise AnswerError(
                "The response does not match the command.",
                hint=_FAILED.get(found.outcome) or _check(found),
                client_request_id=self.sender.request,
            )

    def interrupted(self, error: KeyboardInterrupt) -> RequestInterruptedError:
        """Read back the outcome of an interrupted statement, close its entry, and return the error for the interrupt."""
        found = open_entries.closed(self._settled(error))
        with suppress(KeyboardInterrupt):
            self.log.save(found)
        return RequestInterruptedError(
            _INTERRUPTED.get(found.outcome, _INTERRUPTED["unknown"]),
            hint=_check(found) if found.outcome == "unknown" else _UNDO.get(found.outcome, ""),
            client_request_id=self.sender.request,
            sent=self.sender.is_open,
            outcome=found.outcome,
        )

    def _after(self, error: KqlmiError) -> Entry:
        """Return the entry with the outcome of a failed statement."""
        unclear = self.sender.is_open
        if unclear and self.command:
            return self._settled(error)
        if unclear or (isinstance(error, ServiceError) and (self.command is None or self.command.piped)):
            # It was run up to the failure: a script, or a command before the query that it is piped into.
            return self._read_back("unknown" if unclear else "not applied", refused=True)
        return self.log.entry.with_all("not applied")

    def _by(self, answer: Table) -> Entry:
        if self.command is None:
            return self._read_back("not applied", refused=False)
        if not self.command.piped:
            [step] = self.log.entry.steps
            with suppress(AnswerError):
                after = written_policy(answer, step.scope)
                return self.log.entry.with_step(0, replace(step, after=after, outcome="applied"))
        return self._settled(None)

    def _settled(self, error: BaseException | None) -> Entry:
        """Return the entry with the outcomes that the policies show. If they show none, a response counts as applied."""
        return with_results(self.log.entry, [self.sender.settled(step, error) for step in self.log.entry.steps])

    def _read_back(self, stayed: Outcome, *, refused: bool) -> Entry:
        """Return the entry with the current policies. Steps whose policy did not change have the outcome ``stayed``."""
        entry = self.log.entry.with_all("unknown")
        for place, step in enumerate(entry.steps):
            with suppress(KqlmiError):
                now = read_policy(self.sender.connection, step.scope)
                same = now == step.before and (refused or shows(step))
                if refused and self.command:
                    # The journal may show the commands of a script under their own IDs.
                    writes = policy_writes(self.sender.connection, step.scope)
                    same = same or is_anothers(writes, {step.client_request_id}, now)
                outcome = stayed if same else "applied"
                entry = entry.with_step(place, replace(step, after=now, outcome=outcome))
        return entry


def _around(recorder: Recorder, statement: Statement, context: Scope | None, request: str) -> list[StepRecord]:
    """Return a step for each scope that the commands write, with its current policy and the expected policy."""
    before: dict[Scope, Policy | None] = {}
    after: dict[Scope, Policy | None] = {}
    for command in statement.policy_writes:
        scope = command.scope or context
        assert scope  # noqa: S101 - a command that names no scope has a context
        if scope not in before:
            before[scope] = after[scope] = read_policy(recorder.connection, scope)
        with suppress(PolicyError):  # the service will refuse the command
            after[scope] = commands.expected(command, after[scope])
    return [
        StepRecord(scope, statement.masked, before[scope], after[scope], client_request_id=request) for scope in before
    ]


def _database(recorder: Recorder) -> str:
    return first_value(recorder.connection.execute("print name = current_database()"), "name")


def _check(entry: Entry) -> str:
    return f"Check before you send it again: {commands.show(entry.steps[0].scope)}"
