"""Edits of a whole snapshot, each of which returns the desired policies of the scopes that it changes."""

from collections.abc import Iterable

from kqlmi.errors import InputError
from kqlmi.model.entities import SYSTEM, Scope, by_place
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Policy, Snapshot

_EACH = "the policy of each"


def grant(current: Snapshot, identity: str, usages: Iterable[str]) -> Snapshot:
    """Grant usages to an identity in every scope of ``current``; usages that its policies already contain are known."""
    wanted = tuple(usages)
    return Snapshot(
        {
            scope: (policy or Policy.empty()).grant(identity, *wanted, also=current.usages)
            for scope, policy in current.policies.items()
        }
    )


def revoke(current: Snapshot, identity: str, usages: Iterable[str]) -> Snapshot:
    """Revoke usages from an identity in every scope of ``current`` that has a policy."""
    gone = tuple(usages)
    return Snapshot(
        {
            scope: policy.revoke(identity, *gone, also=current.usages)
            for scope, policy in current.policies.items()
            if policy
        }
    )


def replace(current: Snapshot, identity: str, by: str) -> Snapshot:
    """Move every grant of one identity to another, in the scopes that have any; InputError if none has."""
    desired = {
        scope: policy.grant(by, *usages, also=usages).revoke(identity, *usages)
        for scope, policy in current.policies.items()
        if policy and (usages := sorted(policy.usages(identity)))
    }
    if not desired:
        raise InputError(f"No policy that was read grants anything to {identity}.")
    return Snapshot(desired)


def keeping(current: Snapshot, desired: Snapshot) -> Snapshot:
    """Return ``desired`` with the unknown properties that it would otherwise drop from identities that it keeps."""

    def kept(before: Policy, after: Policy) -> Policy:
        named = {(identity, name) for identity, name, _ in after.properties}
        return after.having(one for one in before.properties if one[:2] not in named)

    return Snapshot(
        {
            scope: kept(before, after) if after and (before := current.policies[scope]) else after
            for scope, after in desired.policies.items()
        }
    )


def without(plan: PolicyPlan, identities: Iterable[str]) -> Snapshot:
    """Return the policies of a plan without some identities, such as those that are no longer assigned to the cluster.

    If a step replaces a policy, their objects are removed with all their grants; if it merges, they stay unchanged.
    """
    gone = set(identities)

    def rest(policy: Policy) -> Policy:
        return Policy(tuple(entry for entry in policy.entries if not gone & {entry.identity, entry.object_id}))

    result = Snapshot()
    for step in plan.steps:
        after = step.after and rest(step.after)
        if step.verb == "alter-merge" and after is not None and step.before:
            # A merge removes nothing, so the existing objects stay.
            after = step.before.merge(after)
        result = result.with_policy(step.scope, after)
    return result


def after(current: Snapshot, plan: PolicyPlan) -> Snapshot:
    """Return the policies after a plan is applied."""
    return Snapshot({**current.policies, **{step.scope: step.after for step in plan.steps}})


def still_allowed(
    current: Snapshot, plan: PolicyPlan, identity: str, usages: Iterable[str], databases: Iterable[str]
) -> tuple[str, ...]:
    """Return a line for each usage that an identity keeps in databases after a plan, with the grant that allows it."""
    left, names = after(current, plan), tuple(usages)
    kept = (
        ((usage, answer.reason.replace(f"the policy of the {scope}", _EACH)), scope)
        for scope in map(Scope.database, databases)
        for usage in names
        if (answer := access(left, identity, usage, scope)).allowed
    )
    return tuple(
        f"{usage} in {place}, because {why if every else why.replace(_EACH, f'the policy of {place}')}{every}."
        for (usage, why), place, every in by_place(kept)
    )


def named_in(plan: PolicyPlan, refusal: str) -> tuple[str, ...]:
    """Return the identities of a plan whose object IDs occur in a refusal of the cluster.

    The service's error for an identity that is not assigned is not published, so the object ID is the only evidence.
    """
    ids = (entry.object_id for step in plan.steps if step.after for entry in step.after.entries)
    return tuple(dict.fromkeys(one for one in ids if one != SYSTEM and one in refusal.lower()))
