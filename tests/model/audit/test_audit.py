"""Tests of the audit rules: each with cases that it reports, and similar cases that it does not."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace

import pytest

from kqlmi.errors import InputError
from kqlmi.model.audit import auditreport
from kqlmi.model.audit.audit import Audit, audit, grouped, sorted_out, unproven
from kqlmi.model.audit.findings import SEVERITIES, Acceptance, Facts, Finding
from kqlmi.model.audit.rules import RULES
from kqlmi.model.audit.rules.grants import near
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.policy.access import access
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.uses.needs import (
    ACCELERATION,
    DATA_CONNECTIONS,
    EXPORTS,
    EXTERNAL_TABLES,
    UPDATE_POLICIES,
    Discovery,
    Evidence,
    Gap,
    Need,
    Outcome,
    Source,
    State,
)
from kqlmi.report import Section, to_html, to_markdown, to_text

ONE, TWO, GONE = (ObjectId(f"{n}1111111-2222-3333-4444-555555555555") for n in (1, 2, 9))
CLUSTER, A, B = Scope.cluster(), Scope.database("A"), Scope.database("B")
PLACES = {"cluster": CLUSTER, "A": A, "B": B}
Held = dict[str, dict[str, str]]


def policies(held: Held) -> Snapshot:
    """Return the policies of the cluster, A and B, from each scope's identities with their usages."""
    return Snapshot(
        {
            scope: Policy(
                tuple(
                    Entry(ObjectId(identity), tuple(usages.split(", ")), display_name=f"mi-{identity[0]}")
                    for identity, usages in held.get(name, {}).items()
                )
            )
            for name, scope in PLACES.items()
        }
    )


def need(identity: str | None, usage: str, scope: Scope, state: State = "standing") -> Need:
    return Need(identity, usage, scope, (Evidence("a source", f"something in {scope}", state=state),))


def discovered(
    *needs: Need, outcome: Outcome = "read", at: Scope = A, source: str = "", gaps: tuple[Gap, ...] = ()
) -> Discovery:
    sources = [
        Source(name, str(scope.name), outcome if (name, scope) == (source, at) else "read")
        for name in (EXTERNAL_TABLES, UPDATE_POLICIES, ACCELERATION, EXPORTS)
        for scope in (A, B)
    ]
    return Discovery((A, B), (*sources, Source(DATA_CONNECTIONS, "", "not read")), needs, gaps)


def facts(held: Held, *needs: Need, assigned: Iterable[Identity] | None = None) -> Facts:
    return Facts.of(policies(held), discovered(*needs), assigned)


def found(known: Facts) -> list[tuple[str, str, str, str]]:
    return sorted((one.rule, str(one.scope), one.identity, one.usage) for one in audit(known))


def rule(name: str, known: Facts) -> list[Finding]:
    return [one for one in audit(known) if one.rule == name]


def after(known: Facts, finding: Finding) -> Facts:
    """Return the facts after a finding's plan was applied."""
    assert finding.fix.edits is not None
    plan = make_plan(known.policies, Snapshot(finding.fix.edits))
    current = known.policies
    for step in plan.steps:
        current = current.with_policy(step.scope, step.after)
    return replace(known, policies=current)


def test_a_use_that_no_policy_allows_is_missing_and_granted_in_its_database() -> None:
    known = facts({"B": {ONE: "ExternalTable"}}, need(ONE, "ExternalTable", A), need(ONE, "ExternalTable", B))
    [finding] = rule("missing", known)
    assert (finding.scope, finding.severity, finding.fix.edits is not None) == (A, "high", True)
    assert finding.evidence == known.discovery.needs[0].evidence
    assert found(after(known, finding)) == []


@pytest.mark.parametrize(
    "held",
    [
        {"A": {ONE: "ExternalTable"}},
        {"A": {ONE: "All"}},
        {"cluster": {ONE: "ExternalTable"}},
        {"cluster": {ONE: "All"}},
    ],
)
def test_what_any_policy_allows_is_not_missing(held: Held) -> None:
    assert rule("missing", facts(held, need(ONE, "ExternalTable", A))) == []


def test_a_use_whose_identity_cannot_be_determined_is_not_missing() -> None:
    assert rule("missing", facts({}, need(None, "ExternalTable", A))) == []


