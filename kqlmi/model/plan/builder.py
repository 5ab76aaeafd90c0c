"""How a plan over policies is made: with the least forceful command for each scope that differs."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from kqlmi.model.entities import Scope, usage_name
from kqlmi.model.plan.policy_plan import PolicyPlan, Step
from kqlmi.model.policy import commands
from kqlmi.model.policy.access import covered_by
from kqlmi.model.policy.diff import Change, diff
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Grant, Policy, Snapshot


def make_plan(
    current: Snapshot,
    desired: Snapshot,
    *,
    cluster: str = "",
    exactly: bool = False,
    undoes: str = "",
    names: Mapping[str, str] = MappingProxyType({}),
) -> PolicyPlan:
    """Return the plan with the least forceful command for each scope of ``desired`` that differs.

    Only grants: ``.alter-merge`` with just those. A revoke, or an unknown property that differs: ``.alter`` with all that
    remains. No policy wanted: ``.delete``. Over several scopes all grants go first, as ``.alter-merge``, so that nothing
    is missing in between. ``exactly`` makes an empty policy where there is none and one is wanted, though both grant the
    same. ``names`` adds to the display names that ``current`` knows.
    """
    moving = [
        scope for scope, after in desired.policies.items() if _moves(current.policies[scope], after, exactly=exactly)
    ]
    changes = diff(current, desired)
    steps = [
        step
        for scope in moving
        for step in _steps(
            scope,
            current.policies[scope],
            desired.policies[scope],
            tuple(change for change in changes if change.scope == scope),
            apart=len(moving) > 1,
        )
    ]
    steps.sort(key=lambda step: step.verb != "alter-merge")
    kept = sum(len(current.grants(scope) & desired.grants(scope)) for scope in moving)
    described = {identity: one.display_name for identity, one in current.identities.items() if one.display_name}
    return PolicyPlan(cluster, tuple(steps), kept, undoes, {**names, **described}, _covering(desired, steps))


def _moves(before: Policy | None, after: Policy | None, *, exactly: bool) -> bool:
    """Check whether a command leads from one policy to another that is not the same."""
    if before is after:  # as in most databases of a panel
        return False
    if before is None or after is None:
        return bool(after is None or exactly or after.grants)
    return (before.grants, before.properties) != (after.grants, after.properties)


def _covering(desired: Snapshot, steps: Iterable[Step]) -> tuple[Grant, ...]:
    """Return the grants of the cluster's policy that make changes of ``steps`` redundant, unless a step changes it."""
    if any(step.scope.is_cluster for step in steps):
        return ()
    changes = (change for step in steps for change in step.changes if change.effect == "redundant")
    found = {
        (change.identity, usage)
        for change in changes
        for where, usage in covered_by(desired, change.scope, change.identity, change.usage)
        if where.is_cluster
    }
    return tuple(sorted(found))


def _steps(
    scope: Scope, before: Policy | None, after: Policy | None, changes: tuple[Change, ...], *, apart: bool
) -> Iterator[Step]:
    """Yield the steps of one scope; ``apart`` has its grants go before the rest, in a command of their own."""
    if after is None:
        yield Step(scope, "delete", commands.delete(scope), before, None, changes)
        return
    grants = tuple(change for change in changes if change.kind == "grant")
    merge = _merge(scope, before, after, grants)
    if grants and merge.after and (merge.after.grants, merge.after.properties) == (after.grants, after.properties):
        yield merge
    elif grants and apart:
        rest = tuple(change for change in changes if change.kind == "revoke")
        yield merge
        yield Step(scope, "alter", commands.alter(scope, after), merge.after, after, rest)
    else:
        yield Step(scope, "alter", commands.alter(scope, after), before, after, changes)


def _merge(scope: Scope, before: Policy | None, after: Policy, grants: tuple[Change, ...]) -> Step:
    found, new = before or Policy.empty(), {(change.identity, change.usage) for change in grants}
    merged = found.merge(_only(after, new, found))
    # Of what it leads to, so that the same policies give the same command, however the wanted one was written.
    added = _only(merged, new, found)
    return Step(scope, "alter-merge", commands.alter_merge(scope, added), before, merged, grants)


def _only(policy: Policy, grants: set[Grant], before: Policy) -> Policy:
    """Return the part of a policy that grants ``grants``, with the properties of objects that are new."""
    entries = (
        Entry(
            entry.object_id,
            kept,
            is_system=entry.is_system,
            # What others wrote into an object that is there meanwhile must not be reverted.
            extra=() if entry.identity in before.holdings else entry.extra,
            is_earlier=entry.is_earlier,
        )
        for entry in policy.entries
        if (kept := tuple(usage for usage in entry.usages if (entry.identity, usage_name(usage)) in grants))
    )
    return Policy(tuple(entries))
