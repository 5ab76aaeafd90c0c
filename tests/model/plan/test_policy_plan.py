"""Tests that a plan folds identical steps and still shows everything that it does."""

import re
from collections import Counter
from html import unescape
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.entities import Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.impact import Impact
from kqlmi.model.plan.planfile import Live, to_json
from kqlmi.model.plan.policy_plan import PolicyPlan, identical
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.uses.needs import Evidence, Need
from kqlmi.report import Code, Line, Names, Section, to_html, to_markdown, to_text
from tests.model.policy.test_policy import EXPORTER, LOADER, POLICIES

EMPTY = Policy.empty()
SCREEN, COLUMNS = 24, 80
DATABASES = st.dictionaries(
    st.sampled_from(["Samples", "Sales", "it's", "A, B", "Ünïcode"]).map(Scope.database) | st.just(Scope.cluster()),
    st.tuples(st.none() | POLICIES, st.none() | POLICIES) | st.just((None, EMPTY.grant(LOADER, "All"))),
)


def plan_of(edits: dict[Scope, tuple[Policy | None, Policy | None]]) -> PolicyPlan:
    before = {scope: before for scope, (before, _) in edits.items()}
    return make_plan(Snapshot(before), Snapshot({scope: after for scope, (_, after) in edits.items()}), cluster="prod")


def grants(count: int, **more: tuple[Policy | None, Policy | None]) -> PolicyPlan:
    """Return a plan that grants the same in a number of databases, and makes ``more`` changes."""
    same = {Scope.database(f"Db{number:03}"): (EMPTY, EMPTY.grant(LOADER, "ExternalTable")) for number in range(count)}
    return plan_of(same | {Scope.database(name): edit for name, edit in more.items()})


REVOKE = (EMPTY.grant(EXPORTER, "AutomatedFlows"), EMPTY)


@given(DATABASES)
def test_a_folded_plan_names_every_command_of_the_plan(edits: dict[Scope, tuple[Policy | None, Policy | None]]) -> None:
    plan = plan_of(edits)
    found = Counter[str]()
    warnings = [str(one) for one in plan.report().blocks if isinstance(one, Line)]
    assert warnings == [f"! {one}" for one in plan.warnings]
    for section in plan.report().blocks[len(warnings) :]:
        assert isinstance(section, Section)
        [code] = (block for block in section.blocks if isinstance(block, Code))
        names = [name for block in section.blocks if isinstance(block, Names) for name in block.names]
        literals = [f"[{_literal(name)}]" for name in names]
        found.update([code.text.replace("['\u2039each\u203a']", literal, 1) for literal in literals] or [code.text])
    assert found == Counter(step.command for step in plan.steps)


def _literal(name: str) -> str:
    return "'" + name.replace("'", "\\'") + "'"


@given(DATABASES)
def test_a_step_that_removes_something_is_never_folded(edits: dict[Scope, tuple[Policy | None, Policy | None]]) -> None:
    for group in identical(plan_of(edits).steps):
        assert len(group) == 1 or not any(step.removes for step in group)
        # The same is granted in each database, with the same effect.
        assert len({tuple(plan_of(edits).lines(step)) for step in group}) == 1


@given(DATABASES)
def test_the_text_of_a_plan_and_its_json_have_every_command(
    edits: dict[Scope, tuple[Policy | None, Policy | None]],
) -> None:
    plan = plan_of(edits)
    for step in plan.steps:
        assert step.command in str(plan)
        assert step.command in plan.content["steps"][plan.steps.index(step)]["command"]


@pytest.mark.parametrize("count", [3, 300, 1000])
def test_a_plan_over_any_number_of_databases_fits_on_one_screen(count: int) -> None:
    text = to_text(grants(count).report(), at_most=1000)
    assert sum(max(1, ceil(len(line) / COLUMNS)) for line in text.splitlines()) <= SCREEN
    assert f"{count:,} databases:" in text
    assert text.count(".alter-merge database ['\u2039each\u203a'] policy managed_identity ```[") == 1
    assert ("in Db000, Db001, Db002" in text) == (count == 3)
    assert (f"in Db000 … Db{count - 1:03}" in text) == (count > 3)


