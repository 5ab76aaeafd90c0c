"""An audit: every rule over the facts of a cluster, with the plan that fixes each finding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kqlmi.errors import InputError
from kqlmi.model.audit.findings import SEVERITIES, Acceptance, Facts, Finding, Reason, Severity, without_duplicates
from kqlmi.model.audit.rules import RULES
from kqlmi.model.entities import ALL, did_you_mean, known_usage
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import without_effect
from kqlmi.model.uses.needs import Source
from kqlmi.report import Block, Code, Described, Line, Report, Rows, Section, to_text


@dataclass(frozen=True)
class Audit(Described):
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
        """Return a finding by the beginning of its ID; InputError if there is none, or several."""
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
        """Return a finding with its evidence, and why no plan fixes it or what else to know, for people."""
        return to_text(
            Report("", blocks=(Section(_line(finding), tuple(_details(finding)), folded=True),)), unfold=True
        )

    def report(self) -> Report:
        """Return the findings, each with its evidence and the commands that fix it in a fold, and what was not seen."""
        counts = ", ".join(f"{sum(one.severity == name for one in self.findings)} {name}" for name in SEVERITIES)
        return Report(f"Audit of {self.cluster}", f"{counts}.", tuple(self._blocks()))

    def _blocks(self) -> Iterator[Block]:
        for one in self.findings:
            commands = (Code(step.command) for step in (self.plans[one.id].steps if one.id in self.plans else ()))
            yield Section(_line(one), (*_details(one), *commands), folded=True)
        for finding, by in self.accepted:
            yield Line(f"accepted until {by.until}  {finding.id}  {finding.rule}: {by.reason}")
        for by in self.expired:
            yield Line(f"No longer accepted since {by.until}: {by.rule} at the {by.scope} ({by.reason}).")
        yield from (Line(f"Not read: {one}") for one in self.unread)
        if not self.knows_assigned:
            why = self.why_not_assigned or "Azure Resource Manager was not asked which identities are assigned."
            yield Line(f"Not checked: orphans, because {why}")
        if failed := [one for one in self.sources if one.outcome != "read"]:
            title = f"Sources: {len(self.sources) - len(failed)} read in full; not so"
            yield Section(title, tuple(map(Line, _together(failed))))
        else:
            yield Line("All sources were read.")
        if self.unproven:
            reasons = dict.fromkeys(f"{one.usage}: {one.why}" for one in self.unproven)
            title = f"Grants that were not seen in use, and are not proven unused: {len(self.unproven)}."
            yield Section(title, tuple(map(Line, reasons)))


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
    found = [(one, next((by for by in current if by.fits(one, known)), None)) for one in findings]
    return (
        tuple(one for one, by in found if by is None),
        tuple((one, by) for one, by in found if by),
        tuple(one for one in every if one.until < today),
    )


def _line(finding: Finding) -> str:
    return f"{finding.severity:6}  {finding.id}  {finding.rule}: {finding.message}"


def _details(finding: Finding) -> Iterator[Line]:
    yield from (Line(f"evidence: {one}") for one in finding.evidence)
    if finding.fix.why_not:
        yield Line(f"no plan: {finding.fix.why_not}.")
    if finding.fix.note:
        yield Line(f"note: {finding.fix.note}")


def _together(sources: Iterable[Source]) -> Iterator[str]:
    """Give one line for the sources of a name that ended alike, whatever the database."""
    found: dict[Source, list[str]] = {}
    for one in sources:
        found.setdefault(replace(one, database=""), []).extend(filter(None, [one.database]))
    yield from (one.line(databases) for one, databases in found.items())
