"""Edits of a whole snapshot: each gives the policies that are wanted, for the scopes that it changes."""

from collections.abc import Iterable

from kqlmi.errors import InputError
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Policy, Snapshot


def grant(current: Snapshot, identity: str, usages: Iterable[str]) -> Snapshot:
    """Grant usages to an identity in every scope of ``current``; a usage that any of its policies holds is known."""
    wanted = tuple(usages)
    return Snapshot(
        {
            scope: (policy or Policy.empty()).grant(identity, *wanted, also=current.usages)
            for scope, policy in current.policies.items()
        }
    )


def revoke(current: Snapshot, identity: str, usages: Iterable[str]) -> Snapshot:
    """Take usages from an identity in every scope of ``current`` that has a policy."""
    gone = tuple(usages)
    return Snapshot(
        {
            scope: policy.revoke(identity, *gone, also=current.usages)
            for scope, policy in current.policies.items()
            if policy
        }
    )


def replace(current: Snapshot, identity: str, by: str) -> Snapshot:
    """Move every grant of one identity to another, in the scopes where it has any; InputError if it has none."""
    desired = {
        scope: policy.grant(by, *usages, also=usages).revoke(identity, *usages)
        for scope, policy in current.policies.items()
        if policy and (usages := sorted(policy.usages(identity)))
    }
    if not desired:
        raise InputError(f"No policy that was read grants anything to {identity}.")
    return Snapshot(desired)


def keeping(current: Snapshot, desired: Snapshot) -> Snapshot:
    """Return ``desired`` with the properties that nobody knows and that it would drop from identities that it keeps."""

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
    """Leave identities out of what a plan sends, for those that are no longer assigned to the cluster.

    Where a step replaces a policy their objects go, with all that they grant; where it merges they stay as they are.
    """
    gone = set(identities)

    def rest(policy: Policy) -> Policy:
        return Policy(tuple(entry for entry in policy.entries if not gone & {entry.identity, entry.object_id}))

    result = Snapshot()
    for step in plan.steps:
        after = step.after and rest(step.after)
        if step.verb == "alter-merge" and after is not None and step.before:
            # What is merged never takes away, so the objects of before stay.
            after = step.before.merge(after)
        result = result.with_policy(step.scope, after)
    return result


def after(current: Snapshot, plan: PolicyPlan) -> Snapshot:
    """Give the policies as a plan leaves them."""
    return Snapshot({**current.policies, **{step.scope: step.after for step in plan.steps}})


def still_allowed(
    current: Snapshot, plan: PolicyPlan, identity: str, usages: Iterable[str], databases: Iterable[str]
) -> tuple[str, ...]:
    """Tell which usages an identity keeps in some databases after a plan, and by which other grant."""
    left, names = after(current, plan), tuple(usages)
    return tuple(
        f"{usage} in the {scope}, because {answer.reason}."
        for scope in map(Scope.database, databases)
        for usage in names
        if (answer := access(left, identity, usage, scope)).allowed
    )


def named_in(plan: PolicyPlan, refusal: str) -> tuple[str, ...]:
    """Give the identities of a plan whose object IDs stand in a refusal of the cluster.

    The service's words for an identity that is not assigned are not published, so its object ID is all the evidence.
    """
    ids = (entry.object_id for step in plan.steps if step.after for entry in step.after.entries)
    return tuple(dict.fromkeys(one for one in ids if one != SYSTEM and one in refusal.lower()))
