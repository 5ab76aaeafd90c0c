from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError, PolicyError
from kqlmi.model.entities import Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.workflows import WORKFLOWS
from tests.model.policy.test_policy import IDENTITIES, KNOWN, LOADER, POLICIES

DATABASE, CLUSTER = Scope.database("Samples"), Scope.cluster()


def draft(cluster: str = "", database: str = "", scope: Scope = DATABASE) -> Draft:
    def policy(usages: str) -> Policy | None:
        return Policy.empty().grant(LOADER, *usages.split()) if usages else None

    return Draft.start(Snapshot({CLUSTER: policy(cluster), DATABASE: policy(database)}), scope)


@given(st.none() | POLICIES, IDENTITIES, KNOWN.filter(lambda usage: usage != "All"))
def test_a_reverted_tick_leaves_nothing_to_do(policy: Policy | None, identity: str, usage: str) -> None:
    start = Draft.start(Snapshot({CLUSTER: None, DATABASE: policy}), DATABASE)
    if start.cell(identity, usage).granted or start.cell(identity, usage).covered_by:
        return
    assert start.tick(identity, usage).untick(identity, usage).plan().steps == ()


@pytest.mark.parametrize("row", WORKFLOWS, ids=lambda row: row.id)
def test_a_workflow_ticks_the_usage_that_it_needs(row: object) -> None:
    for name in (row.id, row.title.upper()):  # type: ignore[attr-defined]
        ticked = draft().tick(LOADER, name)
        assert ticked.cell(LOADER, row.usage).granted  # type: ignore[attr-defined]


def test_unticking_what_all_covers_is_refused_and_replacing_all_is_offered() -> None:
    covered = draft(database="All ExternalTable")
    with pytest.raises(InputError, match="replace_all"):
        covered.untick(LOADER, "SqlRequest")
    with pytest.raises(InputError, match="replace_all"):
        covered.untick(LOADER, "ExternalTable")


def test_replacing_all_keeps_every_known_usage_that_has_an_effect_there() -> None:
    replaced = draft(database="All").replace_all(LOADER, without="SqlRequest")
    names = {usage for _, usage in replaced.desired().grants(DATABASE)}
    assert names == set(replaced.kept_usages("SqlRequest"))
    assert len(names) == 7
    assert not names & {"All", "SqlRequest", "SandboxArtifacts"}
    assert len(draft(cluster="All", scope=CLUSTER).kept_usages("SqlRequest")) == 8


def test_replacing_all_keeps_unknown_usages_and_properties() -> None:
    text = f'[{{"ObjectId":"{LOADER}","AllowedUsages":"All, FutureFlow","Note":"keep"}}]'
    start = Draft.start(Snapshot({DATABASE: Policy.parse(text)}), DATABASE)
    policy = start.replace_all(LOADER, without="SqlRequest").desired().policies[DATABASE]
    assert policy is not None
    assert "FutureFlow" in policy.usages(LOADER)
    assert policy.entries[0].extra == (("Note", '"keep"'),)


def test_only_all_is_replaced() -> None:
    with pytest.raises(InputError, match="is not granted All"):
        draft(cluster="All").replace_all(LOADER, without="SqlRequest")


def test_a_cell_shows_what_covers_it() -> None:
    cell = draft(cluster="All").cell(LOADER, "ExternalTable")
    assert cell.allowed
    assert not cell.granted
    assert cell.covered_by == ((CLUSTER, "All"),)


def test_a_cluster_only_usage_has_no_effect_at_a_database() -> None:
    cell = draft(database="SandboxArtifacts").cell(LOADER, "SandboxArtifacts")
    assert cell.without_effect
    assert not cell.allowed


def test_unknown_usages_have_their_column() -> None:
    text = f'[{{"ObjectId":"{LOADER}","AllowedUsages":"FutureFlow"}}]'
    start = Draft.start(Snapshot({CLUSTER: Policy.parse(text), DATABASE: None}), DATABASE)
    assert start.usages[-1] == "FutureFlow"
    assert start.tick(LOADER, "FutureFlow").plan().summary.startswith("0 to grant, 0 to revoke, 1 redundant")


def test_ticks_stay_when_another_scope_is_chosen() -> None:
    other = Scope.database("Sales")
    moved = draft().tick(LOADER, "All").rebase(Snapshot({other: None})).at(other).tick(LOADER, "SqlRequest")
    assert [str(step.scope) for step in moved.plan().steps] == ["database Samples", "database Sales"]


def test_a_word_that_names_no_usage_is_refused_with_a_suggestion() -> None:
    with pytest.raises(PolicyError, match=r"Did you mean AutomatedFlows \(Continuous export\)"):
        draft().tick(LOADER, "continous export")
    with pytest.raises(PolicyError, match="Did you mean ExternalTable"):
        draft().tick(LOADER, "ExternalTables")


TICKS = st.lists(st.tuples(IDENTITIES, KNOWN, st.booleans()), max_size=8)


@given(st.none() | POLICIES, st.none() | POLICIES, TICKS)
def test_a_draft_shows_the_same_as_the_plan_that_it_makes(
    cluster: Policy | None, database: Policy | None, ticks: list[tuple[str, str, bool]]
) -> None:
    start = Draft.start(Snapshot({CLUSTER: cluster, DATABASE: database}), DATABASE)
    made = start
    for identity, usage, on in ticks:
        with suppress(InputError):
            made = made.tick(identity, usage) if on else made.untick(identity, usage)
    plan = made.plan()
    assert made.summary == (plan.summary if plan.steps else "")
    assert set(made.changes) == set(plan.changes)
    for identity in {identity for identity, _, _ in ticks}:
        for usage in made.usages:
            cell = made.cell(identity, usage)
            holder = made.directory.key(identity)
            assert cell.granted == ((holder, usage) in made.desired().grants(DATABASE))
            assert cell.allowed == bool(access(made.desired(), holder, usage, DATABASE).allowed)


@given(st.none() | POLICIES, POLICIES, IDENTITIES, KNOWN.filter(lambda usage: usage != "All"))
def test_ticks_are_kept_on_top_of_another_writers_change(
    read: Policy | None, theirs: Policy, identity: str, usage: str
) -> None:
    start = Draft.start(Snapshot({DATABASE: read}), DATABASE)
    before = start.tick(identity, usage)
    ticked = before.rebase(Snapshot({DATABASE: theirs}))
    mine = {(ticked.directory.key(identity), usage)} if before.ticks else set()
    assert ticked.desired().grants(DATABASE) == theirs.grants | mine
    assert ticked.rebase(ticked.desired()).ticks == {}


def test_a_scope_that_was_not_read_cannot_be_ticked() -> None:
    with pytest.raises(InputError, match="was not read"):
        draft().at(Scope.database("Sales")).tick(LOADER, "SqlRequest")