def test_nothing_is_missing_if_a_deciding_policy_was_not_read() -> None:
    known = Facts.of(Snapshot({A: Policy.empty()}), discovered(need(ONE, "ExternalTable", A)))
    assert found(known) == []


def test_a_cluster_only_usage_is_missing_at_the_cluster() -> None:
    known = facts({"A": {ONE: "SandboxArtifacts"}}, need(ONE, "SandboxArtifacts", A), need(ONE, "SandboxArtifacts", B))
    [finding] = rule("missing", known)
    assert finding.scope == CLUSTER
    assert len(finding.evidence) == 2
    assert rule("missing", after(known, finding)) == []


@pytest.mark.parametrize(
    ("state", "severity"), [("standing", "high"), ("idle", "medium"), ("past", "low"), ("refused", "low")]
)
def test_a_current_use_is_more_severe_than_a_past_one(state: State, severity: str) -> None:
    [finding] = rule("missing", facts({}, need(ONE, "ExternalTable", A, state)))
    assert finding.severity == severity


@pytest.mark.parametrize(
    ("identity", "assigned", "says"),
    [
        ("loader", None, "does not name the identity by its object ID"),
        (ONE, [Identity(TWO)], "not assigned"),
    ],
)
def test_no_plan_fixes_what_no_grant_can_fix(identity: str, assigned: list[Identity] | None, says: str) -> None:
    [finding] = rule("missing", facts({}, need(identity, "ExternalTable", A), assigned=assigned))
    assert finding.fix.edits is None
    assert says in finding.fix.why_not


def test_a_client_id_instead_of_an_object_id_is_reported() -> None:
    held = Snapshot({CLUSTER: None, A: Policy((Entry(TWO, ("SqlRequest",), client_id=ONE),)), B: None})
    [finding] = rule("missing", Facts.of(held, discovered(need(ONE, "ExternalTable", A))))
    assert "client ID" in finding.fix.why_not


def test_a_policy_of_a_follower_is_fixed_at_its_leader() -> None:
    known = Facts.of(policies({}), replace(discovered(need(ONE, "ExternalTable", A)), followers=frozenset({A})))
    [finding] = rule("missing", known)
    assert "follows" in finding.fix.why_not


def test_the_system_identity_is_the_same_by_its_word_and_by_its_object_id() -> None:
    entry = Entry(ONE, ("ExternalTable",), is_system=True)
    for identity in (ONE, "system"):
        known = Facts.of(
            Snapshot({CLUSTER: None, A: Policy((entry,)), B: None}), discovered(need(identity, "ExternalTable", A))
        )
        assert found(known) == []


@pytest.mark.parametrize("place", ["cluster", "A"])
@pytest.mark.parametrize("usage", ["ExternalTable", "AutomatedFlows"])
def test_a_grant_is_unused_if_everything_that_would_show_its_use_was_read(place: str, usage: str) -> None:
    known = facts({place: {ONE: f"NativeIngestion, {usage}"}}, need(TWO, "NativeIngestion", A))
    [finding] = rule("unused", known)
    assert (finding.scope, finding.usage) == (PLACES[place], usage)
    assert {one.window for one in finding.evidence} == {"as of now"}
    fixed = after(known, finding)
    assert rule("unused", fixed) == []
    assert fixed.policies.grants(PLACES[place]) == {(ONE, "NativeIngestion")}


@pytest.mark.parametrize("place", ["cluster", "A"])
@pytest.mark.parametrize("usage", [one.name for one in USAGES if one.name not in {"ExternalTable", "AutomatedFlows"}])
def test_a_grant_that_cannot_be_proven_unused_is_never_unused(usage: str, place: str) -> None:
    known = facts({place: {ONE: usage}})
    assert rule("unused", known) == []
    if usage != "All" and not (usage == "SandboxArtifacts" and place == "A"):
        assert [(one.usage, bool(one.why)) for one in unproven(known)] == [(usage, True)]


@pytest.mark.parametrize("outcome", ["not permitted", "failed", "not read"])
@pytest.mark.parametrize(
    ("source", "usage"),
    [
        (EXTERNAL_TABLES, "ExternalTable"),
        *((name, "AutomatedFlows") for name in (UPDATE_POLICIES, ACCELERATION, EXPORTS)),
    ],
)
def test_a_source_that_was_not_read_proves_nothing(outcome: Outcome, source: str, usage: str) -> None:
    for place, is_unused in (("A", False), ("cluster", False), ("B", True)):
        known = Facts.of(policies({place: {ONE: usage}}), discovered(outcome=outcome, source=source))
        assert bool(rule("unused", known)) == is_unused


