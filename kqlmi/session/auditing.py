"""Discovery, audit and least privilege over a session's connection: methods of ``Session``, which takes them over."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from kqlmi.cluster import discovery
from kqlmi.cluster.fanout import Progress, unseen
from kqlmi.errors import InputError
from kqlmi.model.audit import Audit, sorted_out, unproven
from kqlmi.model.audit import audit as find
from kqlmi.model.entities import Identity
from kqlmi.model.findings import Edits, Facts
from kqlmi.model.needs import Discovery
from kqlmi.model.plan import Plan, make_plan
from kqlmi.model.policy import Snapshot
from kqlmi.model.tighten import Tightened
from kqlmi.model.tighten import tighten as least

if TYPE_CHECKING:
    from kqlmi.session.session import Session


@dataclass(frozen=True, slots=True)
class Tightening:
    """The plan that leaves the smallest policies, and the reason of each grant that stays or goes."""

    plan: Plan
    reasons: Tightened


def discover(session: "Session", *, progress: Progress = unseen) -> Discovery:
    """Give where identities are really used, as far as the caller may see it, each source with its outcome and window.

    Raises:
        KqlmiError: The databases cannot be listed.
    """
    return discovery.discover(session.connection, progress)


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
        assigned: The identities that are assigned to the cluster, as Azure Resource Manager lists them; without them
            orphans are not looked for.
        today: The day on which acceptances are judged, in UTC; the present one by default.
        progress: Called with how much was read, of how much, and what it is.

    Raises:
        PolicyFileError: The file is wrong; the error names the line.
    """
    from kqlmi import policyfile

    acceptances = policyfile.read(document).accepted if document else ()
    day = (today or datetime.now(UTC).date()).isoformat()
    reading = session.read(progress=progress)
    facts = Facts.of(reading.snapshot, discover(session, progress=progress), assigned)
    findings, accepted, expired = sorted_out(find(facts), acceptances, facts, day)
    every = (*findings, *(one for one, _ in accepted))
    return Audit(
        session.name,
        findings,
        accepted,
        expired,
        {one.id: _plan(session, reading.snapshot, one.mend.edits) for one in every if one.mend.edits is not None},
        tuple(unproven(facts)),
        facts.discovery.sources,
        tuple(f"the policy of the {scope}. {error}" for scope, error in reading.refused.items()),
        facts.assigned is not None,
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
    reasons = least(
        Facts.of(reading.snapshot, discover(session, progress=progress), assigned), also_unproven=also_unproven
    )
    return Tightening(_plan(session, reading.snapshot, reasons.edits), reasons)


def _plan(session: "Session", current: Snapshot, edits: Edits) -> Plan:
    return make_plan(current, Snapshot(edits), cluster=session.name, names=session.met.identities)
