"""The recovery of a policy command's outcome from the policy itself, if the response is missing."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.evidence import Overwritten, is_anothers, policy_writes
from kqlmi.cluster.policies import read_policy
from kqlmi.errors import Ended, KqlmiError
from kqlmi.model.entities import ObjectId, Scope
from kqlmi.model.kql import quoting
from kqlmi.model.policy.policy import Policy, marked_as, state_of

DEADLINE: Final = 60.0
_PAUSE: Final = 0.5
_AFTER_INTERRUPT: Final = 5.0
_RUNNING: Final = frozenset({"inprogress", "running"})
_GRANTS, _PRESENCE = 0, -1


class Awaited(Protocol):
    """A policy command, as a step of a plan or of a history entry: its scope, and the policies before and after it."""

    @property
    def scope(self) -> Scope:
        """The scope whose policy it changes."""

    @property
    def before(self) -> Policy | None:
        """The policy that it must find."""

    @property
    def after(self) -> Policy | None:
        """The policy that it should leave."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step.

    ``policy`` is the scope's policy after the step, if known. ``overwritten`` is another writer's change that the step
    overwrote. ``unseen`` is the time in seconds for which such a write cannot be ruled out, or None if the cluster's
    records rule it out or the command overwrites nothing.
    """

    step: Awaited
    outcome: Ended
    policy: Policy | None = None
    client_request_id: str = ""
    overwritten: Overwritten | None = None
    unseen: float | None = None


def shows(step: Awaited) -> bool:
    """Check whether the command changes anything, so that the policy can show that it was run."""
    return _state(step.before) != _state(step.after)


def is_at(step: Awaited, state: Policy | None, found: Policy | None) -> bool:
    """Check whether ``found`` equals ``state``, a step's policy before or after, up to the first aspect that the step changes.

    The aspects are, in order, the grants, the unrecognised properties, the identities, and whether there is a policy at
    all. If an earlier aspect differs, another writer was active too, and the change may be theirs.
    """
    found = marked_as(found, step.before, step.after)
    changes = (place for place, one in enumerate(_state(step.before)) if one != _state(step.after)[place])
    first = next(changes, None)
    places = (_GRANTS, _PRESENCE) if first is None else range(first + 1)
    return all(_state(state, found)[place] == _state(found)[place] for place in places)


def as_found(items: frozenset[tuple[str, ...]], policy: Policy | None) -> frozenset[tuple[str, ...]]:
    """Return grants, or other tuples that begin with an identity, with the system identity's GUID replaced by ``system``.

    The policy that the cluster returned shows whether a GUID is the system identity's.
    """
    same = {entry.object_id: entry.identity for entry in (policy.entries if policy else ())}
    return frozenset((same.get(ObjectId(who), who), *rest) for who, *rest in items)


def _state(policy: Policy | None, found: Policy | None = None) -> tuple[object, ...]:
    """Return the contents of a policy, and whether there is one, with the identities written as in ``found``."""
    grants, properties, identities = state_of(policy)
    parts = (grants, properties, frozenset((who,) for who in identities))
    return (*(as_found(part, found) for part in parts), policy is None)


def after_interrupt(connection: Connection, step: Awaited, request: str) -> StepResult:
    """Read the policy back after an interrupt, for a few seconds at most. Another interrupt ends the reading.

    Until the cluster lists the command as ended, it may still arrive, so the old state proves nothing.
    """
    until = time.monotonic() + _AFTER_INTERRUPT
    return read_back(connection, step, request, until, lambda: _has_ended(connection, step.scope, request))


def read_back(
    connection: Connection,
    step: Awaited,
    request: str,
    until: float | None = None,
    proves: Callable[[], bool] = lambda: False,
) -> StepResult:
    """Read the policy back until the outcome is clear, or until the time ``until``.

    If ``proves()``, the old state means not applied. Without ``until``, the policy is read only once: after a timeout, the
    request may still be on its way, and its deadline on the server has not begun.
    """
    found = StepResult(step, "unknown", client_request_id=request)
    with suppress(KeyboardInterrupt):
        while True:
            over = until is None or time.monotonic() >= until
            with suppress(KqlmiError):
                # Called before the read, which does not show a write that arrives while it runs.
                late = proves()
                policy = marked_as(read_policy(connection, step.scope), step.before, step.after)
                found = replace(found, outcome=_outcome(connection, found, policy, late=late), policy=policy)
            if found.outcome != "unknown" or until is None or over:
                break
            time.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))
    return found


def _outcome(connection: Connection, asked: StepResult, policy: Policy | None, *, late: bool) -> Ended:
    step, own = asked.step, {asked.client_request_id}
    landed = is_at(step, step.after, policy)
    if landed and not is_anothers(policy_writes(connection, step.scope), own, policy):
        return "applied"
    # If the journal shows that another writer left the new state, it proves as little as the old one.
    return "not applied" if late and (landed or is_at(step, step.before, policy)) else "unknown"


def _has_ended(connection: Connection, scope: Scope, client_request_id: str) -> bool:
    listed = f".show commands-and-queries | where ClientActivityId == {quoting.literal(client_request_id)}"
    try:
        states = connection.execute(listed, scope.name).column("State")
    except KqlmiError:
        return False
    return bool(states) and not any(str(state).casefold() in _RUNNING for state in states)
