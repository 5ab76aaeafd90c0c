"""The recorder of policy changes: each change is recorded while it is made, and settled later if it was left open."""

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
    """The recorder of one cluster's policy changes. ``cluster`` is the endpoint that the cluster reports for itself."""

    connection: Connection
    history: History
    name: str
    cluster: str
    principal: str
    retrying: Retrying = field(default_factory=Retrying)

    @classmethod
    def of(cls, connection: Connection, history: History, name: str, retrying: Retrying) -> "Recorder":
        """Return the recorder for a connection, with the endpoint and the principal that the cluster reports."""
        try:
            answer = connection.execute(_WHO)
        except ForbiddenError:
            # A caller who cannot even run `print` cannot change policies either: record refused changes by the session's name.
            return cls(connection, history, name, name, "", retrying)
        cluster, principal = (first_value(answer, column) for column in ("cluster", "principal"))
        return cls(connection, history, name, cluster, principal, retrying)

    def read(self) -> Reading:
        """Return the recorded history of the cluster."""
        return self.history.read(self.cluster)

    def with_ids(self, steps: Iterable[StepRecord]) -> tuple[StepRecord, ...]:
        """Return steps with the IDs of their databases, which distinguish a recreated database from its predecessor."""
        found = tuple(steps)
        ids = databases.database_ids(self.connection, [step.scope for step in found])
        return tuple(replace(step, database_id=(ids or {}).get(step.scope, "")) for step in found)

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Settle the entries whose outcome is open or unknown by reading the current policies, and return them.

        If an entry is younger than ``deadline`` for each of its steps, a change that is not visible stays unknown: its
        command may still arrive. An entry that another process finished meanwhile is returned as that process recorded it.
        """
        found = []
        for entry in self.read().unfinished:
            settled = open_entries.settled(self.connection, entry, deadline=deadline)
            with suppress(HistoryError):
                settled = self.history.settle(entry, settled)
            found.append(settled)
        return tuple(found)

    def undo(self, prefix: str = "") -> PolicyPlan:
        """Return the plan that reverts an entry, given the beginning of its ID, or the last change still in effect.

        Raises:
            InputError: There is no such entry, it changed nothing, its policy has changed or its database was dropped
                since, or kqlmi cannot determine which change was the last.
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
            # Nothing of the entry is left to undo (a cell may repeat an existing grant), so try the preceding entry.
            reading = replace(reading, entries=tuple(one for one in reading.entries if one != entry))
        self._refuse_doubt(reading, None)
        raise InputError(f"There is nothing to undo on {self.name}.", hint="%kqlmi history lists the changes.")

    @staticmethod
    def _refuse_doubt(reading: Reading, last: Entry | None) -> None:
        """Raise InputError if an entry other than ``last`` may be the last change."""
        hint = "Look at %kqlmi history, and pass the entry to undo: %kqlmi undo ID"
        if reading.unreadable:
            raise InputError(f"An unreadable entry may be the last change: {reading.unreadable[-1]}.", hint=hint)
        if doubts := reading.doubts(last):
            one = doubts[-1]
            scopes = ", ".join(str(step.scope) for step in one.steps)
            raise InputError(
                f"kqlmi could not determine whether entry {one.id} ({scopes}) changed anything.", hint=hint
            )

    def _inverse(self, entry: Entry) -> PolicyPlan:
        steps = [step for step in entry.steps if step.outcome == "applied"]
        if not steps:
            raise InputError(f"Entry {entry.id} changed nothing.", hint="%kqlmi history lists the changes.")
        ids = databases.database_ids(self.connection, [step.scope for step in steps])
        gone = [step for step in steps if open_entries.is_gone(step, ids)]
        steps = [step for step in steps if step not in gone]
        if not steps:
            raise InputError(
                f"Entry {entry.id} cannot be undone: the {gone[0].scope} was dropped or recreated since.",
                hint="%kqlmi history lists the changes; pass an ID to undo an older one: %kqlmi undo ID",
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
                f"Entry {entry.id} ({did or 'no difference'}) cannot be undone: the policy of the {moved[0]} has changed"
                f" since ({since}).",
                hint="Make a new plan from the current policies.",
            )
        return make_plan(current, Snapshot(before), cluster=self.name, exactly=True, undoes=entry.id)

    def log(self, source: Source, steps: Iterable[StepRecord], *, undoes: str = "") -> "Log":
        """Return a log for a change; its entry is not written yet."""
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
    """The log of one change. Its ``entry`` is begun before anything is sent."""

    history: History
    entry: Entry
    begun: bool = False

    def begin(self) -> None:
        """Begin the entry. An interrupt closes it as not applied, because nothing was sent yet."""
        try:
            self.history.begin(self.entry)
        except KeyboardInterrupt:
            self.close(self.entry.with_all("not applied"))
            raise
        self.begun = True

    def save(self, entry: Entry) -> None:
        """Record what is known so far. An interrupt is raised again after the entry is written."""
        self.entry = entry
        # If writing fails, the entry stays open and the next connect settles it; raising would leave a plan half applied.
        with suppress(HistoryError):
            try:
                self.history.update(entry)
            except KeyboardInterrupt:
                self.history.update(entry)  # a second interrupt stops this as well
                raise

    def close(self, entry: Entry, outcome: Outcome | None = None) -> None:
        """Record the outcome of the change: the given outcome, or else the combined outcome of its steps."""
        self.save(open_entries.closed(entry, outcome))


def first_value(answer: Table, column: str) -> str:
    """Return the value of a column in the first row, or raise AnswerError if there is no row."""
    if not len(answer):
        raise AnswerError("The response has no rows.", hint="Check for a proxy between you and the cluster.")
    return str(answer.column(column)[0])
