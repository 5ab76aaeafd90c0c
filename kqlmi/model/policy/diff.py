"""The difference between two snapshots, one change for each grant."""

from dataclasses import dataclass
from typing import Literal

from kqlmi.model.entities import Scope
from kqlmi.model.policy.access import Effect, effect
from kqlmi.model.policy.policy import Snapshot


@dataclass(frozen=True, slots=True)
class Change:
    """One grant that comes or goes; ``effect`` tells what that changes beside all other grants."""

    kind: Literal["grant", "revoke"]
    scope: Scope
    identity: str
    usage: str
    effect: Effect


def diff(current: Snapshot, desired: Snapshot) -> tuple[Change, ...]:
    """Give the changes that lead from ``current`` to ``desired``, in the order of scope, identity and usage."""
    changes: list[Change] = []
    for scope, policy in desired.policies.items():
        if current.policies.get(scope) is policy:
            continue
        before, after = current.grants(scope), desired.grants(scope)
        for identity, usage in sorted(before ^ after):
            kind: Literal["grant", "revoke"] = "grant" if (identity, usage) in after else "revoke"
            changes.append(Change(kind, scope, identity, usage, effect(desired, scope, identity, usage)))
    return tuple(changes)
