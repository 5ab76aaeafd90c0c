from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.entities import Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from tests.model.policy.test_policy import EXPORTER, LOADER, POLICIES

DATABASE, CLUSTER = Scope.database("Samples"), Scope.cluster()


def plan_between(before: Policy | None, after: Policy | None, cluster: Policy | None = None) -> PolicyPlan:
    current = Snapshot({CLUSTER: cluster, DATABASE: before})
    return make_plan(current, current.with_policy(DATABASE, after), cluster="local")


@given(st.none() | POLICIES, st.none() | POLICIES)
def test_the_command_of_a_step_leads_to_its_after(before: Policy | None, after: Policy | None) -> None:
    plan = plan_between(before, after)
    reached = before
    for step in plan.steps:
        command = Statement(step.command).policy_command
        assert command is not None
        payload = Policy.parse(command.payload)
        if command.verb == "alter-merge":
            assert payload is not None
            reached = (before or Policy.empty()).merge(payload)
        else:
            reached = payload
        assert (reached.grants if reached else frozenset()) == (step.after.grants if step.after else frozenset())
    assert (reached.grants if reached else frozenset()) == (after.grants if after else frozenset())


@given(POLICIES)
def test_a_plan_without_changes_has_no_commands(policy: Policy) -> None:
    assert plan_between(policy, policy).steps == ()
    assert str(plan_between(policy, policy)) == "Nothing to do on local."


def test_grants_alone_are_merged_and_send_nothing_else() -> None:
    before = Policy.empty().grant(LOADER, "ExternalTable")
    [step] = plan_between(before, before.grant(LOADER, "SqlRequest").grant(EXPORTER, "All")).steps
    assert step.verb == "alter-merge"
    assert "ExternalTable" not in step.command


def test_a_revoke_replaces_the_policy_by_all_that_remains() -> None:
    before = Policy.parse(f'[{{"ObjectId":"{LOADER}","AllowedUsages":"ExternalTable, FutureFlow, All","Note":"keep"}}]')
    assert before is not None
    plan = plan_between(before, before.revoke(LOADER, "All"))
    [step] = plan.steps
    assert step.verb == "alter"
    assert "ExternalTable, FutureFlow" in step.command
    assert '"Note": "keep"' in step.command
    assert plan.revokes


def test_no_policy_wanted_is_a_delete() -> None:
    [step] = plan_between(Policy.empty(), None).steps
    assert step.command == ".delete database ['Samples'] policy managed_identity"


def test_an_empty_policy_instead_of_none_is_nothing_to_do() -> None:
    assert plan_between(None, Policy.empty()).steps == ()


def test_steps_that_only_grant_come_first() -> None:
    full = Policy.empty().grant(LOADER, "All")
    current = Snapshot({CLUSTER: full, DATABASE: None})
    plan = make_plan(current, Snapshot({CLUSTER: Policy.empty(), DATABASE: full}))
    assert [step.verb for step in plan.steps] == ["alter-merge", "alter"]


def test_a_grant_that_changes_nothing_is_not_counted() -> None:
    cluster = Policy.empty().grant(LOADER, "ExternalTable")
    after = Policy.empty().grant(LOADER, "ExternalTable", "SandboxArtifacts", "SqlRequest")
    plan = plan_between(None, after, cluster)
    assert plan.summary == "1 to grant, 0 to revoke, 1 redundant, 1 without effect, 0 unchanged"


def test_the_id_names_exactly_one_plan() -> None:
    granted = Policy.empty().grant(LOADER, "All")
    assert plan_between(None, granted).id == plan_between(None, granted).id
    assert plan_between(None, granted).id != plan_between(Policy.empty(), granted).id


def test_the_text_contains_the_summary_the_changes_and_the_command() -> None:
    text = str(plan_between(None, Policy.empty().grant(LOADER, "All")))
    assert "1 to grant" in text
    assert f"+ {LOADER} All" in text
    assert ".alter-merge database ['Samples'] policy managed_identity" in text


@given(POLICIES, POLICIES)
def test_a_plan_computes_nothing_for_an_unchanged_policy(policy: Policy, other: Policy) -> None:
    # Parsed again, because the policies from hypothesis may already have cached properties.
    same, scopes = Policy.parse(policy.to_record()), [Scope.database("A"), Scope.database("B")]
    assert same
    current, desired = (Snapshot(dict(zip(scopes, (same, one), strict=True))) for one in (policy, other))
    assert all(step.scope == scopes[1] for step in make_plan(current, desired).steps)
    assert "grants" not in vars(same)
