"""Laws of fixing and tightening: used and allowed usages stay allowed, and nothing else becomes allowed."""

from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.audit.audit import audit
from kqlmi.model.audit.findings import Edits, Facts
from kqlmi.model.audit.tighten import tighten
from kqlmi.model.entities import Scope, known_usage
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.policy.access import access
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.uses.needs import Need
from tests.model.audit.test_audit import ONE, PLACES, TWO, discovered, need

NAMES = [one.name for one in USAGES]
USED = [name for name in NAMES if name != "All"]
ODD = ["FutureFlow", "ExternalTables"]
DATABASES = [scope for scope in PLACES.values() if not scope.is_cluster]

_held = st.lists(st.sampled_from(NAMES + ODD), max_size=4, unique=True).map(tuple)
_policy = st.none() | st.builds(
    lambda one, two: Policy(tuple(Entry(who, held) for who, held in ((ONE, one), (TWO, two)) if held)), _held, _held
)
_policies = st.builds(
    lambda *found: Snapshot(dict(zip(PLACES.values(), found, strict=True))), _policy, _policy, _policy
)
_needs = st.lists(
    st.builds(need, st.sampled_from([ONE, TWO, None]), st.sampled_from(USED), st.sampled_from(DATABASES)), max_size=6
)


def edited(policies: Snapshot, edits: Edits) -> Snapshot:
    """Return the policies after a plan's edits."""
    for step in make_plan(policies, Snapshot(edits)).steps:
        policies = policies.with_policy(step.scope, step.after)
    return policies


def allowed(policies: Snapshot) -> set[tuple[str, str, Scope]]:
    return {
        (who, usage, scope)
        for who in (ONE, TWO)
        for usage in (*USED, *ODD)
        for scope in DATABASES
        if access(policies, who, usage, scope).allowed
    }


def used(needs: list[Need], policies: Snapshot) -> set[tuple[str, str, Scope]]:
    wanted = {(one.identity, one.usage, one.scope) for one in needs if one.identity}
    return {one for one in allowed(policies) if one in wanted}


@given(_policies, _needs)
def test_tightening_keeps_all_discovered_use_and_all_that_is_not_proven_unused(
    policies: Snapshot, needs: list[Need]
) -> None:
    facts = Facts.of(policies, discovered(*needs))
    left = edited(policies, tighten(facts).edits)
    assert used(needs, policies) <= allowed(left)
    doubtful = {one for one in allowed(policies) if known_usage(one[1]) and facts.discovery.doubt(one[1], one[2])}
    assert doubtful <= allowed(left)
    assert allowed(left) <= allowed(policies)
    assert all("All" not in {usage for _, usage in left.grants(scope)} for scope in left.policies)


@given(_policies, _needs)
def test_tightening_twice_changes_nothing_more(policies: Snapshot, needs: list[Need]) -> None:
    for also in (False, True):
        left = edited(policies, tighten(Facts.of(policies, discovered(*needs)), also_unproven=also).edits)
        again = Facts.of(left, discovered(*needs))
        assert edited(left, tighten(again, also_unproven=also).edits) == left


@given(_policies, _needs)
def test_without_unproven_grants_only_the_discovered_uses_remain(policies: Snapshot, needs: list[Need]) -> None:
    facts = Facts.of(policies, discovered(*needs))
    left = edited(policies, tighten(facts, also_unproven=True).edits)
    assert used(needs, policies) <= allowed(left)
    known = {one for one in allowed(left) if known_usage(one[1])}
    # A usage that takes effect at the cluster only, or that every database uses, is granted there: for all databases.
    assert {one[:2] for one in known} == {one[:2] for one in used(needs, policies)}


@given(_policies, _needs)
def test_fixing_a_finding_stops_no_use_and_the_finding_is_gone(policies: Snapshot, needs: list[Need]) -> None:
    facts = Facts.of(policies, discovered(*needs))
    for finding in audit(facts):
        if finding.fix.edits is None:
            continue
        left = edited(policies, finding.fix.edits)
        assert used(needs, policies) <= allowed(left)
        assert finding.id not in {one.id for one in audit(Facts.of(left, discovered(*needs)))}
        if finding.rule not in {"missing", "misspelt usage"}:
            assert allowed(left) <= allowed(policies)


@given(_policies, _needs)
def test_once_every_plan_is_applied_only_findings_without_one_remain(policies: Snapshot, needs: list[Need]) -> None:
    before = used(needs, policies)
    for _ in range(60):
        todo = [one for one in audit(Facts.of(policies, discovered(*needs))) if one.fix.edits is not None]
        if not todo:
            break
        policies = edited(policies, todo[0].fix.edits or {})
    assert todo == []
    assert before <= allowed(policies)


@given(_policies, _needs)
def test_each_grant_is_given_its_reason(policies: Snapshot, needs: list[Need]) -> None:
    facts = Facts.of(policies, discovered(*needs))
    found = tighten(facts)
    left = edited(policies, found.edits)
    assert {(one.scope, one.identity, one.usage) for one in found.kept} == {
        (scope, *grant) for scope in left.policies for grant in left.grants(scope)
    }
    assert {(one.scope, one.identity, one.usage) for one in found.revoked} == {
        (scope, *grant) for scope in left.policies for grant in policies.grants(scope) - left.grants(scope)
    }
    assert all(one.why for one in (*found.kept, *found.revoked))
