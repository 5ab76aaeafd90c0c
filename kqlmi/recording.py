"""The history of a cluster's policies: each change is recorded while it is made, and settled if it was left open."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kqlmi.apply import DEADLINE, Applied, StepResult, apply_plan
from kqlmi.cluster import settling
from kqlmi.cluster.connection import Connection, new_client_request_id
from kqlmi.cluster.policies import holds_policy, policy_of, read_policy, write_policy
from kqlmi.cluster.refusals import nothing_happened
from kqlmi.cluster.retrying import Retrying
from kqlmi.cluster.settling import Awaited, Settled
from kqlmi.cluster.table import Table
from kqlmi.errors import (
    ApplyError,
    ForbiddenError,
    InputError,
    KqlmiError,
    PolicyError,
    RequestInterruptedError,
)
from kqlmi.history import Entry, History, HistoryError, Outcome, Reading, StepRecord, new_entry
from kqlmi.model import commands
from kqlmi.model.commands import PolicyCommand
from kqlmi.model.diff import Change, diff
from kqlmi.model.entities import Scope
from kqlmi.model.hidden import masked
from kqlmi.model.plan import Plan, make_plan
from kqlmi.model.policy import Policy, Snapshot, grants_of

_UNSETTLED = frozenset({"open", "unknown"})
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
        steps = tuple(StepRecord(step.scope, step.command, step.before, step.after) for step in plan.steps)
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
                self.connection, plan, deadline=deadline, progress=record, tell=tell, retrying=self.retrying
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

    def run(self, command: PolicyCommand, text: str, database: str, *, timeout: float) -> Table:
        """Send a writing policy command as it stands, with the policy read before and after it, and an entry."""
        scope = command.scope or Scope.database(database or self._database())
        try:
            before, after = self._around(command, scope)
        except ForbiddenError:
            # Who may not read a policy may not write it: the refusal of the command itself says so best.
            return write_policy(self.connection, text, database, timeout=timeout, retrying=self.retrying)
        request = new_client_request_id()
        step = StepRecord(scope, masked(text), before, after, client_request_id=request)
        entry = self._entry("cell", (step,))
        self.history.begin(entry)
        again = unclear = False

        def send(left: float) -> Table:
            nonlocal step, again, unclear
            if again:
                before, after = self._around(command, scope)
                step = replace(step, before=before, after=after)
                self._update(entry.with_step(0, step))
            again = unclear = True
            try:
                return self.connection.execute(text, database or None, timeout=left, client_request_id=request)
            except (KqlmiError, KeyboardInterrupt) as error:
                unclear = not nothing_happened(error)
                raise

        try:
            answer = self.retrying.repeat(send, timeout)
        except KqlmiError:
            self._close(entry.with_step(0, replace(step, outcome="unknown" if unclear else "not applied")))
            raise
        except KeyboardInterrupt:
            raise self._interrupted(entry, step, sent=unclear) from None
        try:
            with suppress(KqlmiError):
                # The command was carried out: what cannot be read back leaves the expected state in the entry.
                read = policy_of(answer) if holds_policy(answer) else read_policy(self.connection, scope)
                step = replace(step, after=read)
        finally:
            self._close(entry.with_step(0, replace(step, outcome="applied")))
        return answer

    def _around(self, command: PolicyCommand, scope: Scope) -> tuple[Policy | None, Policy | None]:
        """Give the policy of a scope as it is, and as a command is to leave it."""
        before = read_policy(self.connection, scope)
        try:
            return before, commands.expected(command, before)
        except PolicyError:
            # The service will refuse it in its own words.
            return before, before

    def _interrupted(self, entry: Entry, step: StepRecord, *, sent: bool) -> RequestInterruptedError:
        """Read back what became of a command, close its entry, and give what an interrupt of it becomes."""
        request, awaited = step.client_request_id, Awaited(step.scope, step.before, step.after)
        settled = Settled("unknown" if sent else "not applied")
        if settled.outcome == "unknown" and awaited.shows:
            settled = settling.after_interrupt(self.connection, awaited, request, DEADLINE)
        after = settled.policy if settled.outcome == "applied" else step.after
        self._close(entry.with_step(0, replace(step, after=after, outcome=settled.outcome)))
        told, hint = {
            "applied": ("Interrupted, but the command was carried out.", "%kqlmi undo takes it back."),
            "not applied": ("Interrupted. The command was not carried out.", ""),
            "unknown": (
                "Interrupted. Whether the command was carried out is not known.",
                f"Look before you send it again: {commands.show(step.scope)}",
            ),
        }[settled.outcome]
        return RequestInterruptedError(told, hint=hint, client_request_id=request, sent=sent, outcome=settled.outcome)

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Give the entries that were left open or unknown, with what the policies show of them by now.

        An entry younger than ``deadline`` for each of its steps, whose change does not show, stays unknown: a command
        may still arrive.
        """
        settled = []
        for entry in self.read().unfinished:
            # The last step may have begun when those before it had used up their deadlines.
            late = (datetime.now(UTC) - entry.time).total_seconds() > deadline * len(entry.steps)
            steps = entry.steps
            for scope in dict.fromkeys(step.scope for step in steps if step.outcome in _UNSETTLED):
                steps = _seen(steps, scope, read_policy(self.connection, scope), late=late)
            settled.append(self._close(replace(entry, steps=steps)))
        return tuple(settled)

    def undo(self, prefix: str = "") -> Plan:
        """Give the plan that takes back an entry, by the beginning of its ID, or the last change that stands.

        Raises:
            InputError: There is no such entry, it changed nothing, or somebody has changed a policy since.
        """
        reading = self.read()
        if prefix:
            return self._inverse(reading.entry(prefix))
        while entry := reading.last_to_undo:
            plan = self._inverse(entry)
            if plan.steps:
                return plan
            # Nothing stands of it, as of a cell that granted what was granted already: what came before it does.
            reading = replace(reading, entries=tuple(one for one in reading.entries if one != entry))
        raise InputError(f"There is nothing to undo on {self.name}.", hint="%kqlmi history lists the changes.")

    def _inverse(self, entry: Entry) -> Plan:
        steps = [step for step in entry.steps if step.outcome == "applied"]
        if not steps:
            raise InputError(f"Entry {entry.id} changed nothing.", hint="%kqlmi history lists the changes.")
        before = {step.scope: step.before for step in reversed(steps)}
        after = {step.scope: step.after for step in steps}
        current = Snapshot({scope: read_policy(self.connection, scope) for scope in before})
        left = Snapshot(after)
        if since := diff(left, current):
            did = _changes(diff(Snapshot(before), left))
            raise InputError(
                f"Entry {entry.id} cannot be taken back: it made {did or 'no change of grants'}, and since then"
                f" somebody made {_changes(since)} in the {since[0].scope}.",
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
        """Write the outcome of an entry; the steps that never began were not applied."""
        steps = [
            replace(step, outcome="not applied") if outcome and step.outcome == "open" else step for step in entry.steps
        ]
        found = {step.outcome for step in steps}
        total: Outcome = outcome or (
            "unknown" if found & {"unknown", "open"} else found.pop() if len(found) == 1 else "partly applied"
        )
        closed = replace(entry, steps=tuple(steps), outcome=total)
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


def _outcome(text: str) -> Outcome:
    outcomes: dict[str, Outcome] = {
        "applied": "applied",
        "partly applied": "partly applied",
        "not applied": "not applied",
    }
    return outcomes.get(text, "unknown")


def _seen(steps: tuple[StepRecord, ...], scope: Scope, now: Policy | None, *, late: bool) -> tuple[StepRecord, ...]:
    """Give the steps with the outcomes of those of a scope that are not settled, by what its policy is now.

    One leads on from another: the last that left this policy has happened, with those before it, and none after it.
    """
    places = [place for place, step in enumerate(steps) if step.scope == scope and step.outcome in _UNSETTLED]
    left = [_shows(steps[place], steps[place].after, now) for place in places]
    landed = max((count for count, found in enumerate(left, 1) if found), default=0)
    known = landed or _shows(steps[places[0]], steps[places[0]].before, now)
    rest: Outcome = "not applied" if known and late else "unknown"
    outcomes: dict[int, Outcome] = {place: "applied" if at < landed else rest for at, place in enumerate(places)}
    return tuple(replace(step, outcome=outcomes.get(place, step.outcome)) for place, step in enumerate(steps))


def _shows(step: StepRecord, state: Policy | None, now: Policy | None) -> bool:
    """Tell whether a policy is in a state of a step; where that changes no grant, whether there is one tells them apart."""
    changes = grants_of(step.before) != grants_of(step.after)
    return settling.as_found(grants_of(state), now) == grants_of(now) and (changes or (state is None) == (now is None))
