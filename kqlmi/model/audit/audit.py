"""An audit: the findings of every rule on a cluster, with the plan that fixes each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from kqlmi.errors import InputError
from kqlmi.model.audit.findings import SEVERITIES, Acceptance, Facts, Finding, Reason, Severity, without_duplicates
from kqlmi.model.audit.rules import RULES
from kqlmi.model.catalogue import USAGE_TAGS
from kqlmi.model.entities import ALL, did_you_mean, known_usage
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import without_effect
from kqlmi.model.uses.needs import Source
from kqlmi.report import Block, Code, Described, Line, Mark, Names, Report, Rows, Section, to_text

_SEVERITY_TAGS: Final[Mapping[str, Mark]] = MappingProxyType({"high": "stops", "medium": "warning"})
# So many findings of one rule and identity are still shown one by one.
_FEW: Final = 3


@dataclass(frozen=True, repr=False)
class Audit(Described):
    """The findings of an audit, by severity.

    ``accepted`` are findings that an acceptance covers, ``expired`` the acceptances that are no longer valid. ``plans``
    are by the ID of the finding, for those that a plan can fix. ``unread`` contains a line for each policy that was not
    read, with the reason; ``why_not_assigned`` is why the assigned identities were not read, if they were requested.
    ``names`` contains the identities for display.
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
    names: Mapping[str, str] = field(default_factory=dict)

    def worst(self, at_least: Severity) -> tuple[Finding, ...]:
        """Return the findings of a severity or above, without accepted ones."""
        return tuple(one for one in self.findings if SEVERITIES.index(one.severity) <= SEVERITIES.index(at_least))

    def finding(self, prefix: str) -> Finding:
        """Return the finding whose ID begins with a prefix.

        Raises:
            InputError: No finding matches, or several do.
        """
        known = (*self.findings, *(one for one, _ in self.accepted))
        found = [one for one in known if one.id.startswith(prefix.casefold())]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{prefix!r} matches the IDs of {len(found)} findings.", hint="Use a longer prefix.")
        hint = did_you_mean(prefix, [one.id for one in known]) if known else "There are no findings."
        raise InputError(f"The current audit of {self.cluster} has no finding {prefix!r}.", hint=hint)

    @property
    def rows(self) -> Rows:
        """Return a row for each finding, by severity.

        Columns: ``finding`` (its ID), ``severity``, ``rule``, ``scope``, ``object_id``, ``usage``, ``message``,
        ``evidence`` (a list of strings, each with its source and time window), ``fixed_by`` (the plan's summary, or an
        empty string) and ``why_not``.
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
                "fixed_by": lambda one: self.plans[one.id].summary if one.id in self.plans else "",
                "why_not": lambda one: one.fix.why_not,
            },
            kinds={"severity": _SEVERITY_TAGS, "object_id": "id", "usage": USAGE_TAGS, "evidence": "folded"},
        )

    def explain(self, finding: Finding) -> str:
        """Return a finding as text with its evidence, and with a note on its plan or the reason why there is none."""
        return to_text(
            Report("", blocks=(Section(_line(finding), tuple(_details(finding)), folded=True),)), unfold=True
        )

    def report(self) -> Report:
        """Return the findings, worst first and those of one rule and identity together, and what was not read.

        The evidence of a finding, and the commands that fix it, are folded.
        """
        counts = ", ".join(f"{sum(one.severity == name for one in self.findings)} {name}" for name in SEVERITIES)
        return Report(f"Audit of {self.cluster}", f"{counts}.", tuple(self._blocks()))

    def _blocks(self) -> Iterator[Block]:
        for group in grouped(self.findings):
            yield from [self._group(group)] if len(group) > _FEW else map(self._section, group)
        for finding, by in self.accepted:
            yield Line(f"accepted until {by.until}  {finding.id}  {finding.rule}: {by.reason}")
        for by in self.expired:
            yield Line(f"Acceptance expired after {by.until}: {by.rule} at the {by.scope} ({by.reason}).")
        yield from (Line(f"Not read: {one}") for one in self.unread)
        if not self.knows_assigned:
            why = self.why_not_assigned or "Azure Resource Manager was not asked which identities are assigned."
            yield Line(f"Not checked: orphans, because {why}")
        if failed := [one for one in self.sources if one.outcome != "read"]:
            title = f"Sources: {len(self.sources) - len(failed)} read in full, {len(failed)} not"
            yield Section(title, tuple(map(Line, _together(failed))))
        else:
            yield Line("All sources were read.")
        if self.unproven:
            reasons = dict.fromkeys(f"{one.usage}: {one.why}" for one in self.unproven)
            title = f"Grants not seen in use, but not proven unused: {len(self.unproven)}."
            yield Section(title, tuple(map(Line, reasons)))

    def _group(self, found: Sequence[Finding]) -> Section:
        """Return the findings of a group: their usages with every database, and each finding, folded."""
        places: dict[str, dict[str, None]] = {}
        for one in found:
            lead = f"{one.usage} in" if one.usage else "in"
            places.setdefault(lead, {})["the cluster" if one.scope.name is None else one.scope.name] = None
        names = (Names(lead, tuple(within)) for lead, within in places.items())
        first = found[0]
        who = f" of {self.names.get(first.identity, first.identity)}" if first.identity else ""
        title = f"{first.severity:6}  {first.rule}: {len(found):,} findings{who}"
        details = Section(
            f"the first is {first.id}; each of them with its ID and evidence",
            tuple(map(self._section, found)),
            folded=True,
        )
        return Section(title, (*names, details))

    def _section(self, one: Finding) -> Section:
        commands = (Code(step.command) for step in (self.plans[one.id].steps if one.id in self.plans else ()))
        return Section(_line(one), (*_details(one), *commands), folded=True)


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return the findings of one severity, rule and identity together, worst first, and then by their number."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        # What is not about an identity is about its subject, and stays alone.
        key = (one.severity, one.rule, one.identity) if one.identity else (one.id,)
        groups.setdefault(key, []).append(one)
    return sorted(groups.values(), key=lambda group: (SEVERITIES.index(group[0].severity), -len(group)))


def audit(facts: Facts) -> tuple[Finding, ...]:
    """Return the findings of every rule, by severity."""
    return without_duplicates(one for rule in RULES.values() for one in rule.check(facts))


def unproven(facts: Facts) -> Iterator[Reason]:
    """Yield the grants that were not seen in use, each with the reason why that does not prove it unused."""
    for scope, identity, usage in facts.grants:
        if usage == ALL or not known_usage(usage) or without_effect(scope, usage):
            continue
        if not facts.discovery.uses(identity, usage, scope) and (why := facts.discovery.doubt(usage, scope)):
            yield Reason(scope, identity, usage, why)


def sorted_out(
    findings: Iterable[Finding], acceptances: Iterable[Acceptance], facts: Facts, today: str
) -> tuple[tuple[Finding, ...], tuple[tuple[Finding, Acceptance], ...], tuple[Acceptance, ...]]:
    """Return the open findings, the accepted ones, and the acceptances that expired before ``today``."""
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
    """Yield one line for all databases in which a source had the same outcome."""
    found: dict[Source, list[str]] = {}
    for one in sources:
        found.setdefault(replace(one, database=""), []).extend(filter(None, [one.database]))
    yield from (one.line(databases) for one, databases in found.items())