def test_masked_text_is_unknown_and_never_unused() -> None:
    hidden = need(None, "ExternalTable", A)
    for place, is_unused in (("A", False), ("cluster", False), ("B", True)):
        assert bool(rule("unused", facts({place: {ONE: "ExternalTable"}}, hidden))) == is_unused
    assert len(rule("unused", facts({"A": {ONE: "AutomatedFlows"}}, hidden))) == 1


def test_a_use_by_another_identity_or_in_another_database_does_not_count() -> None:
    uses = need(TWO, "ExternalTable", A), need(ONE, "ExternalTable", B), need(ONE, "AutomatedFlows", A)
    held: Held = {"A": {ONE: "ExternalTable, AutomatedFlows", TWO: "ExternalTable"}, "B": {ONE: "ExternalTable"}}
    assert found(facts(held, *uses)) == [("unused", "database A", ONE, "ExternalTable")]


def test_all_is_over_broad_and_what_may_be_needed_of_it_is_kept() -> None:
    known = facts({"A": {ONE: "All"}}, need(ONE, "ExternalTable", A))
    [finding] = rule("over-broad", known)
    assert finding.severity == "medium"
    fixed = after(known, finding)
    assert found(fixed) == []
    every = {one.name for one in USAGES} - {"All", "AutomatedFlows", "SandboxArtifacts"}
    assert {usage for _, usage in fixed.policies.grants(A)} == every


def test_all_at_the_cluster_is_more_severe_and_proven_uses_move_to_their_databases() -> None:
    uses = need(ONE, "ExternalTable", A), need(ONE, "AutomatedFlows", A), need(ONE, "AutomatedFlows", B)
    known = facts({"cluster": {ONE: "All"}}, *uses)
    [finding] = rule("over-broad", known)
    assert finding.severity == "high"
    fixed = after(known, finding)
    assert found(fixed) == []
    assert fixed.policies.grants(A) == {(ONE, "ExternalTable"), (ONE, "AutomatedFlows")}
    assert all(access(fixed.policies, ONE, one.usage, one.scope).allowed for one in uses)


def test_every_usage_by_name_is_not_over_broad() -> None:
    names = ", ".join(one.name for one in USAGES if one.name != "All")
    assert rule("over-broad", facts({"cluster": {ONE: names}})) == []


def test_a_cluster_grant_that_one_database_needs_is_narrow_and_moves_there() -> None:
    known = facts({"cluster": {ONE: "ExternalTable"}}, need(ONE, "ExternalTable", B))
    [finding] = rule("narrow", known)
    fixed = after(known, finding)
    assert found(fixed) == []
    assert fixed.policies.grants(B) == {(ONE, "ExternalTable")}
    assert fixed.policies.grants(CLUSTER) == frozenset()


@pytest.mark.parametrize(
    "uses",
    [
        (need(ONE, "ExternalTable", A), need(ONE, "ExternalTable", B)),
        (need(ONE, "ExternalTable", A), need(None, "ExternalTable", B)),
        (),
    ],
)
def test_a_grant_that_more_databases_need_or_may_need_is_not_narrow(uses: tuple[Need, ...]) -> None:
    assert rule("narrow", facts({"cluster": {ONE: "ExternalTable"}}, *uses)) == []


@pytest.mark.parametrize("usage", ["NativeIngestion", "ExportRequest", "SandboxArtifacts", "All"])
def test_what_cannot_be_proven_elsewhere_is_not_narrow(usage: str) -> None:
    assert rule("narrow", facts({"cluster": {ONE: usage}}, need(ONE, usage, A))) == []


@pytest.mark.parametrize(
    ("at_cluster", "at_database"), [("SqlRequest", "SqlRequest"), ("All", "SqlRequest"), ("All", "All")]
)
def test_a_usage_that_the_cluster_grants_is_redundant_at_a_database(at_cluster: str, at_database: str) -> None:
    known = facts({"cluster": {ONE: at_cluster}, "A": {ONE: at_database}})
    [finding] = rule("redundant", known)
    assert rule("redundant", after(known, finding)) == []
    assert access(after(known, finding).policies, ONE, "SqlRequest", A).allowed


