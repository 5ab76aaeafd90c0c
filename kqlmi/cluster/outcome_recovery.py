"""What became of a policy command whose answer is missing, read back from the policy itself."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.evidence import is_anothers, policy_writes
from kqlmi.cluster.policies import read_policy
from kqlmi.errors import KqlmiError
from kqlmi.model.entities import ObjectId, Scope
from kqlmi.model.kql import quoting
from kqlmi.model.policy.policy import Grant, Policy, grants_of, marked_as

_PAUSE: Final = 0.5
_AFTER_INTERRUPT: Final = 5.0
_RUNNING: Final = frozenset({"inprogress", "running"})


@dataclass(frozen=True, slots=True)
class Awaited:
    """A policy command: the scope that it changes, the policies before and after it, and its client request ID."""

    scope: Scope
    before: Policy | None
    after: Policy | None
    client_request_id: str = ""

    def state(self, policy: Policy | None) -> frozenset[Grant] | bool:
        """Give what tells the policy after from the one before: its grants, or else whether there is one at all."""
        return grants_of(policy) if grants_of(self.before) != grants_of(self.after) else policy is None

    @property
    def shows(self) -> bool:
        """Tell whether the policy can show that the command was carried out: whether it changes anything."""
        return self.state(self.before) != self.state(self.after)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a command, and the policy that was read, where one was."""

    outcome: Literal["applied", "not applied", "unknown"] = "unknown"
    policy: Policy | None = None


def after_break(connection: Connection, awaited: Awaited, until: float, longest: float = math.inf) -> Settled:
    """Read back after a connection broke: the command may still be carried out ``until`` its deadline.

    It ends after ``longest`` seconds at most; before the deadline, the old state proves nothing.
    """
    end = min(until, time.monotonic() + longest)
    return _settle(connection, awaited, end, lambda: time.monotonic() >= until)


def after_timeout(connection: Connection, awaited: Awaited) -> Settled:
    """Read back once after time ran out: the request may still be on its way, where no deadline runs for it yet."""
    return _settle(connection, awaited, None, lambda: False)


def after_interrupt(connection: Connection, awaited: Awaited, seconds: float) -> Settled:
    """Read back after an interrupt, for some ``seconds`` at most; the next interrupt ends it.

    The old state proves nothing while the command may still arrive: only where the cluster lists it as ended.
    """
    until = time.monotonic() + min(seconds, _AFTER_INTERRUPT)
    return _settle(connection, awaited, until, lambda: _has_ended(connection, awaited.scope, awaited.client_request_id))


def _settle(connection: Connection, awaited: Awaited, until: float | None, proves: Callable[[], bool]) -> Settled:
    """Read back until the truth shows or time is over; where it ``proves``, the old state means not applied."""
    found = Settled()
    with suppress(KeyboardInterrupt):
        while True:
            over = until is None or time.monotonic() >= until
            with suppress(KqlmiError):
                # Asked before the read: what lands while it runs is not in it.
                late = proves()
                found = _seen(awaited, read_policy(connection, awaited.scope), late=late)
                if found.outcome == "applied" and _is_anothers(connection, awaited, found.policy):
                    found = Settled("not applied" if late else "unknown", found.policy)
            if found.outcome != "unknown" or until is None or over:
                break
            time.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))
    return found


def _has_ended(connection: Connection, scope: Scope, client_request_id: str) -> bool:
    listed = f".show commands-and-queries | where ClientActivityId == {quoting.literal(client_request_id)}"
    try:
        states = connection.execute(listed, scope.name).column("State")
    except KqlmiError:
        return False
    return bool(states) and not any(str(state).casefold() in _RUNNING for state in states)


def _seen(awaited: Awaited, policy: Policy | None, *, late: bool) -> Settled:
    policy = marked_as(policy, awaited.before, awaited.after)
    before, after, now = map(awaited.state, (awaited.before, awaited.after, policy))
    if now == (after if isinstance(after, bool) else as_found(after, policy)):
        return Settled("applied", policy)
    return Settled("not applied" if late and now == before else "unknown", policy)


def _is_anothers(connection: Connection, awaited: Awaited, policy: Policy | None) -> bool:
    """Check whether the journal credits somebody else with a policy that this command would have left, too."""
    writes = policy_writes(connection, awaited.scope)
    return is_anothers(writes, {awaited.client_request_id}, policy)


def as_found(grants: Iterable[Grant], policy: Policy | None) -> frozenset[Grant]:
    """Give grants with the system identity's GUID as ``system``, where the policy that came back tells whose it is."""
    same = {entry.object_id: entry.identity for entry in (policy.entries if policy else ())}
    return frozenset((same.get(ObjectId(identity), identity), usage) for identity, usage in grants)
