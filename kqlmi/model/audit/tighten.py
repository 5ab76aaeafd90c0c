"""The smallest policies that still allow all discovered use of identities."""

from collections.abc import Iterator
from dataclasses import dataclass

from kqlmi.model.audit.findings import Edits, Facts, Reason
from kqlmi.model.entities import ALL, Scope, by_place, known_usage
from kqlmi.model.policy.access import without_effect
from kqlmi.model.policy.policy import Policy
from kqlmi.model.usages import USAGES
from kqlmi.report import Described, Line, Report


@dataclass(frozen=True, slots=True, repr=False)
class Tightened(Described):
    """The tightened policies, and the reason for each grant that they keep or revoke.

    ``names`` contains the identities for display.
    """

    edits: Edits
    kept: tuple[Reason, ...]
    revoked: tuple[Reason, ...]
    names: dict[str, str]

    def report(self) -> Report:
        """Return the reasons, a line for each that differs in more than the database."""
        both = (("Keep:  ", self.kept), ("Revoke:", self.revoked))
        found = (((what, one.identity, one.usage, one.why), one.scope) for what, reasons in both for one in reasons)
        return Report(
            "",
            blocks=tuple(
                Line(f"{what} {self.names[identity]} {usage} in the policy of {place}: {why}{every}")
                for (what, identity, usage, why), place, every in by_place(found)
            ),
        )


def tighten(facts: Facts, *, also_unproven: bool = False) -> Tightened:
    """Return the smallest policies that keep all discovered use of the current grants.

    A usage that cannot be proven unused stays, unless ``also_unproven`` is true. A usage that is not in the catalogue
    always stays. No usage is added; the rule ``missing`` reports those that are needed but not granted.
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
            wanted[scope][identity, usage] = "the usage is unknown to this version of kqlmi"
    free = [scope for scope in live.policies if scope not in facts.discovery.followers]
    edits = {scope: after for scope in free if (after := _policy(facts, scope, wanted[scope])) != live.policies[scope]}
    kept = (Reason(scope, *grant, why) for scope in live.policies for grant, why in wanted[scope].items())
    gone = (grant for grant in facts.grants if grant[0] in free and grant[1:] not in wanted[grant[0]])
    revoked = (Reason(*grant, _why_revoked(facts, *grant, wanted)) for grant in gone)
    return Tightened(
        edits, tuple(kept), tuple(revoked), {identity: facts.directory.name(identity) for identity in holders}
    )


def _places(facts: Facts, identity: str, usage: str, *, also_unproven: bool) -> Iterator[tuple[Scope, str]]:
    """Yield the scopes in which a usage must at least be granted, and why."""
    cluster = Scope.cluster()
    everywhere = bool({(identity, usage), (identity, ALL)} & facts.live.grants(cluster))
    needed = {scope: _why(facts, identity, usage, scope, also_unproven=also_unproven) for scope in facts.live.policies}
    homes = [scope for scope in facts.live.policies if not scope.is_cluster and needed[scope]]
    known = known_usage(usage)
    if known and known.cluster_only:
        if everywhere and needed.get(cluster):
            yield cluster, needed[cluster]
        return
    # A usage that every database keeps, or that a follower database needs, stays in the cluster's policy.
    stays = len(homes) == len(facts.live.policies) - 1 and all(facts.discovery.doubt(usage, scope) for scope in homes)
    if everywhere and homes and (stays or facts.discovery.followers & set(homes)):
        yield cluster, needed[homes[0]]
        return
    for scope in homes:
        if everywhere or {(identity, usage), (identity, ALL)} & facts.live.grants(scope):
            yield scope, needed[scope]


def _why(facts: Facts, identity: str, usage: str, scope: Scope, *, also_unproven: bool) -> str:
    """Return why a usage must stay in the policy of a database or of the cluster, or an empty string if it need not."""
    if found := facts.discovery.uses(identity, usage, scope):
        return str(found[0].evidence[0])
    doubt = "" if also_unproven else facts.discovery.doubt(usage, scope)
    return f"cannot be proven unused: {doubt}" if doubt else ""


def _policy(facts: Facts, scope: Scope, wanted: dict[tuple[str, str], str]) -> Policy | None:
    """Return the policy of a scope with exactly the wanted grants."""
    before = facts.live.policies[scope]
    policy = before or Policy.empty()
    usages: dict[str, list[str]] = {identity: [] for identity in policy.holdings}
    for identity, usage in wanted:
        usages.setdefault(identity, []).append(usage)
    after = policy.holding(usages)
    return None if before is None and not after.entries else after


def _why_revoked(
    facts: Facts, scope: Scope, identity: str, usage: str, wanted: dict[Scope, dict[tuple[str, str], str]]
) -> str:
    if usage == ALL:
        places = wanted if scope.is_cluster else (scope, Scope.cluster())
        stays = any(holder == identity for place in places for holder, _ in wanted.get(place, {}))
        return "the usages to keep are granted by name" if stays else "no use of it was seen"
    if without_effect(scope, usage):
        return "it has no effect there"
    if (identity, usage) in wanted.get(Scope.cluster(), {}):
        return "the cluster grants it"
    moved = [str(place) for place, grants in wanted.items() if (identity, usage) in grants]
    if scope.is_cluster and moved:
        return f"granted only where it is needed: {', '.join(moved)}"
    if doubt := facts.discovery.doubt(usage, scope):
        return f"not seen in use, but not proven unused: {doubt}"
    return "; ".join(map(str, facts.discovery.evidence_of_absence(usage, scope))) or "nothing uses it"
