"""Audit and least privilege over a session's connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from kqlmi.cluster.policies import Policies
from kqlmi.errors import InputError
from kqlmi.fanout import Progress
from kqlmi.model.audit.audit import Audit, sorted_out, unproven
from kqlmi.model.audit.audit import audit as find
from kqlmi.model.audit.findings import Facts
from kqlmi.model.audit.tighten import Tightened
from kqlmi.model.audit.tighten import tighten as least
from kqlmi.model.entities import Identity
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session.core import Core
from kqlmi.session.plans.policy_plans import make
from kqlmi.session.policies import read
from kqlmi.session.resource_manager import Azure, ask, discover


@dataclass(frozen=True, slots=True)
class Tightening:
    """The plan for the smallest policies, and the reason why each grant stays or goes.

    ``why_not_assigned`` is the error if the assigned identities could not be read.
    """

    plan: PolicyPlan
    reasons: Tightened
    why_not_assigned: str = ""


def audit(
    core: Core,
    document: str | bytes,
    *,
    assigned: Iterable[Identity] | None,
    today: date | None,
    progress: Progress,
) -> Audit:
    """Return the findings about the policies, each with the plan that fixes it; see ``Session.audit``."""
    from kqlmi import policyfile

    acceptances = policyfile.read(document).accepted if document else ()
    day = (today or datetime.now(UTC).date()).isoformat()
    reading = read(core, progress=progress)
    facts, azure = _facts(core, reading, assigned, progress)
    findings, accepted, expired = sorted_out(find(facts), acceptances, facts, day)
    every = (*findings, *(one for one, _ in accepted))
    return Audit(
        core.name,
        findings,
        accepted,
        expired,
        {one.id: make(core, facts.policies, Snapshot(one.fix.edits)) for one in every if one.fix.edits is not None},
        tuple(unproven(facts)),
        facts.discovery.sources,
        tuple(f"the policy of the {scope}. {error}" for scope, error in reading.refused.items()),
        facts.assigned is not None,
        azure.why,
    )


def tighten(
    core: Core,
    *,
    also_unproven: bool,
    assigned: Iterable[Identity] | None,
    progress: Progress,
) -> Tightening:
    """Plan the smallest policies that keep every discovered use, with the reason for each grant."""
    reading = read(core, progress=progress)
    for scope, error in reading.refused.items():
        raise InputError(
            f"The policy of the {scope} cannot be read: {error.message}", hint="Tightening requires every policy."
        ) from error
    facts, azure = _facts(core, reading, assigned, progress)
    reasons = least(facts, also_unproven=also_unproven)
    plan = make(core, facts.policies, Snapshot(reasons.edits))
    return Tightening(plan, reasons, azure.why if facts.assigned is None else "")


def _facts(
    core: Core, reading: Policies, assigned: Iterable[Identity] | None, progress: Progress
) -> tuple[Facts, Azure]:
    """Return the facts for an audit, and those from Azure Resource Manager, if it can be asked."""
    scopes = (*reading.snapshot.policies, *reading.refused)
    databases = tuple(str(scope.name) for scope in scopes if not scope.is_cluster)
    azure = ask(core, databases) if core.resource else Azure()
    discovery = discover(core, azure, progress=progress)
    return Facts.of(reading.snapshot, discovery, azure.identities if assigned is None else assigned), azure
