"""The smallest policies that keep everything that identities are really used for."""

from collections.abc import Iterator
from dataclasses import dataclass

from kqlmi.model.audit.findings import Edits, Facts, Reason
from kqlmi.model.entities import ALL, Scope, known_usage
from kqlmi.model.policy.access import without_effect
from kqlmi.model.policy.policy import Policy
from kqlmi.model.usages import USAGES
from kqlmi.report import Described, Line, Report


@dataclass(frozen=True, slots=True)
class Tightened(Described):
    """The policies that are left, and the reason of each grant in them and of each that goes.

    ``names`` gives identities for people.
    """

    edits: Edits
    kept: tuple[Reason, ...]
    taken: tuple[Reason, ...]
    names: dict[str, str]

    def report(self) -> Report:
        """Return the reasons, a line each."""
        both = (("Kept: ", self.kept), ("Taken:", self.taken))
        return Report(
            "",
            blocks=tuple(
                Line(f"{what} {self.names[one.identity]} {one.usage} at the {one.scope}: {one.why}")
                for what, reasons in both
                for one in reasons
            ),
        )


def tighten(facts: Facts, *, also_unproven: bool = False) -> Tightened:
    """Give the smallest policies that keep all discovered use of what is granted now.

    A usage that cannot be proven unused stays, unless ``also_unproven``; one that the catalogue does not know stays in
    any case. What is used and not granted is not granted here: that is for the finding ``missing``.
    """
    live = facts.live
    wanted: dict[Scope, dict[tuple[str, str], str]] = {scope: {} for scope in live.policies}
    holders = dict.fromkeys(identity for _, identity, _ in facts.grants)
    for identity in holders:
        for usage in (one.name for one in USAGES if one.name != ALL):
            for scope, why in _places(facts, identity, usage, also_unproven=also_unproven):
                wanted[scope][identity, usage] = why
    for scope, identity, usage in facts.grants:
        if not known_usage(usage) and (scope.is_cluster or (identity, usage) not in live.grants(Scope.cluster())):
            wanted[scope][identity, usage] = "this version does not know the usage"
    free = [scope for scope in live.policies if scope not in facts.discovery.followers]
    edits = {scope: after for scope in free if (after := _policy(facts, scope, wanted[scope])) != live.policies[scope]}
    kept = (Reason(scope, *grant, why) for scope in live.policies for grant, why in wanted[scope].items())
    gone = (grant for grant in facts.grants if grant[0] in free and grant[1:] not in wanted[grant[0]])
    taken = (Reason(*grant, _taken(facts, *grant, wanted)) for grant in gone)
    return Tightened(
        edits, tuple(kept), tuple(taken), {identity: facts.directory.name(identity) for identity in holders}
    )


def _places(facts: Facts, identity: str, usage: str, *, also_unproven: bool) -> Iterator[tuple[Scope, str]]:
    """Give where a usage is granted at the least, and why."""
    cluster = Scope.cluster()
    everywhere = bool({(identity, usage), (identity, ALL)} & facts.live.grants(cluster))
    needed = {scope: _why(facts, identity, usage, scope, also_unproven=also_unproven) for scope in facts.live.policies}
    homes = [scope for scope in facts.live.policies if not scope.is_cluster and needed[scope]]
    known = known_usage(usage)
    if known and known.cluster_only:
        if everywhere and needed.get(cluster):
            yield cluster, needed[cluster]
        return
    # Where it stays in every database, it stays at the cluster; and so it does for one whose policy lives elsewhere.
    stays = len(homes) == len(facts.live.policies) - 1 and all(facts.discovery.doubt(usage, scope) for scope in homes)
    if everywhere and homes and (stays or facts.discovery.followers & set(homes)):
        yield cluster, needed[homes[0]]
        return
    for scope in homes:
        if everywhere or {(identity, usage), (identity, ALL)} & facts.live.grants(scope):
            yield scope, needed[scope]


def _why(facts: Facts, identity: str, usage: str, scope: Scope, *, also_unproven: bool) -> str:
    """Give why a usage stays in a database, or at the cluster; empty if it need not."""
    if found := facts.discovery.uses(identity, usage, scope):
        return str(found[0].evidence[0])
    doubt = "" if also_unproven else facts.discovery.doubt(usage, scope)
    return f"cannot be proven unused: {doubt}" if doubt else ""


def _policy(facts: Facts, scope: Scope, wanted: dict[tuple[str, str], str]) -> Policy | None:
    """Return the policy of a scope that grants just what is wanted."""
    before = facts.live.policies[scope]
    policy = before or Policy.empty()
    usages: dict[str, list[str]] = {identity: [] for identity in policy.holdings}
    for identity, usage in wanted:
        usages.setdefault(identity, []).append(usage)
    after = policy.holding(usages)
    return None if before is None and not after.entries else after


def _taken(
    facts: Facts, scope: Scope, identity: str, usage: str, wanted: dict[Scope, dict[tuple[str, str], str]]
) -> str:
    if usage == ALL:
        places = wanted if scope.is_cluster else (scope, Scope.cluster())
        stays = any(holder == identity for place in places for holder, _ in wanted.get(place, {}))
        return "what has to stay of it is granted by name" if stays else "no use of it was seen"
    if without_effect(scope, usage):
        return "it has no effect there"
    if (identity, usage) in wanted.get(Scope.cluster(), {}):
        return "the cluster grants it"
    moved = [str(place) for place, grants in wanted.items() if (identity, usage) in grants]
    if scope.is_cluster and moved:
        return f"granted where it stays: {', '.join(moved)}"
    if doubt := facts.discovery.doubt(usage, scope):
        return f"not seen, though not proven unused either: {doubt}"
    return "; ".join(map(str, facts.discovery.evidence_of_absence(usage, scope))) or "nothing uses it"
