"""The impact of a plan: the discovered uses that are allowed before it but not after it, and what remains unknown."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kqlmi.errors import printable
from kqlmi.model.entities import Scope, by_place
from kqlmi.model.plan import edits
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.uses.needs import Discovery, Need
from kqlmi.report import Described, Line, Report


@dataclass(frozen=True, slots=True, repr=False)
class Impact(Described):
    """The uses that would stop, and for each revoked grant why finding no use does not prove that it is unused.

    ``orphans`` are the policy entries whose identity would no longer be assigned.
    """

    stops: tuple[Need, ...] = ()
    unknown: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    who: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def stopping(self) -> tuple[str, ...]:
        """Return a line for each use that would stop and each entry that would become an orphan."""
        stops = (
            f"Would stop: {self.who[str(one.identity)]} {one.usage} in the {one.scope}: {one.evidence[0]}"
            for one in self.stops
        )
        return (*stops, *(f"Would become an orphan: {one}" for one in self.orphans))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Return a line for each thing that cannot be determined."""
        return tuple(f"Cannot be determined: {why}" for why in self.unknown)

    @property
    def lines(self) -> tuple[str, ...]:
        """Return all lines, for display."""
        return (*self.stopping, *self.doubts)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the doubts, or that nothing was found."""
        return self.doubts if self.lines else ("No use was found that would stop.",)

    def report(self) -> Report:
        """Return what would stop and what cannot be determined."""
        return Report("", blocks=tuple(Line(one, "stops") for one in self.stopping), notes=self.notes)


def unassigning(identity: str, who: str, current: Snapshot, discovery: Discovery) -> Impact:
    """Return the discovered uses that stop, and the policy entries that become orphans, if an identity is unassigned.

    ``identity`` is as it appears in grants.
    """
    stops = tuple(need for need in _allowed(discovery, current) if need.identity == identity)
    granted = {scope: sorted(usages) for scope in current.policies if (usages := current.usages_of(scope, identity))}
    doubts = (
        ((who, usage, why), scope)
        for scope, usages in granted.items()
        for usage in usages
        if (why := discovery.doubt(usage, scope))
    )
    orphans = tuple(f"{who} in the policy of the {scope}: {printable(', '.join(granted[scope]))}" for scope in granted)
    return Impact(stops, _unknown(doubts), orphans, {identity: who})


def impact(plan: PolicyPlan, current: Snapshot, discovery: Discovery) -> Impact:
    """Return the discovered uses that a plan would stop; ``current`` contains the policy of every scope that affects the result."""
    after = edits.after(current, plan)
    stays = set(_allowed(discovery, after))
    stops = tuple(need for need in _allowed(discovery, current) if need not in stays)
    doubts = (
        ((plan.who(change.identity), change.usage, why), change.scope)
        for change in plan.changes
        if change.kind == "revoke"
        and change.effect == "effective"
        and (why := discovery.doubt(change.usage, change.scope))
    )
    return Impact(stops, _unknown(doubts), who={str(one.identity): plan.who(str(one.identity)) for one in stops})


def _unknown(doubts: Iterable[tuple[tuple[str, str, str], Scope]]) -> tuple[str, ...]:
    """Return a line for each identity, usage and reason, with all of its scopes."""
    return tuple(
        f"whether {who} uses {printable(usage)} in {place}, because {why}{names}"
        for (who, usage, why), place, names in by_place(doubts)
    )


def _allowed(discovery: Discovery, policies: Snapshot) -> Iterator[Need]:
    """Yield the discovered uses that policies allow."""
    for need in discovery.needs:
        known = need.identity is not None and need.state != "refused"
        if known and access(policies, str(need.identity), need.usage, need.scope).allowed:
            yield need
