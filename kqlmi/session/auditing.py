"""Discovery, audit and least privilege over a session's connection: methods of ``Session``, which takes them over."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from kqlmi.cluster.policies import Policies
from kqlmi.errors import InputError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.audit.audit import Audit, sorted_out, unproven
from kqlmi.model.audit.audit import audit as find
from kqlmi.model.audit.findings import Edits, Facts
from kqlmi.model.audit.tighten import Tightened
from kqlmi.model.audit.tighten import tighten as least
from kqlmi.model.entities import Identity
from kqlmi.model.plan.plan import Plan, make_plan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session.azure import Azure, ask, discover

if TYPE_CHECKING:
    from kqlmi.session.session import Session


@dataclass(frozen=True, slots=True)
class Tightening:
    """The plan that leaves the smallest policies, and the reason of each grant that stays or goes.

    ``why_not_assigned`` says what stood against the assigned identities, where they were asked for.
    """

    plan: Plan
    reasons: Tightened
    why_not_assigned: str = ""


def audit(
    session: "Session",
    document: str | bytes = "",
    *,
    assigned: Iterable[Identity] | None = None,
    today: date | None = None,
    progress: Progress = unseen,
) -> Audit:
    """Give what is wrong with the policies, or wider than it need be, with evidence and the plan that mends it.

    Args:
        session: The session.
        document: A policy file, whose accepted findings do not count before their end.
        assigned: The identities that are assigned to the cluster; by default Azure Resource Manager is asked, where the
            session knows the cluster's resource ID. Without them orphans are not looked for.
        today: The day on which acceptances are judged, in UTC; the present one by default.
        progress: Called with how much was read, of how much, and what it is.

    Raises:
        PolicyFileError: The file is wrong; the error names the line.
    """
    from kqlmi import policyfile

    acceptances = policyfile.read(document).accepted if document else ()
    day = (today or datetime.now(UTC).date()).isoformat()
    reading = session.read(progress=progress)
    azure = _asked(session, reading)
    listed = azure.identities if assigned is None else assigned
    facts = Facts.of(reading.snapshot, discover(session, azure, progress=progress), listed)
    findings, accepted, expired = sorted_out(find(facts), acceptances, facts, day)
    every = (*findings, *(one for one, _ in accepted))
    return Audit(
        session.name,
        findings,
        accepted,
        expired,
        {one.id: _plan(session, facts.policies, one.mend.edits) for one in every if one.mend.edits is not None},
        tuple(unproven(facts)),
        facts.discovery.sources,
        tuple(f"the policy of the {scope}. {error}" for scope, error in reading.refused.items()),
        facts.assigned is not None,
        azure.why,
    )


def tighten(
    session: "Session",
    *,
    also_unproven: bool = False,
    assigned: Iterable[Identity] | None = None,
    progress: Progress = unseen,
) -> Tightening:
    """Give the plan for the smallest policies that keep all discovered use, with the reason of each grant.

    Args:
        session: The session.
        also_unproven: Take away what was not seen in use too, though that does not prove it unused.
        assigned: As for ``audit``; the objects of identities that are not assigned go.
        progress: As for ``audit``.

    Raises:
        InputError: A policy may not be read, so that nothing can be said of the others.
    """
    reading = session.read(progress=progress)
    for scope, error in reading.refused.items():
        raise InputError(
            f"The policy of the {scope} cannot be read: {error.message}", hint="All are needed to tighten any."
        ) from error
    azure = _asked(session, reading)
    listed = azure.identities if assigned is None else assigned
    facts = Facts.of(reading.snapshot, discover(session, azure, progress=progress), listed)
    reasons = least(facts, also_unproven=also_unproven)
    why = azure.why if listed is None else ""
    return Tightening(_plan(session, facts.policies, reasons.edits), reasons, why)


def _asked(session: "Session", reading: Policies) -> Azure:
    """Ask Azure Resource Manager, where the session knows the cluster's resource ID."""
    scopes = (*reading.snapshot.policies, *reading.refused)
    databases = tuple(str(scope.name) for scope in scopes if not scope.is_cluster)
    return ask(session, databases) if session.resource else Azure()


def _plan(session: "Session", current: Snapshot, edits: Edits) -> Plan:
    return make_plan(current, Snapshot(edits), cluster=session.name, names=session.met.identities)