@pytest.mark.parametrize(
    "held",
    [
        {"cluster": {ONE: "SqlRequest"}, "A": {ONE: "AzureAI"}},
        {"cluster": {TWO: "SqlRequest"}, "A": {ONE: "SqlRequest"}},
        {"cluster": {ONE: "SqlRequest"}, "A": {ONE: "All"}},
        {"A": {ONE: "SqlRequest"}, "B": {ONE: "SqlRequest"}},
        {"A": {ONE: "SqlRequest, All"}},
    ],
)
def test_other_grants_are_not_redundant(held: Held) -> None:
    assert rule("redundant", facts(held)) == []


@pytest.mark.parametrize("at_cluster", ["ExternalTable", "All"])
def test_of_two_grants_the_one_that_should_stay_is_not_redundant(at_cluster: str) -> None:
    held: Held = {"cluster": {ONE: at_cluster}, "A": {ONE: "ExternalTable"}}
    known = facts(held, need(ONE, "ExternalTable", A))
    [finding] = audit(known)
    assert finding.rule == {"ExternalTable": "narrow", "All": "over-broad"}[at_cluster]
    assert access(after(known, finding).policies, ONE, "ExternalTable", A).allowed


def test_a_cluster_only_usage_is_ineffective_at_a_database() -> None:
    held: Held = {"cluster": {ONE: "SandboxArtifacts"}, "A": {ONE: "SandboxArtifacts, SqlRequest"}}
    known = facts(held)
    assert found(known) == [("ineffective", "database A", ONE, "SandboxArtifacts")]
    assert found(after(known, audit(known)[0])) == []


def test_identities_that_are_not_assigned_are_orphans_and_their_uses_are_not_allowed() -> None:
    held: Held = {"A": {GONE: "ExternalTable", ONE: "SqlRequest"}}
    known = facts(held, need(GONE, "ExternalTable", A), assigned=[Identity(ONE)])
    assert found(known) == [("missing", "database A", GONE, "ExternalTable"), ("orphan", "database A", GONE, "")]
    [finding] = rule("orphan", known)
    assert len(finding.evidence) == 2
    fixed = after(known, finding)
    assert fixed.policies.grants(A) == {(ONE, "SqlRequest")}
    assert rule("orphan", fixed) == []


def test_without_the_list_of_assigned_identities_there_are_no_orphans() -> None:
    assert found(facts({"A": {GONE: "SqlRequest"}})) == []


def test_a_system_entry_is_an_orphan_if_its_object_id_is_not_the_current_one() -> None:
    old, new = (Entry(object_id, ("SqlRequest",), is_system=True) for object_id in (GONE, ONE))
    system = Identity(SYSTEM, is_system=True, principal_id=ONE)
    held = Snapshot({CLUSTER: Policy((old, new)), A: Policy((Entry(SYSTEM, ("SqlRequest",)),)), B: None})
    [finding] = rule("orphan", Facts.of(held, discovered(), [system]))
    assert (finding.identity, finding.scope) == (GONE, CLUSTER)
    assert finding.fix.edits == {CLUSTER: Policy((new,))}


def test_a_plan_that_revokes_omits_orphans_and_reports_it() -> None:
    known = facts({"A": {GONE: "SqlRequest", ONE: "ExternalTable"}}, assigned=[Identity(ONE)])
    [finding] = rule("unused", known)
    assert finding.fix.edits == {A: Policy.empty()}
    assert "not assigned" in finding.fix.note


@pytest.mark.parametrize(
    ("usage", "meant"),
    [
        ("ExternalTables", "ExternalTable"),
        ("AutomatedFlow", "AutomatedFlows"),
        ("External_Table", "ExternalTable"),
        ("Native Ingestion", "NativeIngestion"),
        ("FutureFlow", ""),
        ("ExternalData", ""),
        ("externaltable", ""),
        ("Allowed", ""),
    ],
)
def test_a_usage_is_misspelt_if_it_is_almost_a_known_one_and_unknown_otherwise(usage: str, meant: str) -> None:
    assert near(usage) == meant
    known = facts({"A": {ONE: usage}}, need(ONE, "ExternalTable", A), need(ONE, "AutomatedFlows", A))
    assert bool(rule("misspelt usage", known)) == bool(meant)
    assert bool(rule("unknown usage", known)) == (usage in {"FutureFlow", "ExternalData", "Allowed"})


