"""Tests of the lines that stand for several databases: every database is named once, and scopes of their own stay apart."""

from kqlmi.model.audit.findings import Reason
from kqlmi.model.audit.tighten import Tightened
from kqlmi.model.entities import Scope, by_place
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.edits import still_allowed
from kqlmi.model.policy.policy import Policy, Snapshot

A, B, CLUSTER = Scope.database("A"), Scope.database("B"), Scope.cluster()


def test_a_key_is_yielded_once_with_all_of_its_databases_and_apart_from_the_cluster() -> None:
    found = [*by_place([("x", A), ("y", A), ("x", CLUSTER), ("x", B), ("x", Scope.database("a"))])]
    assert found[1:] == [("y", "the database A", ""), ("x", "the cluster", "")]
    key, place, names = found[0]
    assert key == "x"
    assert place.split()[1] == "databases"
    assert "A, B" in names


def test_a_database_whose_name_could_be_two_is_quoted() -> None:
    assert [*by_place([("x", A), ("x", Scope.database("B, C"))])] == [("x", "2 databases", " (A, 'B, C')")]


def test_the_reasons_for_three_hundred_databases_are_a_line_for_each_that_differs() -> None:
    scopes = [Scope.database(f"D{place:03}") for place in range(300)]
    kept = tuple(Reason(scope, "one", "ExternalTable", "it is not known") for scope in scopes)
    revoked = (Reason(A, "one", "SqlRequest", "nothing uses it"),)
    first, last = str(Tightened({}, kept, revoked, {"one": "loader"})).splitlines()
    assert first.startswith(
        "Keep:   loader ExternalTable in the policy of 300 databases: it is not known (D000, D001, "
    )
    assert all(str(scope.name) in first for scope in scopes)
    assert last == "Revoke: loader SqlRequest in the policy of the database A: nothing uses it"


def test_what_stays_allowed_in_several_databases_is_one_line_with_all_of_them() -> None:
    one = "11111111-2222-3333-4444-555555555555"
    scopes = (A, B)
    current = Snapshot(dict.fromkeys(scopes, Policy.empty().grant(one, "All")))
    plan = make_plan(current, current)
    why = "grants All, which covers SqlRequest"
    assert still_allowed(current, plan, one, ["SqlRequest"], ["A"]) == (
        f"SqlRequest in the database A, because the policy of the database A {why}.",
    )
    assert still_allowed(current, plan, one, ["SqlRequest"], ["A", "B"]) == (
        f"SqlRequest in 2 databases, because the policy of each {why} (A, B).",
    )
