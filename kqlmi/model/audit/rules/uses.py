"""The rules of the audit that compare the policies with the discovered use."""

from collections.abc import Iterator
from typing import Final

from kqlmi.errors import PolicyError
from kqlmi.model.audit.findings import Facts, Finding, Fix, ScopedGrant, Severity, rule
from kqlmi.model.entities import ALL, Scope, known_usage, object_id
from kqlmi.model.policy.access import access, covered_by_cluster, without_effect
from kqlmi.model.policy.policy import Policy
from kqlmi.model.uses.needs import Evidence, Need, State

_SEVERITY: Final[dict[State, Severity]] = {"standing": "high", "idle": "medium", "past": "low", "refused": "low"}
_WOULD: Final[dict[State, str]] = {
    "standing": "is refused or fails silently",
    "idle": "will be refused when it runs",
    "past": "succeeded before but would be refused now",
    "refused": "failed",
}


@rule("missing")
def missing(facts: Facts) -> Iterator[Finding]:
    """A discovered use that no policy allows."""
    for (identity, usage, scope), needs in without_grant(facts).items():
        state = min((need.state for need in needs), key=list(_SEVERITY).index)
        evidence = tuple(one for need in needs for one in need.evidence)
        what = next(one.says for one in evidence if one.state == state)
        yield Finding(
            _SEVERITY[state],
            scope,
            identity,
            usage,
            f"{facts.directory.name(identity)} may not be used for {usage} in the {needs[0].scope}, so {what} {_WOULD[state]}.",
            evidence,
            _granting(facts, identity, usage, scope),
        )


def without_grant(facts: Facts) -> dict[tuple[str, str, Scope], list[Need]]:
    """Return the needs that no policy allows, by identity, usage and the scope whose policy would have to grant it."""
    wanted: dict[tuple[str, str, Scope], list[Need]] = {}
    for need in facts.discovery.needs:
        if need.identity is not None and access(facts.live, need.identity, need.usage, need.scope).allowed is False:
            scope = Scope.cluster() if without_effect(need.scope, need.usage) else need.scope
            wanted.setdefault((need.identity, need.usage, scope), []).append(need)
    return wanted


def _granting(facts: Facts, identity: str, usage: str, scope: Scope) -> Fix:
    try:
        object_id(identity)
    except PolicyError:
        return Fix(why_not="the command or query does not name the identity by its object ID")
    if client := facts.directory.client_of(identity):
        return Fix(why_not=f"the command or query names {client} by its client ID, but must name it by its object ID")
    if facts.directory.state(identity) == "orphan":
        return Fix(why_not="the identity is not assigned to the cluster: run %kqlmi assign first, then %kqlmi grant")
    policy = facts.policies.policies.get(scope) or Policy.empty()
    return facts.plan({scope: policy.grant(identity, usage)})


@rule("unused")
def unused(facts: Facts) -> Iterator[Finding]:
    """A grant that is proven unused; a grant that cannot be proven unused is never reported."""
    for grant in proven_unused(facts):
        evidence = facts.discovery.evidence_of_absence(grant[-1], grant[0])
        yield facts.about(grant, "medium", ", but nothing uses it.", facts.plan_to_revoke(grant), *evidence)


def proven_unused(facts: Facts) -> Iterator[ScopedGrant]:
    """Yield the grants that are proven unused."""
    for scope in facts.live.policies:
        grants = facts.live.grants(scope)
        provable = {usage for usage in {usage for _, usage in grants} if _is_provable(facts, usage, scope)}
        for identity, usage in sorted(grant for grant in grants if grant[1] in provable):
            covered = covered_by_cluster(facts.live, scope, identity, usage)
            if not covered and not facts.discovery.uses(identity, usage, scope):
                yield scope, identity, usage


def _is_provable(facts: Facts, usage: str, scope: Scope) -> bool:
    """Check whether a grant of a usage in a scope is proven unused if no use of it is found."""
    effective = usage != ALL and known_usage(usage) is not None and not without_effect(scope, usage)
    return effective and not facts.discovery.doubt(usage, scope)


@rule("narrow")
def narrow(facts: Facts) -> Iterator[Finding]:
    """A cluster grant that only one database needs."""
    for scope, identity, usage in facts.grants:
        home = only_home(facts, identity, usage) if scope.is_cluster else None
        if home is None:
            continue
        policy = facts.live.policies.get(home) or Policy.empty()
        edits = {home: policy.grant(identity, usage), scope: facts.revoked(scope, identity, usage)}
        needs = facts.discovery.uses(identity, usage, home)
        yield Finding(
            "low",
            scope,
            identity,
            usage,
            f"{facts.directory.name(identity)} is granted {usage} in the policy of the cluster, but only the {home} needs it.",
            (*(one for need in needs for one in need.evidence), *_elsewhere(facts, usage)),
            facts.plan(edits),
        )


def only_home(facts: Facts, identity: str, usage: str) -> Scope | None:
    """Return the only database that needs a cluster grant, or None unless it is proven that no other does."""
    if usage == ALL or not known_usage(usage) or (identity, ALL) in facts.live.grants(Scope.cluster()):
        return None
    homes = [scope for scope in facts.discovery.databases if facts.discovery.uses(identity, usage, scope)]
    if len(homes) != 1 or homes[0] not in facts.policies.policies:
        return None
    others = (scope for scope in facts.discovery.databases if scope != homes[0])
    return None if any(facts.discovery.doubt(usage, scope) for scope in others) else homes[0]


@rule("impersonation")
def impersonation(facts: Facts) -> Iterator[Finding]:
    """An automated flow that uses ;impersonate without a managed identity, although it requires one."""
    for gap in facts.discovery.gaps:
        yield Finding(
            "high",
            gap.scope,
            "",
            "AutomatedFlows",
            f"The {gap.subject} in the {gap.scope} reads or writes with ;impersonate but names no managed identity.",
            gap.evidence,
            Fix(why_not="a policy cannot fix it: define it again with a managedIdentity, then grant AutomatedFlows"),
            gap.subject,
        )


def _elsewhere(facts: Facts, usage: str) -> tuple[Evidence, ...]:
    found = facts.discovery.evidence_of_absence(usage, Scope.cluster())
    return tuple(Evidence(one.source, "no use in any other database", one.window) for one in found)
