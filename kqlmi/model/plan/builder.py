"""The builder of plans over policies, which picks the least forceful command for each scope that differs."""

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

    Grants alone use ``.alter-merge`` with only the new ones; a revoke, or an unknown property that differs, uses
    ``.alter`` with the whole policy; removing the policy uses ``.delete``. If several scopes change, all grants run first,
    as ``.alter-merge``, so that no grant is missing in between. ``exactly`` creates a desired empty policy even if the
    scope has none, although both grant the same. ``names`` adds to the display names in ``current``.
    """
    changing = [
        scope for scope, after in desired.policies.items() if _differs(current.policies[scope], after, exactly=exactly)
    ]
    changes = diff(current, desired)
    steps = [
        step
        for scope in changing
        for step in _steps(
            scope,
            current.policies[scope],
            desired.policies[scope],
            tuple(change for change in changes if change.scope == scope),
            apart=len(changing) > 1,
        )
    ]
    steps.sort(key=lambda step: step.verb != "alter-merge")
    kept = sum(len(current.grants(scope) & desired.grants(scope)) for scope in changing)
    described = {identity: one.display_name for identity, one in current.identities.items() if one.display_name}
    return PolicyPlan(cluster, tuple(steps), kept, undoes, {**names, **described}, _covering(desired, steps))


def _differs(before: Policy | None, after: Policy | None, *, exactly: bool) -> bool:
    """Check whether a command is needed to change one policy into another."""
    if before is after:  # true of most databases in a panel
        return False
    if before is None or after is None:
        return bool(after is None or exactly or after.grants)
    return (before.grants, before.properties) != (after.grants, after.properties)


def _covering(desired: Snapshot, steps: Iterable[Step]) -> tuple[Grant, ...]:
    """Return the grants of the cluster's policy that make changes of ``steps`` redundant; none if a step changes that policy."""
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
    """Yield the steps of one scope; ``apart`` puts its grants first, in a separate command."""
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
    # Taken from the merged policy, so that the command does not depend on how the desired one was written.
    added = _only(merged, new, found)
    return Step(scope, "alter-merge", commands.alter_merge(scope, added), before, merged, grants)


def _only(policy: Policy, grants: set[Grant], before: Policy) -> Policy:
    """Return the part of a policy that makes ``grants``, with the unknown properties of new objects."""
    entries = (
        Entry(
            entry.object_id,
            kept,
            is_system=entry.is_system,
            # An existing object may have changed since it was read; that change must not be reverted.
            extra=() if entry.identity in before.holdings else entry.extra,
            is_earlier=entry.is_earlier,
        )
        for entry in policy.entries
        if (kept := tuple(usage for usage in entry.usages if (entry.identity, usage_name(usage)) in grants))
    )
    return Policy(tuple(entries))