def test_a_misspelt_usage_is_replaced_if_it_may_be_needed_and_dropped_otherwise() -> None:
    known = facts({"A": {ONE: "ExternalTables, SqlRequests"}})
    first, second = rule("misspelt usage", known)
    assert first.usage == "ExternalTables"
    assert after(known, first).policies.grants(A) == {(ONE, "SqlRequests")}
    assert after(known, second).policies.grants(A) == {(ONE, "ExternalTables"), (ONE, "SqlRequest")}


def test_an_unknown_usage_has_no_plan() -> None:
    [finding] = rule("unknown usage", facts({"A": {ONE: "FutureFlow"}}))
    assert finding.fix.edits is None
    assert finding.fix.why_not


def test_each_flow_that_impersonates_without_an_identity_is_a_separate_finding() -> None:
    gaps = tuple(Gap(A, f"continuous export {name}", (Evidence("a source", name),)) for name in ("E", "F"))
    known = Facts.of(policies({}), discovered(gaps=gaps))
    assert len({one.id for one in rule("impersonation", known)}) == 2
    assert all(one.fix.why_not for one in audit(known))


def test_an_id_stays_the_same_and_two_findings_never_share_one() -> None:
    held: Held = {name: dict.fromkeys((ONE, TWO), "All, ExternalTable, Strange") for name in PLACES}
    known = facts(held)
    ids = [one.id for one in audit(known)]
    assert len(set(ids)) == len(ids)
    assert ids == [one.id for one in audit(facts(held))]


def acceptance(**fields: str) -> Acceptance:
    given = {"rule": "unused", "scope": "database A", "identity": ONE, "usage": "ExternalTable"}
    return Acceptance(**{**given, "reason": "soon", "until": "2026-06-30", **fields})


@pytest.mark.parametrize(
    ("fields", "takes_out"),
    [
        ({}, 1),
        ({"identity": "MI-1", "scope": "Database a", "usage": "externaltable"}, 1),
        ({"until": "2026-06-01"}, 1),
        ({"until": "2026-05-31"}, 0),
        ({"rule": "narrow"}, 0),
        ({"scope": "cluster"}, 0),
        ({"identity": TWO}, 0),
        ({"identity": ""}, 0),
        ({"usage": ""}, 0),
    ],
)
def test_a_finding_is_accepted_by_its_rule_scope_identity_and_usage_until_a_day(
    fields: dict[str, str], takes_out: int
) -> None:
    known = facts({"A": {ONE: "ExternalTable"}})
    standing, accepted, expired = sorted_out(audit(known), [acceptance(**fields)], known, "2026-06-01")
    assert (len(standing), len(accepted)) == (1 - takes_out, takes_out)
    assert len(expired) == (fields.get("until") == "2026-05-31")


def whole(known: Facts, *acceptances: Acceptance) -> Audit:
    standing, accepted, expired = sorted_out(audit(known), acceptances, known, "2026-06-01")
    plans = {
        one.id: make_plan(known.policies, Snapshot(one.fix.edits)) for one in audit(known) if one.fix.edits is not None
    }
    more = tuple(unproven(known)), known.discovery.sources, (), known.assigned is not None
    return Audit("here", standing, accepted, expired, plans, *more)


def test_a_report_contains_every_finding_for_programs() -> None:
    held: Held = {"cluster": {ONE: "All"}, "A": {ONE: "ExternalTable, Odd\u202e", TWO: "ExternalTable"}}
    known = facts(held)
    found_ = whole(known, acceptance(identity=TWO))
    document = json.loads(auditreport.to_json(found_))
    assert [one["id"] for one in document["findings"]] == [one.id for one in found_.findings]
    assert [one["reason"] for one in document["accepted"]] == ["soon"]
    assert all(one["commands"] or one["why_not"] for one in document["findings"])
    assert all(one["source"] and one["window"] for row in document["findings"] for one in row["evidence"])


