"""An audit: every rule over the facts of a cluster, with the plan that fixes each finding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kqlmi.errors import InputError, printable
from kqlmi.model.audit.findings import (
    SEVERITIES,
    Acceptance,
    Facts,
    Finding,
    Reason,
    Severity,
    without_duplicates,
)
from kqlmi.model.audit.rules import RULES
from kqlmi.model.entities import ALL, did_you_mean, known_usage
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import without_effect
from kqlmi.model.uses.needs import Source
from kqlmi.report import Rows


@dataclass(frozen=True)
class Audit:
    """What an audit found, by severity.

    ``accepted`` are findings that an acceptance takes out, ``expired`` the acceptances that count no more. ``plans`` are
    by the finding's ID, for those that a plan can fix. ``unread`` says what stood against each policy that was not read, ``why_not_assigned`` what stood against the assigned
    identities where they were asked for.
    """

    cluster: str
    findings: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...]
    expired: tuple[Acceptance, ...]
    plans: Mapping[str, PolicyPlan]
    unproven: tuple[Reason, ...]
    sources: tuple[Source, ...]
    unread: tuple[str, ...]
    knows_assigned: bool
    why_not_assigned: str = ""

    def worst(self, at_least: Severity) -> tuple[Finding, ...]:
        """Give the findings that are of a severity or above; those that were accepted do not count."""
        return tuple(one for one in self.findings if SEVERITIES.index(one.severity) <= SEVERITIES.index(at_least))

    def finding(self, prefix: str) -> Finding:
        """Give a finding by the beginning of its ID.

        Raises:
            InputError: There is none, or there are several.
        """
        known = (*self.findings, *(one for one, _ in self.accepted))
        found = [one for one in known if one.id.startswith(prefix.casefold())]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{prefix!r} begins the IDs of {len(found)} findings.", hint="Give more of it.")
        hint = did_you_mean(prefix, [one.id for one in known]) if known else "There are no findings."
        raise InputError(f"There is no finding {prefix!r} on {self.cluster} by now.", hint=hint)

    @property
    def rows(self) -> Rows:
        """Return a row for each finding, by severity.

        Columns: ``finding`` (its ID), ``severity``, ``rule``, ``scope``, ``object_id``, ``usage``, ``message``, ``evidence``
        (a list: each with its source and window), ``mended_by`` (the plan's summary, empty where there is none) and
        ``why_not``.
        """
        return Rows.of(
            self.findings,
            {
                "finding": lambda one: one.id,
                "severity": lambda one: one.severity,
                "rule": lambda one: one.rule,
                "scope": lambda one: str(one.scope),
                "object_id": lambda one: one.identity,
                "usage": lambda one: one.usage,
                "message": lambda one: one.message,
                "evidence": lambda one: list(map(str, one.evidence)),
                "mended_by": lambda one: self.plans[one.id].summary if one.id in self.plans else "",
                "why_not": lambda one: one.fix.why_not,
            },
        )

    def explain(self, finding: Finding) -> str:
        """Give a finding with its evidence, and why no plan mends it or what else to know, for people."""
        lines = [_line(finding), *(f"  evidence: {one}" for one in finding.evidence)]
        if finding.fix.why_not:
            lines.append(f"  no plan: {printable(finding.fix.why_not)}.")
        if finding.fix.note:
            lines.append(f"  note: {printable(finding.fix.note)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return "\n".join(_page(self))


def audit(facts: Facts) -> tuple[Finding, ...]:
    """Give the findings of every rule, by severity."""
    return without_duplicates(one for rule in RULES.values() for one in rule.check(facts))


def unproven(facts: Facts) -> Iterator[Reason]:
    """Yield the grants of which no use was seen, each with why that does not prove it unused."""
    for scope, identity, usage in facts.grants:
        if usage == ALL or not known_usage(usage) or without_effect(scope, usage):
            continue
        if not facts.discovery.uses(identity, usage, scope) and (why := facts.discovery.doubt(usage, scope)):
            yield Reason(scope, identity, usage, why)


def sorted_out(
    findings: Iterable[Finding], acceptances: Iterable[Acceptance], facts: Facts, today: str
) -> tuple[tuple[Finding, ...], tuple[tuple[Finding, Acceptance], ...], tuple[Acceptance, ...]]:
    """Give the findings that stand, those that are accepted, and the acceptances that expired before ``today``."""
    every = tuple(acceptances)
    current = [one for one in every if one.until >= today]
    known = facts.directory.identities
    open_, accepted = [], []
    for finding in findings:
        by = next((one for one in current if one.fits(finding, known)), None)
        if by:
            accepted.append((finding, by))
        else:
            open_.append(finding)
    return tuple(open_), tuple(accepted), tuple(one for one in every if one.until < today)


def _line(finding: Finding) -> str:
    return f"{finding.severity:6}  {finding.id}  {finding.rule}: {printable(finding.message)}"


def _together(sources: Iterable[Source]) -> Iterator[str]:
    """Give one line for the sources of a name that ended alike, whatever the database."""
    found: dict[Source, list[str]] = {}
    for one in sources:
        found.setdefault(replace(one, database=""), []).extend(filter(None, [one.database]))
    yield from (one.line(databases) for one, databases in found.items())


def _page(found: Audit) -> Iterator[str]:
    counts = ", ".join(f"{sum(one.severity == name for one in found.findings)} {name}" for name in SEVERITIES)
    yield f"Audit of {printable(found.cluster)}: {counts}."
    yield from (_line(one) for one in found.findings)
    for finding, by in found.accepted:
        yield f"accepted until {by.until}  {finding.id}  {finding.rule}: {printable(by.reason)}"
    for by in found.expired:
        yield f"No longer accepted since {by.until}: {by.rule} at the {printable(by.scope)} ({printable(by.reason)})."
    yield from (f"Not read: {printable(one)}" for one in found.unread)
    failed = [one for one in found.sources if one.outcome != "read"]
    yield f"Sources: {len(found.sources) - len(failed)} read in full; not so:" if failed else "All sources were read."
    yield from (f"  {one}" for one in _together(failed))
    if not found.knows_assigned:
        why = found.why_not_assigned or "Azure Resource Manager was not asked which identities are assigned."
        yield f"Not checked: orphans, because {printable(why)}"
    if found.unproven:
        yield f"Grants that were not seen in use, and are not proven unused: {len(found.unproven)}."
        reasons = dict.fromkeys((one.usage, one.why) for one in found.unproven)
        yield from (f"  {printable(usage)}: {printable(why)}" for usage, why in reasons)
