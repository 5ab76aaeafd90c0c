"""The history of a cluster's policies: each change is recorded while it is made, and settled if it was left open."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kqlmi.apply import DEADLINE, Applied, StepResult, apply_plan
from kqlmi.apply.results import difference
from kqlmi.cluster import listing
from kqlmi.cluster.connection import Connection, new_client_request_id
from kqlmi.cluster.evidence import is_anothers, policy_writes
from kqlmi.cluster.policies import holds_policy, policy_of, read_policy, write_policy
from kqlmi.cluster.refusals import nothing_happened
from kqlmi.cluster.retrying import Retrying
from kqlmi.cluster.settling import Awaited, Settled, after_interrupt
from kqlmi.cluster.table import Table
from kqlmi.errors import (
    ApplyError,
    ForbiddenError,
    InputError,
    KqlmiError,
    PolicyError,
    RequestInterruptedError,
    ServiceError,
)
from kqlmi.history import Entry, History, HistoryError, Outcome, Reading, StepRecord, new_entry, settling
from kqlmi.model import commands
from kqlmi.model.commands import PolicyCommand
from kqlmi.model.diff import Change, diff
from kqlmi.model.entities import Scope
from kqlmi.model.hidden import masked
from kqlmi.model.plan import Plan, make_plan
from kqlmi.model.policy import Policy, Snapshot, marked_as, state_of

_WHO = "print cluster = current_cluster_endpoint(), principal = current_principal()"


@dataclass(frozen=True, slots=True)
class Recorder:
    """What changes policies over a connection and records it; ``cluster`` is the cluster's own identity."""

    connection: Connection
    history: History
    name: str
    cluster: str
    principal: str
    retrying: Retrying = field(default_factory=Retrying)

    @classmethod
    def of(cls, connection: Connection, history: History, name: str, retrying: Retrying) -> "Recorder":
        """Give the recorder of the cluster behind a connection, by what that says of itself."""
        try:
            answer = connection.execute(_WHO)
        except ForbiddenError:
            # Who may not even print may not write either; the name keeps what is refused.
            return cls(connection, history, name, name, "", retrying)
        cluster, principal = (str(answer.column(column)[0]) for column in ("cluster", "principal"))
        return cls(connection, history, name, cluster, principal, retrying)

    def read(self) -> Reading:
        """Give what is recorded of the cluster."""
        return self.history.read(self.cluster)

    def apply(
        self,
        plan: Plan,
        *,
        deadline: float,
        tell: Callable[[str], None],
        progress: Callable[[tuple[StepResult, ...]], None],
    ) -> Applied:
        """Carry out a plan, with a history entry that is begun before the first command.

        Raises:
            HistoryError: The entry cannot be written; nothing was sent.
            ApplyError: The plan did not go through.
        """
        ids = self._ids(step.scope for step in plan.steps)
        requests = tuple(new_client_request_id() for _ in plan.steps)
        steps = tuple(
            StepRecord(
                step.scope,
                step.command,
                step.before,
                step.after,
                client_request_id=request,
                database_id=ids.get(step.scope, ""),
            )
            for step, request in zip(plan.steps, requests, strict=True)
        )
        entry = self._entry("plan", steps, undoes=plan.undoes)
        begun = False

        def record(done: tuple[StepResult, ...]) -> None:
            nonlocal entry, begun
            if not begun:
                self.history.begin(entry)
                begun = True
            entry = _with_results(entry, done)
            if done:
                self._update(entry)
            progress(done)

        try:
            applied = apply_plan(
                self.connection,
                plan,
                deadline=deadline,
                progress=record,
                tell=tell,
                retrying=self.retrying,
                requests=requests,
            )
        except ApplyError as error:
            if begun:
                # An interrupt may have come before the last step was recorded.
                self._close(_with_results(entry, error.steps), _outcome(error.outcome))
                error.entry = entry.id
            raise
        if begun:
            self._close(entry, "applied")
        return replace(applied, entry=entry.id if begun else "")

    def run(self, written: Sequence[PolicyCommand], text: str, database: str, *, timeout: float) -> Table:
        """Send a text with writing policy commands as it stands, with the policies read around it, and an entry.

        Of a script that the service carries out in part, each scope has the outcome that its own policy shows.
        """
        context = Scope.database(database or self._database()) if any(not one.scope for one in written) else None
        request = new_client_request_id()
        try:
            steps = self._around(written, context, text, request)
        except ForbiddenError:
            # Who may not read a policy may not write it: the refusal of the command itself says so best.
            return write_policy(self.connection, text, database, timeout=timeout, retrying=self.retrying)
        entry = self._entry("cell", steps)
        self.history.begin(entry)
        again = unclear = False

        def send(left: float) -> Table:
            nonlocal entry, again, unclear
            if again:
                entry = replace(entry, steps=self._around(written, context, text, request))
                self._update(entry)
            again = unclear = True
            try:
                return self.connection.execute(text, database or None, timeout=left, client_request_id=request)
            except (KqlmiError, KeyboardInterrupt) as error:
                unclear = not nothing_happened(error)
                raise

        command = commands.read(text)
        try:
            answer = self.retrying.repeat(send, timeout)
        except KqlmiError as error:
            closed = _all(entry, "unknown" if unclear else "not applied")
            if isinstance(error, ServiceError) and not unclear and (command is None or command.piped):
                # It was carried out up to where it failed: a script, or a command before what follows it.
                closed = self._read_back(closed, refused=True, script=command is None)
            if self._close(closed).outcome in {"applied", "partly applied"}:
                error.hint = "The policy was changed all the same: %kqlmi undo reverts that."
            raise
        except KeyboardInterrupt:
            raise self._interrupted(entry, sent=unclear) from None
        closed = _all(entry, "applied")
        try:
            # The command was carried out: what cannot be read back leaves the expected state in the entry.
            if command is None or command.piped or not holds_policy(answer):
                closed = self._read_back(closed, refused=False, script=command is None)
            else:
                with suppress(KqlmiError):
                    closed = closed.with_step(0, replace(closed.steps[0], after=policy_of(answer)))
        finally:
            self._close(closed)
        return answer

    def _read_back(self, entry: Entry, *, refused: bool, script: bool) -> Entry:
        """Return an entry with the policies as they are now; where not all may have been carried out, they tell what was."""
        for place, step in enumerate(entry.steps):
            with suppress(KqlmiError):
                now = read_policy(self.connection, step.scope)
                stayed = now == step.before and (refused or Awaited(step.scope, step.before, step.after).shows)
                if refused and not script:
                    # The journal may show the commands of a script under IDs of their own.
                    writes = policy_writes(self.connection, step.scope)
                    stayed = stayed or is_anothers(writes, {step.client_request_id}, now)
                outcome: Outcome = "not applied" if stayed and (refused or script) else "applied"
                entry = entry.with_step(place, replace(step, after=now, outcome=outcome))
        return entry

    def _around(
        self, written: Sequence[PolicyCommand], context: Scope | None, text: str, request: str
    ) -> tuple[StepRecord, ...]:
        """Return a step for each scope that commands write: its policy as it is, and as they are to leave it."""
        before: dict[Scope, Policy | None] = {}
        after: dict[Scope, Policy | None] = {}
        for command in written:
            scope = command.scope or context
            assert scope  # noqa: S101 - there is a context wherever a command names no scope
            if scope not in before:
                before[scope] = after[scope] = read_policy(self.connection, scope)
            with suppress(PolicyError):  # the service will refuse it in its own words
                after[scope] = commands.expected(command, after[scope])
        ids = self._ids(before)
        return tuple(
            StepRecord(
                scope,
                masked(text),
                before[scope],
                after[scope],
                client_request_id=request,
                database_id=ids.get(scope, ""),
            )
            for scope in before
        )

    def _ids(self, scopes: Iterable[Scope]) -> settling.Ids:
        """Read the own IDs of databases, by which one that is created again is told from the one before."""
        if all(scope.is_cluster for scope in scopes):
            return {}
        return listing.database_ids(self.connection) or {}

    def _interrupted(self, entry: Entry, *, sent: bool) -> RequestInterruptedError:
        """Read back what became of a text, close its entry, and return what an interrupt of it becomes."""
        until = time.monotonic() + DEADLINE
        for place, step in enumerate(entry.steps):
            awaited, found = (
                Awaited(step.scope, step.before, step.after, step.client_request_id),
                Settled("not applied"),
            )
            if sent:
                left = max(0.0, until - time.monotonic())
                found = after_interrupt(self.connection, awaited, left) if awaited.shows else Settled()
            after = found.policy if found.outcome == "applied" else step.after
            entry = entry.with_step(place, replace(step, after=after, outcome=found.outcome))
        closed = self._close(entry)
        told, hint = {
            "applied": ("Interrupted, but the command was carried out.", "%kqlmi undo takes it back."),
            "partly applied": ("Interrupted. The script was carried out in part.", "%kqlmi undo takes that back."),
            "not applied": ("Interrupted. The command was not carried out.", ""),
        }.get(
            closed.outcome,
            (
                "Interrupted. Whether the command was carried out is not known.",
                f"Look before you send it again: {commands.show(entry.steps[0].scope)}",
            ),
        )
        request = entry.steps[0].client_request_id
        return RequestInterruptedError(told, hint=hint, client_request_id=request, sent=sent, outcome=closed.outcome)

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Return the entries that were left open or unknown, with what the cluster shows of them by now.

        An entry younger than ``deadline`` for each of its steps, whose change does not show, stays unknown: a command
        may still arrive. What another process finished meanwhile stays as that recorded it.
        """
        found = []
        for entry in self.read().unfinished:
            settled = settling.settled(self.connection, entry, deadline=deadline)
            with suppress(HistoryError):
                settled = self.history.settle(entry, settled)
            found.append(settled)
        return tuple(found)

    def undo(self, prefix: str = "") -> Plan:
        """Return the plan that takes back an entry, by the beginning of its ID, or the last change that stands.

        Raises:
            InputError: There is no such entry, it changed nothing, somebody has changed a policy since, or nobody knows
                which change was the last.
        """
        if prefix:
            return self._inverse(self.read().entry(prefix))
        settled = self.settle()
        reading = self.read().replacing(settled)
        while entry := reading.last_to_undo:
            self._refuse_doubt(reading, entry)
            plan = self._inverse(entry)
            if plan.steps:
                return plan
            # Nothing stands of it, as of a cell that granted what was granted already: what came before it does.
            reading = replace(reading, entries=tuple(one for one in reading.entries if one != entry))
        self._refuse_doubt(reading, None)
        raise InputError(f"There is nothing to undo on {self.name}.", hint="%kqlmi history lists the changes.")

    @staticmethod
    def _refuse_doubt(reading: Reading, last: Entry | None) -> None:
        """Refuse to choose an entry where another one may be the last change."""
        hint = "Look at %kqlmi history, and name the entry to undo: %kqlmi undo ID."
        if reading.unreadable:
            raise InputError(f"Which change was the last is not known: {reading.unreadable[-1]}", hint=hint)
        if doubts := reading.doubts(last):
            one = doubts[-1]
            scopes = ", ".join(str(step.scope) for step in one.steps)
            raise InputError(f"Whether entry {one.id} ({scopes}) changed anything is not known yet.", hint=hint)

    def _inverse(self, entry: Entry) -> Plan:
        steps = [step for step in entry.steps if step.outcome == "applied"]
        if not steps:
            raise InputError(f"Entry {entry.id} changed nothing.", hint="%kqlmi history lists the changes.")
        ids = None if all(step.scope.is_cluster for step in steps) else listing.database_ids(self.connection)
        gone = [step for step in steps if settling.is_gone(step, ids)]
        steps = [step for step in steps if step not in gone]
        if not steps:
            raise InputError(
                f"Entry {entry.id} cannot be taken back: the {gone[0].scope} was dropped since, or created again.",
                hint="%kqlmi history lists the changes; an older one is undone by its ID.",
            )
        before = {step.scope: step.before for step in reversed(steps)}
        after = {step.scope: step.after for step in steps}
        current = Snapshot(
            {scope: marked_as(read_policy(self.connection, scope), before[scope], after[scope]) for scope in before}
        )
        left = Snapshot(after)
        moved = [scope for scope, policy in after.items() if state_of(policy) != state_of(current.policies[scope])]
        if moved:
            did = _changes(diff(Snapshot(before), left))
            since = difference(after[moved[0]], current.policies[moved[0]])
            raise InputError(
                f"Entry {entry.id} cannot be taken back: it made {did or 'no change of grants'}, and since then"
                f" somebody made {since} in the {moved[0]}.",
                hint="Plan what you want from the policies as they are now.",
            )
        return make_plan(current, Snapshot(before), cluster=self.name, exactly=True, undoes=entry.id)

    def _entry(self, source: str, steps: Sequence[StepRecord], *, undoes: str = "") -> Entry:
        return new_entry(
            cluster=self.cluster,
            name=self.name,
            principal=self.principal,
            source="cell" if source == "cell" else "plan",
            steps=steps,
            undoes=undoes or None,
        )

    def _close(self, entry: Entry, outcome: Outcome | None = None) -> Entry:
        """Record the outcome of an entry."""
        closed = settling.closed(entry, outcome)
        self._update(closed)
        return closed

    def _update(self, entry: Entry) -> None:
        # The entry that was begun stays, open: the next connect settles it. To stop here would leave a plan half done.
        with suppress(HistoryError):
            self.history.update(entry)

    def _database(self) -> str:
        return str(self.connection.execute("print name = current_database()").column("name")[0])


def _changes(changes: Sequence[Change]) -> str:
    return ", ".join(f"{'+' if one.kind == 'grant' else '-'} {one.identity} {one.usage}" for one in changes)


def _with_results(entry: Entry, done: Sequence[StepResult]) -> Entry:
    """Give an entry with what became of its first steps."""
    for place, result in enumerate(done):
        step = entry.steps[place]
        after = result.policy if result.outcome == "applied" else step.after
        request = result.client_request_id or step.client_request_id
        found = replace(step, after=after, outcome=_outcome(result.outcome), client_request_id=request)
        entry = entry.with_step(place, found)
    return entry


def _all(entry: Entry, outcome: Outcome) -> Entry:
    """Return an entry all of whose steps have an outcome."""
    return replace(entry, steps=tuple(replace(step, outcome=outcome) for step in entry.steps))


def _outcome(text: str) -> Outcome:
    outcomes: dict[str, Outcome] = {
        "applied": "applied",
        "partly applied": "partly applied",
        "not applied": "not applied",
    }
    return outcomes.get(text, "unknown")
