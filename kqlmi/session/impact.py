"""What a session can see of a plan at the moment: what it would stop, and who is not assigned; methods of ``Session``."""

from typing import TYPE_CHECKING

from kqlmi.cluster.discovery import discovery
from kqlmi.errors import KqlmiError
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import USAGE
from kqlmi.model.entities import ALL, usage_name
from kqlmi.model.explain.explanation import left_over
from kqlmi.model.plan.impact import Impact
from kqlmi.model.plan.impact import impact as compare
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.planfile import Live, to_warning
from kqlmi.model.policy.policy import Snapshot

if TYPE_CHECKING:
    from kqlmi.session.session import Session


def impact(session: "Session", plan: Plan, known: Snapshot | None = None) -> Impact:
    """Return the discovered uses that a plan would stop; what cannot be read is named, and never fails the plan.

    ``known`` are all policies, where they were read just now.
    """
    if not plan.revokes:
        return Impact()
    try:
        current = session.read().permitted if known is None else known
        # Only where data connections may stop is it worth to ask Azure too.
        streams = any(usage_name(one.usage) in {USAGE, ALL} for one in plan.changes if one.kind == "revoke")
        found = session.discover() if streams else discovery.discover(session.connection)
        return compare(plan, current, Facts.of(current, found).discovery)
    except KqlmiError as error:
        return Impact(unknown=(f"what would stop, because {error.message}",))


def live(session: "Session", plan: Plan, known: Snapshot | None = None, *, warn: bool = True) -> Live:
    """Return what a plan would stop where it takes something away; ``warn`` of identities that are not assigned.

    ``known`` is as for ``impact``.
    """
    orphans = session.not_assigned(plan) if warn else ()
    warnings = (to_warning(orphans, "Azure Resource Manager"),) if orphans else ()
    return Live((*warnings, *left_over(plan, session.name)), impact(session, plan, known) if plan.revokes else None)
