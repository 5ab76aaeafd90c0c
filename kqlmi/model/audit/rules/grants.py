"""The rules of the audit that examine the policies alone."""

import difflib
import re
from collections.abc import Iterator
from typing import Final

from kqlmi.model.audit.findings import Facts, Finding, Fix, rule
from kqlmi.model.audit.rules.uses import only_home
from kqlmi.model.entities import ALL, Scope, known_usage
from kqlmi.model.policy.access import covered_by_cluster, without_effect
from kqlmi.model.policy.policy import Policy
from kqlmi.model.usages import USAGES
from kqlmi.model.uses.needs import Evidence

_NEAR: Final = 0.85
_NO_LETTER: Final = re.compile(r"[^a-z]")


@rule("over-broad")
def over_broad(facts: Facts) -> Iterator[Finding]:
    """A grant of All, which covers every usage, including future ones."""
    for grant in facts.grants:
        scope, identity, usage = grant
        if usage != ALL or covered_by_cluster(facts.live, *grant):
            continue
        kept = in_place_of_all(facts, scope, identity)
        edits = {place: _granting(facts, place, identity, names) for place, names in kept.items()}
        edits[scope] = edits[scope].revoke(identity, ALL)
        yield facts.about(
            grant,
            "high" if scope.is_cluster else "medium",
            ", which covers every usage, including future ones.",
            facts.plan(edits, "Usages that are used, or cannot be proven unused, are granted by name."),
            *_used(facts, scope, identity),
            *_evidence_of_absence(facts, scope, kept[scope]),
        )


def _evidence_of_absence(facts: Facts, scope: Scope, kept: tuple[str, ...]) -> Iterator[Evidence]:
    """Yield the evidence that the usages to be dropped are unused."""
    for name in ("ExternalTable", "AutomatedFlows"):
        if name not in kept:
            yield from facts.discovery.evidence_of_absence(name, scope)


def in_place_of_all(facts: Facts, scope: Scope, identity: str) -> dict[Scope, tuple[str, ...]]:
    """Return the usages to grant instead of ``All``, by scope: those that are used or cannot be proven unused.

    If the cluster's policy grants ``All``, a usage whose use is fully known is granted only in the databases that
    use it.
    """
    kept: dict[Scope, tuple[str, ...]] = {scope: ()}
    at_cluster = facts.live.grants(Scope.cluster())
    for name in (one.name for one in USAGES if one.name != ALL and not without_effect(scope, one.name)):
        homes = [place for place in facts.discovery.databases if facts.discovery.uses(identity, name, place)]
        free = all(place in facts.live.policies and place not in facts.discovery.followers for place in homes)
        if scope.is_cluster and free and not facts.discovery.doubt(name, scope):
            kept |= {place: (*kept.get(place, ()), name) for place in homes}
            continue
        stays = facts.discovery.doubt(name, scope) or facts.discovery.uses(identity, name, scope)
        if stays and (scope.is_cluster or (identity, name) not in at_cluster):
            kept[scope] = (*kept[scope], name)
    return kept


def _granting(facts: Facts, scope: Scope, identity: str, usages: tuple[str, ...]) -> Policy:
    policy = facts.live.policies.get(scope) or Policy.empty()
    return policy.grant(identity, *usages) if usages else policy


@rule("redundant")
def redundant(facts: Facts) -> Iterator[Finding]:
    """A database grant that the cluster's policy already covers."""
    for grant in facts.grants:
        by = covered_by_cluster(facts.live, *grant)
        if by and not _outlives(facts, *grant, by):
            says = f", which the cluster's policy already covers with {by}."
            yield facts.about(grant, "low", says, facts.plan_to_revoke(grant), facts.granted(Scope.cluster(), by))


def _outlives(facts: Facts, scope: Scope, identity: str, usage: str, by: str) -> bool:
    """Check whether to keep the database's grant and to revoke the cluster's instead."""
    if by == ALL and usage != ALL:
        return usage in in_place_of_all(facts, Scope.cluster(), identity).get(scope, ())
    return only_home(facts, identity, usage) == scope


@rule("ineffective")
def ineffective(facts: Facts) -> Iterator[Finding]:
    """A grant without effect: a cluster-only usage in the policy of a database."""
    for grant in facts.grants:
        scope, _, usage = grant
        if without_effect(scope, usage):
            says = ", where it has no effect: it has an effect only in the cluster's policy."
            yield facts.about(grant, "medium", says, facts.plan_to_revoke(grant))


@rule("orphan")
def orphan(facts: Facts) -> Iterator[Finding]:
    """An identity in a policy that is not assigned to the cluster.

    Detected only if the assignments were read from Azure Resource Manager.
    """
    for scope, policy in facts.policies.policies.items():
        for entry in policy.entries if policy else ():
            if not facts.is_orphan(entry):
                continue
            name = facts.directory.name(entry.object_id)
            yield Finding(
                "medium",
                scope,
                entry.object_id,
                "",
                f"The policy of the {scope} names {name}, which is not assigned to the cluster. The service"
                " refuses any change whose policy still contains it.",
                (facts.granted(scope, ", ".join(entry.usages)), *_used(facts, scope, entry.object_id)),
                facts.plan({scope: facts.live.policies[scope]}),
            )


def _used(facts: Facts, scope: Scope, identity: str) -> Iterator[Evidence]:
    for need in facts.discovery.uses(identity, ALL, scope):
        yield from need.evidence


@rule("misspelt usage")
def misspelt_usage(facts: Facts) -> Iterator[Finding]:
    """An unknown usage that is probably a misspelling of a known one."""
    for grant in facts.grants:
        scope, identity, usage = grant
        meant = near(usage)
        if not meant:
            continue
        wanted = not without_effect(scope, meant) and (
            facts.discovery.uses(identity, meant, scope) or facts.discovery.doubt(meant, scope)
        )
        policy = facts.revoked(scope, identity, usage)
        edits = {scope: policy.grant(identity, meant) if wanted else policy}
        fix = facts.plan(edits, f"That {meant} was intended is inferred.")
        yield facts.about(grant, "medium", f", probably a misspelling of {meant}.", fix)


@rule("unknown usage")
def unknown_usage(facts: Facts) -> Iterator[Finding]:
    """A usage that is not in the catalogue."""
    for grant in facts.grants:
        usage = grant[-1]
        if not known_usage(usage) and not near(usage):
            why_not = (
                "its effect is not known: look it up in the documentation, and revoke it by name if it is not wanted"
            )
            yield facts.about(grant, "low", ", a usage that is unknown to this version of kqlmi.", Fix(why_not=why_not))


def near(usage: str) -> str:
    """Return the known usage closest in spelling to an unknown one, or an empty string."""
    if known_usage(usage):
        return ""
    names = {_letters(one.name): one.name for one in USAGES if one.name != ALL}
    found = difflib.get_close_matches(_letters(usage), names, n=1, cutoff=_NEAR)
    return names[found[0]] if found else ""


def _letters(text: str) -> str:
    return _NO_LETTER.sub("", text.casefold())
