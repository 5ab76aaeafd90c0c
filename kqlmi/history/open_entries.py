"""The outcomes of changes that were left open, determined from the cluster's current policies and journal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from kqlmi.cluster import databases, evidence
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.outcome_recovery import is_at
from kqlmi.cluster.policies import read_policy
from kqlmi.errors import PolicyError, ServiceError
from kqlmi.history.entries import Entry, Outcome, StepRecord
from kqlmi.model.entities import Scope

Ids = Mapping[Scope, str]


def settled(connection: Connection, entry: Entry, *, deadline: float) -> Entry:
    """Return an entry with the outcomes of its steps, if they can be determined.

    Steps whose scope cannot be read stay unchanged. If the entry is younger than ``deadline`` for each of its steps, a change
    that is not visible stays unknown: its command may still arrive.
    """
    # The last step may have begun only after every step before it used up its deadline.
    late = (datetime.now(UTC) - entry.time).total_seconds() > deadline * len(entry.steps)
    steps = entry.steps
    for scope in dict.fromkeys(step.scope for step in steps if step.unsettled):
        steps = _of_scope(connection, steps, scope, late=late)
    return closed(replace(entry, steps=steps))


def closed(entry: Entry, outcome: Outcome | None = None) -> Entry:
    """Return an entry with its final outcome: the given one, which makes open steps ``not applied``, or its steps' outcome."""
    steps = [
        replace(step, outcome="not applied") if outcome and step.outcome == "open" else step for step in entry.steps
    ]
    found = {step.outcome for step in steps}
    total: Outcome = outcome or (
        "unknown" if found & {"unknown", "open"} else found.pop() if len(found) == 1 else "partly applied"
    )
    return replace(entry, steps=tuple(steps), outcome=total)


def is_gone(step: StepRecord, ids: Ids | None) -> bool:
    """Check whether the database of a step was dropped or recreated. If ``ids`` is None, that is unknown, and not assumed."""
    if step.scope.is_cluster or ids is None:
        return False
    now = ids.get(step.scope)
    return now is None or bool(now and step.database_id and now != step.database_id)


def _of_scope(
    connection: Connection, steps: tuple[StepRecord, ...], scope: Scope, *, late: bool
) -> tuple[StepRecord, ...]:
    """Return the steps, with outcomes for the unsettled ones of a scope.

    Each step builds on the preceding step: all up to the last step that took effect were applied, and none after it.
    """
    waiting = [step for step in steps if step.scope == scope and step.unsettled]
    ids = databases.database_ids(connection, [scope])
    writes = evidence.policy_writes(connection, scope)
    own = {step.client_request_id for step in waiting} - {""}
    lost = is_gone(waiting[0], ids)
    landed = _up_to_last(waiting, lambda step: step.client_request_id in own & {one.request for one in writes})
    known = False
    if not lost:
        try:
            now = read_policy(connection, scope)
        except (PolicyError, ServiceError):
            return steps
        # A policy that another command left does not show whether this one was applied.
        anothers = not landed and evidence.is_anothers(writes, own, now)
        if not landed and not anothers:
            landed = _up_to_last(waiting, lambda step: is_at(step, step.after, now))
        known = bool(landed) or anothers or is_at(waiting[0], waiting[0].before, now)
    rest: Outcome = "not applied" if known and late else "unknown"
    found = iter(
        [
            *(replace(step, outcome="applied") for step in landed),
            *(replace(step, outcome=rest, lost=lost and rest == "unknown") for step in waiting[len(landed) :]),
        ]
    )
    return tuple(next(found) if step in waiting else step for step in steps)


def _up_to_last(steps: Sequence[StepRecord], landed: Callable[[StepRecord], bool]) -> Sequence[StepRecord]:
    return steps[: max((count for count, step in enumerate(steps, 1) if landed(step)), default=0)]
