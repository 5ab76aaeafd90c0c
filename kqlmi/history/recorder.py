"""The history of a cluster's policies: each change is recorded while it is made, and settled if it was left open."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kqlmi.cluster import databases
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.cluster.outcome_recovery import DEADLINE
from kqlmi.cluster.policies import read_policy
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import AnswerError, ForbiddenError, InputError
from kqlmi.history import open_entries
from kqlmi.history.entries import Entry, HistoryError, Outcome, Reading, Source, StepRecord, new_entry
from kqlmi.history.store import History
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.diff import difference
from kqlmi.model.policy.policy import Snapshot, marked_as, state_of

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
        """Return the recorder of the cluster behind a connection, by what that says of itself."""
        try:
            answer = connection.execute(_WHO)
        except ForbiddenError:
            # Who may not even print may not write either; the name keeps what is refused.
            return cls(connection, history, name, name, "", retrying)
        cluster, principal = (first_value(answer, column) for column in ("cluster", "principal"))
        return cls(connection, history, name, cluster, principal, retrying)

    def read(self) -> Reading:
        """Return what is recorded of the cluster."""
        return self.history.read(self.cluster)

    def with_ids(self, steps: Iterable[StepRecord]) -> tuple[StepRecord, ...]:
        """Return steps with the own IDs of their databases, by which one that is created again is told from the one before."""
        found = tuple(steps)
        ids = databases.database_ids(self.connection, [step.scope for step in found])
        return tuple(replace(step, database_id=(ids or {}).get(step.scope, "")) for step in found)

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Return the entries that were left open or unknown, with what the cluster shows of them by now.

        An entry younger than ``deadline`` for each of its steps, whose change does not show, stays unknown: a command
        may still arrive. What another process finished meanwhile stays as that recorded it.
        """
        found = []
        for entry in self.read().unfinished:
            settled = open_entries.settled(self.connection, entry, deadline=deadline)
            with suppress(HistoryError):
                settled = self.history.settle(entry, settled)
            found.append(settled)
        return tuple(found)

    def undo(self, prefix: str = "") -> PolicyPlan:
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

    def _inverse(self, entry: Entry) -> PolicyPlan:
        steps = [step for step in entry.steps if step.outcome == "applied"]
        if not steps:
            raise InputError(f"Entry {entry.id} changed nothing.", hint="%kqlmi history lists the changes.")
        ids = databases.database_ids(self.connection, [step.scope for step in steps])
        gone = [step for step in steps if open_entries.is_gone(step, ids)]
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
        moved = [scope for scope, policy in after.items() if state_of(policy) != state_of(current.policies[scope])]
        if moved:
            did = ", ".join(filter(None, (difference(before[scope], after[scope]) for scope in before)))
            since = difference(after[moved[0]], current.policies[moved[0]])
            raise InputError(
                f"Entry {entry.id} cannot be taken back: it made {did or 'no change'}, and since then"
                f" somebody made {since} in the {moved[0]}.",
                hint="Plan what you want from the policies as they are now.",
            )
        return make_plan(current, Snapshot(before), cluster=self.name, exactly=True, undoes=entry.id)

    def log(self, source: Source, steps: Iterable[StepRecord], *, undoes: str = "") -> "Log":
        """Return what records a change, with an entry that is not yet begun."""
        entry = new_entry(
            cluster=self.cluster,
            name=self.name,
            principal=self.principal,
            source=source,
            steps=self.with_ids(steps),
            undoes=undoes or None,
        )
        return Log(self.history, entry)


@dataclass(slots=True)
class Log:
    """What records one change, by an ``entry`` that is ``begun`` before anything is sent."""

    history: History
    entry: Entry
    begun: bool = False

    def begin(self) -> None:
        """Begin the entry; an interrupt closes it, for nothing was sent yet."""
        try:
            self.history.begin(self.entry)
        except KeyboardInterrupt:
            self.close(self.entry.with_all("not applied"))
            raise
        self.begun = True

    def save(self, entry: Entry) -> None:
        """Record what is known by now; an interrupt comes out when that is written."""
        self.entry = entry
        # The entry that was begun stays, open: the next connect settles it. To stop here would leave a plan half done.
        with suppress(HistoryError):
            try:
                self.history.update(entry)
            except KeyboardInterrupt:
                self.history.update(entry)  # a second interrupt ends that too
                raise

    def close(self, entry: Entry, outcome: Outcome | None = None) -> None:
        """Record the outcome of the change, given or that of the steps."""
        self.save(open_entries.closed(entry, outcome))


def first_value(answer: Table, column: str) -> str:
    """Return the value of a column in the first row; AnswerError if there is no row."""
    if not len(answer):
        raise AnswerError("The answer has no row.", hint="Is there a proxy in between?")
    return str(answer.column(column)[0])
