"""The difference between two snapshots, as one change for each grant, and between two policies, as one line."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kqlmi.errors import printable
from kqlmi.model.entities import Scope
from kqlmi.model.policy.access import Effect, effect
from kqlmi.model.policy.policy import Grant, Policy, Property, Snapshot, state_of


@dataclass(frozen=True, slots=True)
class Change:
    """One grant to add or remove; ``effect`` is what it adds to all other grants."""

    kind: Literal["grant", "revoke"]
    scope: Scope
    identity: str
    usage: str
    effect: Effect


def diff(current: Snapshot, desired: Snapshot) -> tuple[Change, ...]:
    """Return the changes that lead from ``current`` to ``desired``, ordered by scope, identity and usage."""
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
    """Return on one line what a policy has gained and lost: grants, unknown properties and identities."""
    (grants, properties, identities), (were, had, holders) = state_of(found), state_of(expected)
    # The other identities were added or removed without a grant.
    named = {who for who, _ in grants ^ were} | {who for who, _, _ in properties ^ had}
    changed = sorted((identities ^ holders) - named)
    others = [f"{'+' if who in identities else '-'} {who} without a usage" for who in changed]
    return ", ".join([*signed(grants - were, were - grants), *signed(properties - had, had - properties), *others])


def signed(added: Iterable[Grant | Property], removed: Iterable[Grant | Property]) -> list[str]:
    """Return added and removed grants or properties, each with its sign."""
    return [
        f"{sign} {who} {'property ' if value else ''}{printable(name)}"
        for sign, items in (("+", added), ("-", removed))
        for who, name, *value in sorted(items)
    ]
