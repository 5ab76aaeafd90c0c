"""The current effects of a plan: the uses that it would stop, and its identities that are not assigned."""

from dataclasses import replace
from functools import singledispatch

from kqlmi.cluster.discovery import discovery
from kqlmi.errors import KqlmiError
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.azure.dataconnections import USAGE
from kqlmi.model.entities import ALL, usage_name
from kqlmi.model.explain.explanation import left_over
from kqlmi.model.plan.impact import Impact, unassigning
from kqlmi.model.plan.impact import impact as compare
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.planfile import Live, to_warning
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session.core import Core
from kqlmi.session.policies import read
from kqlmi.session.resource_manager import discover, not_assigned, resource_of


def impact(core: Core, plan: Plan, known: Snapshot | None) -> Impact:
    """Return the discovered uses that a plan would stop. A source that cannot be read is listed instead of raising."""
    if not plan.revokes:
        return Impact()
    try:
        return _impact(plan, core, known)
    except KqlmiError as error:
        return Impact(unknown=(f"what would stop, because {error.message}",))


@singledispatch
def _impact(plan: Plan, core: Core, known: Snapshot | None) -> Impact:
    raise NotImplementedError(f"{type(plan).__name__} on {core.name}, {known}")


@_impact.register
def _policies(plan: PolicyPlan, core: Core, known: Snapshot | None) -> Impact:
    current = read(core).permitted if known is None else known
    # Query Azure only if the plan may stop data connections.
    streams = any(usage_name(one.usage) in {USAGE, ALL} for one in plan.changes if one.kind == "revoke")
    found = discover(core) if streams else discovery.discover(core.connection)
    return compare(plan, current, Facts.of(current, found).discovery)


@_impact.register
def _assignment(plan: AssignmentPlan, core: Core, _known: Snapshot | None) -> Impact:
    from kqlmi.arm import identities

    reading, assigned = read(core), identities.read(resource_of(core)).identities
    facts = Facts.of(reading.snapshot, discover(core), assigned)
    found = unassigning(str(plan.identity.object_id), plan.who, facts.live, facts.discovery)
    refused = (
        f"whether the policy of the {scope} names {plan.who}, because {error.message}"
        for scope, error in reading.refused.items()
    )
    return replace(found, unknown=(*found.unknown, *refused))


def live(core: Core, plan: Plan, known: Snapshot | None, *, warn: bool) -> Live:
    """Return the uses that a plan would stop, and a warning about its identities that are not assigned."""
    warnings: tuple[str, ...] = ()
    if isinstance(plan, PolicyPlan):
        orphans = not_assigned(core, plan) if warn else ()
        warnings = (*([to_warning(orphans, "Azure Resource Manager")] if orphans else []), *left_over(plan, core.name))
    return Live(warnings, impact(core, plan, known) if plan.revokes else None)
