"""The difference between two snapshots, one change for each grant, and between two policies, on a line."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kqlmi.errors import printable
from kqlmi.model.entities import Scope
from kqlmi.model.policy.access import Effect, effect
from kqlmi.model.policy.policy import Grant, Policy, Property, Snapshot, state_of


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


def difference(expected: Policy | None, found: Policy | None) -> str:
    """Return on one line what a policy holds more and less than another: grants, unknown properties and identities."""
    (grants, properties, identities), (were, had, holders) = state_of(found), state_of(expected)
    # An identity that comes or goes without a grant.
    named = {who for who, _ in grants ^ were} | {who for who, _, _ in properties ^ had}
    changed = sorted((identities ^ holders) - named)
    others = [f"{'+' if who in identities else '-'} {who} without a usage" for who in changed]
    return ", ".join([*signed(grants - were, were - grants), *signed(properties - had, had - properties), *others])


def signed(come: Iterable[Grant | Property], gone: Iterable[Grant | Property]) -> list[str]:
    """Return grants or properties that come and go, each with its sign."""
    return [
        f"{sign} {who} {'property ' if value else ''}{printable(name)}"
        for sign, items in (("+", come), ("-", gone))
        for who, name, *value in sorted(items)
    ]
