"""Tests of policies and access as rows."""

from typing import Any

import pytest

from kqlmi.errors import PolicyError
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.plan.listing import access_matrix, access_rows, marks, policy_rows
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.report import Rows
from tests.model.policy.test_policy import EXPORTER, LOADER

SNAPSHOT = Snapshot(
    {
        Scope.cluster(): Policy.empty().grant(LOADER, "All"),
        Scope.database("A"): Policy.empty().grant(SYSTEM, "SandboxArtifacts", "AzureAI").grant(LOADER, "AzureAI"),
        Scope.database("B"): None,
    }
)


def records(rows: Rows) -> list[dict[str, Any]]:
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]


def test_a_policy_has_a_row_for_each_identity_of_each_scope() -> None:
    rows = records(policy_rows(SNAPSHOT))
    assert [(row["scope"], row["object_id"], row["is_system"]) for row in rows] == [
        ("cluster", LOADER, False),
        ("database A", SYSTEM, True),
        ("database A", LOADER, False),
    ]
    assert sorted(rows[1]["usages"]) == ["AzureAI", "SandboxArtifacts"]
    assert [row["without_effect"] for row in rows] == [[], ["SandboxArtifacts"], []]


def test_access_lists_all_allowed_usages_or_the_requested_one() -> None:
    rows = access_rows(SNAPSHOT, "", "AzureAI", ["A", "B"], {LOADER: "mi"}).rows
    assert [row[:5] for row in rows] == [
        ("A", "mi", LOADER, "AzureAI", True),
        ("A", "", SYSTEM, "AzureAI", True),
        ("B", "mi", LOADER, "AzureAI", True),
    ]
    [row] = access_rows(SNAPSHOT, EXPORTER, "AzureAI", ["B"]).rows
    assert row[4] is False
    with pytest.raises(PolicyError, match="Nope"):
        access_rows(SNAPSHOT, "", "Nope", ["A"])


def test_access_lists_a_usage_that_only_one_policy_knows_and_reads_all_policies_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = {Scope.database(f"D{place}"): Policy.empty().grant(LOADER, "AzureAI") for place in range(300)}
    last = Policy.empty().grant(EXPORTER, "FutureFlow", also=["FutureFlow"])
    snapshot = Snapshot({**many, Scope.database("Last"): last})
    asked: list[Scope] = []
    start = Draft.start

    def counted(read: Snapshot, scope: Scope) -> Draft:
        asked.append(scope)
        return start(read, scope)

    monkeypatch.setattr(Draft, "start", counted)
    rows = access_rows(snapshot, "", "", [str(scope.name) for scope in snapshot.policies]).rows
    assert len(rows) == 301
    assert rows[-1][:5] == ("Last", "", EXPORTER, "FutureFlow", True)
    assert len(asked) == 1


def test_the_matrix_shows_in_each_cell_how_a_usage_is_allowed() -> None:
    first, second, *_ = records(access_matrix(SNAPSHOT, "", "", ["A"]))
    assert (first["display_name"], first["AzureAI"], first["SandboxArtifacts"]) == (
        "system",
        "granted",
        "no effect here",
    )
    assert second["AzureAI"] == "redundant, through All at the cluster"
    [only] = access_matrix(SNAPSHOT, LOADER, "AzureAI", ["B"]).rows
    assert only == ("B", "(no name)", LOADER, "through All at the cluster")


def test_the_matrix_omits_a_former_system_identity_unless_requested() -> None:
    old = "7b574bf6-2b96-580c-a411-e28963900e20"
    policy = Policy.parse(f'[{{"ObjectId": "{old}", "AllowedUsages": "AzureAI", "IsSystem": true}}]')
    snapshot = Snapshot({Scope.database("A"): policy}).marking(frozenset({old}))
    assert snapshot.earlier == {old}
    assert access_matrix(snapshot, "", "AzureAI", ["A"]).rows == ()
    [row] = access_matrix(snapshot, old, "AzureAI", ["A"]).rows
    assert row[-1] == ""


def test_marks_reflect_the_policies_that_were_read_and_not_ticks() -> None:
    draft = Draft.start(SNAPSHOT, Scope.database("B")).tick(SYSTEM, "AzureAI")
    assert {name: cells["AzureAI"] for name, _, cells in marks(draft)} == {
        SYSTEM: "",
        LOADER: "through All at the cluster",
    }
