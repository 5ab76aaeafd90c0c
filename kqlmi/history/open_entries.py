"""What became of the changes that were left open, by what the cluster shows of them now."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from kqlmi.cluster import databases, evidence
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.outcome_recovery import as_found
from kqlmi.cluster.policies import read_policy
from kqlmi.errors import PolicyError, ServiceError
from kqlmi.history.entries import Entry, Outcome, StepRecord
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy, grants_of, marked_as

Ids = Mapping[Scope, str]


def settled(connection: Connection, entry: Entry, *, deadline: float) -> Entry:
    """Return an entry with the outcomes of its steps as far as they can be told; a scope that cannot be read keeps its own.

    An entry younger than ``deadline`` for each of its steps, whose change does not show, stays unknown: a command may
    still arrive.
    """
    # The last step may have begun when those before it had used up their deadlines.
    late = (datetime.now(UTC) - entry.time).total_seconds() > deadline * len(entry.steps)
    steps = entry.steps
    for scope in dict.fromkeys(step.scope for step in steps if step.unsettled):
        steps = _of_scope(connection, steps, scope, late=late)
    return closed(replace(entry, steps=steps))


def closed(entry: Entry, outcome: Outcome | None = None) -> Entry:
    """Return an entry with its outcome, given or that of its steps; of a given one, steps that never began were not applied."""
    steps = [
        replace(step, outcome="not applied") if outcome and step.outcome == "open" else step for step in entry.steps
    ]
    found = {step.outcome for step in steps}
    total: Outcome = outcome or (
        "unknown" if found & {"unknown", "open"} else found.pop() if len(found) == 1 else "partly applied"
    )
    return replace(entry, steps=tuple(steps), outcome=total)


def is_gone(step: StepRecord, ids: Ids | None) -> bool:
    """Check whether the database of a step was dropped, or dropped and created again; ``ids`` is None where nothing tells."""
    if step.scope.is_cluster or ids is None:
        return False
    now = ids.get(step.scope)
    return now is None or bool(now and step.database_id and now != step.database_id)


def _of_scope(
    connection: Connection, steps: tuple[StepRecord, ...], scope: Scope, *, late: bool
) -> tuple[StepRecord, ...]:
    """Return the steps with the outcomes of those of a scope that are not settled.

    One leads on from another: the last that happened has those before it happen, and none after it.
    """
    places = [place for place, step in enumerate(steps) if step.scope == scope and step.unsettled]
    ids = None if scope.is_cluster else databases.database_ids(connection)
    writes = evidence.policy_writes(connection, scope)
    own = {steps[place].client_request_id for place in places} - {""}
    landed = [steps[place].client_request_id in {one.request for one in writes} - {""} for place in places]
    lost = is_gone(steps[places[0]], ids)
    if lost:
        known = False
    else:
        try:
            now = read_policy(connection, scope)
        except (PolicyError, ServiceError):
            return steps
        # What somebody else's command left says nothing of this one.
        anothers = not any(landed) and evidence.is_anothers(writes, own, now)
        if not any(landed) and not anothers:
            landed = [_shows(steps[place], steps[place].after, now) for place in places]
        known = any(landed) or anothers or _shows(steps[places[0]], steps[places[0]].before, now)
    count = max((place for place, found in enumerate(landed, 1) if found), default=0)
    rest: Outcome = "not applied" if known and late else "unknown"
    outcomes: dict[int, Outcome] = {place: "applied" if at < count else rest for at, place in enumerate(places)}
    return tuple(
        replace(step, outcome=outcomes[place], lost=lost and outcomes[place] == "unknown")
        if place in outcomes
        else step
        for place, step in enumerate(steps)
    )


def _shows(step: StepRecord, state: Policy | None, now: Policy | None) -> bool:
    """Check whether a policy is in a state of a step; where that changes no grant, whether there is one tells them apart."""
    changes = grants_of(step.before) != grants_of(step.after)
    now = marked_as(now, step.before, step.after)
    return as_found(grants_of(state), now) == grants_of(now) and (changes or (state is None) == (now is None))