def test_a_sarif_log_has_what_the_format_asks_for() -> None:
    known = facts({"A": {ONE: "All", TWO: "ExternalTable"}}, need(ONE, "ExternalTable", B))
    log = json.loads(auditreport.to_sarif(whole(known, acceptance(identity=TWO)), "1.2.3"))
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [row["id"] for row in rules] == list(RULES)
    assert {row["level"] for row in run["results"]} <= {"error", "warning", "note"}
    assert all(rules[row["ruleIndex"]]["id"] == row["ruleId"] for row in run["results"])
    assert all(row["message"]["text"] for row in run["results"])
    assert ["suppressions" in row for row in run["results"]].count(True) == 1


def test_no_name_of_a_cluster_is_a_link_or_a_placeholder_in_a_sarif_log() -> None:
    name = "[fix](https://evil.example) [here](0) {0} \x1b[31m\u202e"
    log = auditreport.to_sarif(whole(facts({"A": {ONE: name}}), acceptance(identity=ONE, reason=name)), "1.2.3")
    messages = [row["message"]["text"] for row in json.loads(log)["runs"][0]["results"]]
    assert any("fix" in text for text in messages)
    for text in messages:
        assert not re.search(r"\[[^\]]*\]\(", text)
        assert text.count("{0}") == text.count("{{0}}")
        assert text.isprintable()


def test_a_page_lists_what_was_not_read_and_text_from_a_cluster_cannot_colour_it() -> None:
    held: Held = {"A": {ONE: "Odd\u202e\x1b[31m", TWO: "NativeIngestion"}}
    text = str(whole(facts(held)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "not read" in text
    assert "Not checked: orphans" in text
    assert "NativeIngestion: ingestion queued by an SDK" in text


def test_a_report_folds_the_evidence_and_the_commands_of_each_finding() -> None:
    found_ = whole(facts({"A": {ONE: "All"}}))
    [finding] = found_.findings
    [fold] = [block for block in found_.report().blocks if isinstance(block, Section) and block.folded]
    assert fold.title.split()[:3] == [finding.severity, finding.id, f"{finding.rule}:"]
    assert all(f"evidence: {one}" in found_.explain(finding) for one in finding.evidence)
    assert "evidence: " not in to_text(found_.report())
    assert found_.explain(finding) in to_text(found_.report(), unfold=True)


@pytest.mark.parametrize("count", [3, 300, 1000])
def test_findings_of_one_rule_and_identity_are_shown_together_with_every_database(count: int) -> None:
    names = [f"Db{number:03}" for number in range(count)]
    policy = Policy.empty().grant(ONE, "SandboxArtifacts")
    known = Facts(Snapshot({CLUSTER: None, **dict.fromkeys(map(Scope.database, names), policy)}), discovered())
    found_ = whole(known)
    assert len(found_.findings) == count
    text, page, markdown = (show(found_.report()) for show in (to_text, to_html, to_markdown))
    assert (f"medium  ineffective: {count:,} findings of {ONE}:" in text) == (count > 3)
    assert (f"  SandboxArtifacts in {', '.join(names)}\n" in text) == (count > 3)
    assert len(to_text(found_.report(), at_most=1000).splitlines()) <= 24
    for shown in (page, markdown, to_text(found_.report(), unfold=True)):
        assert all(name in shown for name in names)
        assert all(one.id in shown for one in found_.findings)
    assert len(json.loads(auditreport.to_json(found_))["findings"]) == count


def test_the_worst_findings_come_first_then_those_that_affect_most() -> None:
    held: Held = {
        "cluster": {GONE: "All"},
        "A": {ONE: "ExternalTable", TWO: "ExternalTable"},
        "B": {TWO: "ExternalTable"},
    }
    found_ = whole(facts(held))
    groups = grouped(found_.findings)
    order = [(SEVERITIES.index(group[0].severity), -len(group)) for group in groups]
    assert order == sorted(order)
    assert sorted(one.id for group in groups for one in group) == sorted(one.id for one in found_.findings)
    assert max(map(len, groups)) == 2


def test_a_finding_is_found_by_the_beginning_of_its_id() -> None:
    found_ = whole(facts({"A": {ONE: "All", TWO: "All"}}))
    one, two = found_.findings
    assert found_.finding(one.id) == one
    assert found_.finding(two.id[:5].upper()) == two
    with pytest.raises(InputError, match="2 findings"):
        found_.finding("f")
    with pytest.raises(InputError, match="no finding 'x'"):
        found_.finding("x")
    assert [len(found_.worst(one)) for one in ("high", "medium", "low")] == [0, 2, 2]