@pytest.mark.parametrize("count", [3, 300, 1000])
def test_every_form_of_a_folded_plan_names_every_database(count: int) -> None:
    plan = grants(count)
    names = ", ".join(f"Db{number:03}" for number in range(count))
    for shown in (to_text(plan.report()), unescape(to_html(plan.report())), to_markdown(plan.report())):
        assert names in shown
    assert str(plan).count(".alter-merge database ['Db") == count
    assert to_json(plan).count(".alter-merge database ['Db") == count


def test_what_a_plan_removes_comes_before_what_it_grants() -> None:
    plan = grants(300, Samples=REVOKE)
    first, second = plan.report().blocks
    assert isinstance(first, Section)
    assert isinstance(second, Section)
    assert (first.title, second.title) == ("database Samples", "300 databases")
    assert plan.report().notes == ("The grants run before the revokes.",)
    assert [section.title for section in plan.full().blocks if isinstance(section, Section)][-1] == "database Samples"


@pytest.mark.parametrize("count", [1, 300])
def test_every_use_that_a_plan_stops_comes_first_in_red_in_each_form(count: int) -> None:
    evidence = Evidence(".show continuous exports", "continuous export Hourly")
    needs = tuple(
        Need(EXPORTER, "AutomatedFlows", Scope.database(f"Db{number:03}"), (evidence,)) for number in range(count)
    )
    report = Live(impact=Impact(needs, who={EXPORTER: "exporter"})).beside(grants(300, Samples=REVOKE).report())
    text, page, markdown = to_text(report, at_most=1000), to_html(report), to_markdown(report)
    assert text.index("Would stop") < text.index("database Samples:") < text.index("300 databases:")
    assert text.count("! Would stop: exporter AutomatedFlows in the database Db") == count
    assert "\x1b[1;31m  ! Would stop" in to_text(report, color=True)
    assert page.index("Would stop") < page.index("<details>")
    assert len(re.findall(r'<div style="color: [^"]*error[^"]*">! Would stop', page)) == count
    assert markdown.index("Would stop") < markdown.index("<details>")
    assert markdown.count("- **\\! Would stop") == count


def test_a_display_name_and_a_database_are_escaped_in_each_form() -> None:
    scopes = [Scope.database(name) for name in ("<b>x</b>", "</details>", "[a](https://a.b)", "\x1b[31m" * 20)]
    plan = plan_of(dict.fromkeys(scopes, (None, EMPTY.grant(LOADER, "All"))))
    page, markdown = to_html(plan.report()), to_markdown(plan.report())
    assert "<b>x" not in page
    assert page.count("</details>") == page.count("<details>") == 1
    assert "<b>x" not in markdown
    assert markdown.count("</details>") == 1
    assert "[a](https" not in markdown
    assert "\x1b" not in to_text(plan.report()) + page + markdown


def test_a_broad_grant_is_warned_of_once_in_the_report_of_its_plan() -> None:
    scopes = [Scope.database("A"), Scope.database("B")]
    everything = Policy.empty().grant(LOADER, "All")
    plan = make_plan(Snapshot(dict.fromkeys(scopes)), Snapshot(dict.fromkeys(scopes, everything)))
    assert plan.warnings == (f"{LOADER}: All allows every usage, including future ones.",)
    narrow = Policy.empty().grant(LOADER, "ExternalTable")
    assert make_plan(Snapshot({scopes[0]: None}), Snapshot({scopes[0]: narrow})).warnings == ()
    cluster = Scope.cluster()
    wide = make_plan(Snapshot({cluster: None}), Snapshot({cluster: narrow.grant(LOADER, "SandboxArtifacts")}))
    expected = f"{LOADER}: ExternalTable is granted in every database of the cluster, including future ones."
    assert wide.warnings == (expected,)
    assert f"! {expected}" in str(wide).splitlines()
    assert make_plan(Snapshot({cluster: everything}), Snapshot({cluster: None})).warnings == ()
