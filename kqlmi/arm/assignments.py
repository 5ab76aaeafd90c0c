"""The assignment of identities to a cluster."""

from collections.abc import Callable
from typing import Any

from kqlmi.arm import identities, operations
from kqlmi.arm.operations import Change, State, before_sending, run
from kqlmi.arm.resource import ClusterResource
from kqlmi.errors import ApplyError
from kqlmi.model.azure.assignment import NEEDS, AssignmentPlan


def apply(
    cluster: ClusterResource, plan: AssignmentPlan, *, deadline: float | None, tell: Callable[[str], None]
) -> None:
    """Apply exactly ``plan``, if the assigned identities have not changed since it was made.

    Raises:
        ApplyError: The plan was not applied. The error's ``outcome`` reports whether anything changed.
    """
    with before_sending():
        now = identities.read(cluster)
    if not now.block.same(plan.before):
        raise ApplyError(
            f"The identities assigned to {plan.cluster} were changed since plan {plan.short} was made, from {plan.before} to"
            f" {now.block}. Nothing was sent.",
            outcome="not applied",
            hint="Plan the change again.",
        )
    with cluster.kusto() as client:
        run(
            Change(
                plan.summary,
                NEEDS,
                lambda: _send(client, cluster, plan, now.etag),
                lambda: _look(cluster, plan),
                "%kqlmi identities",
                cluster.pause,
            ),
            deadline=deadline,
            tell=tell,
        )


def _send(client: Any, cluster: ClusterResource, plan: AssignmentPlan, etag: str) -> Any:
    from azure.core import MatchConditions

    # If another client changes the assignment after the read, the request is refused instead of reverting that change.
    only = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
    return client.clusters.begin_update(*cluster.place, plan.body, **only, **operations.ONCE)


def _look(cluster: ClusterResource, plan: AssignmentPlan) -> State:
    found = identities.read(cluster)
    if found.changes:
        return "changing"
    if found.block.same(plan.after, new_system=True):
        return "after"
    return "before" if found.block.same(plan.before) else "other"
