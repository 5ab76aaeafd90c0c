"""Audit and least privilege over a session's connection."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from kqlmi.cluster.policies import Policies
from kqlmi.errors import InputError
from kqlmi.fanout import Progress
from kqlmi.model.audit.accessmap import AccessMap
from kqlmi.model.audit.accessmap import access_map as access_map_of
from kqlmi.model.audit.audit import Audit, sorted_out, unproven
from kqlmi.model.audit.audit import audit as find
from kqlmi.model.audit.findings import Acceptance, Facts
from kqlmi.model.audit.tighten import Tightened
from kqlmi.model.audit.tighten import tighten as least
from kqlmi.model.entities import Identity
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.report import Report, to_page
from kqlmi.session.core import Core
from kqlmi.session.plans.policy_plans import make
from kqlmi.session.policies import read
from kqlmi.session.resource_manager import Azure, ask, discover

_NOTES: Final = 5
_PAGE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Tightening:
    """The plan for the smallest policies, and the reason why each grant is kept or revoked.

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
    """Return the findings about the policies, each with the plan that fixes it. See ``Session.audit``."""
    from kqlmi import policyfile

    acceptances = policyfile.read(document).accepted if document else ()
    day = (today or datetime.now(UTC).date()).isoformat()
    return _audit(core, _read(core, assigned, progress), acceptances, day)


def access_map(core: Core, *, assigned: Iterable[Identity] | None, progress: Progress) -> AccessMap:
    """Return the access map of every database; see ``Session.map``."""
    return _map(core, _read(core, assigned, progress))


def map_page(core: Core, *, assigned: Iterable[Identity] | None, progress: Progress) -> str:
    """Return the access map, the audit and the plan of ``tighten`` as a page; see ``Session.map_page``."""
    found, now = _read(core, assigned, progress), datetime.now(UTC)
    title = f"Managed identities on {core.name}, {now:%Y-%m-%d %H:%M} UTC"
    shown = _map(core, found).report()
    audited = _audit(core, found, (), now.date().isoformat()).report()
    if refused := found.reading.refused:
        planned = Report(
            "No plan", f"{len(refused)} policies were not read, and a plan to tighten requires every policy."
        )
    else:
        plan = _tighten(core, found, also_unproven=False).plan.report()
        planned = replace(plan, title=f"To keep only what is used: {plan.title}")
    return to_page(title, (replace(shown, title=f"{shown.title}, {now:%Y-%m-%d %H:%M} UTC"), audited, planned), _PAGE)


def _map(core: Core, found: "_Read") -> AccessMap:
    facts, refused = found.facts, found.reading.refused
    scopes = (*facts.policies.policies, *refused)
    notes = [f"Not read: the policy of the {scope}. {error}" for scope, error in [*refused.items()][:_NOTES]]
    if len(refused) > _NOTES:
        notes.append(f"Not read: the policies of {len(refused) - _NOTES:,} more databases.")
    if facts.assigned is None:
        why = found.azure.why or "Azure Resource Manager was not asked which identities are assigned."
        notes.append(f"Not checked: orphans, because {why}")
    return access_map_of(core.name, facts, [str(scope.name) for scope in scopes if not scope.is_cluster], notes)


def _audit(core: Core, found: "_Read", acceptances: Iterable[Acceptance], day: str) -> Audit:
    facts = found.facts
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
        tuple(f"the policy of the {scope}. {error}" for scope, error in found.reading.refused.items()),
        facts.assigned is not None,
        found.azure.why,
        {one.identity: facts.directory.name(one.identity) for one in every if one.identity},
    )


def tighten(
    core: Core,
    *,
    also_unproven: bool,
    assigned: Iterable[Identity] | None,
    progress: Progress,
) -> Tightening:
    """Return the plan for the smallest policies that keep every discovered use, with the reason for each grant."""
    found = _read(core, assigned, progress)
    for scope, error in found.reading.refused.items():
        raise InputError(
            f"Cannot read the policy of the {scope}: {error.message}", hint="Tightening requires every policy."
        ) from error
    return _tighten(core, found, also_unproven=also_unproven)


def _tighten(core: Core, found: "_Read", *, also_unproven: bool) -> Tightening:
    reasons = least(found.facts, also_unproven=also_unproven)
    plan = make(core, found.facts.policies, Snapshot(reasons.edits))
    return Tightening(plan, reasons, found.azure.why if found.facts.assigned is None else "")


@dataclass(frozen=True, slots=True)
class _Read:
    """The policies, and the facts from them, the discovered use and Azure Resource Manager, if it can be queried."""

    reading: Policies
    facts: Facts
    azure: Azure


def _read(core: Core, assigned: Iterable[Identity] | None, progress: Progress) -> _Read:
    reading = read(core, progress=progress)
    scopes = (*reading.snapshot.policies, *reading.refused)
    databases = tuple(str(scope.name) for scope in scopes if not scope.is_cluster)
    azure = ask(core, databases) if core.resource else Azure()
    discovery = discover(core, azure, progress=progress)
    facts = Facts.of(reading.snapshot, discovery, azure.identities if assigned is None else assigned)
    return _Read(reading, facts, azure)
