import pytest

from kqlmi.model.entities import Scope
from kqlmi.model.policy.access import access, effect
from kqlmi.model.policy.policy import Policy, Snapshot
from tests.model.policy.test_policy import LOADER

DATABASE, CLUSTER = Scope.database("Samples"), Scope.cluster()


def snapshot(cluster: str, database: str) -> Snapshot:
    def policy(usages: str) -> Policy | None:
        return Policy.empty().grant(LOADER, *usages.split()) if usages else None

    return Snapshot({CLUSTER: policy(cluster), DATABASE: policy(database)})


@pytest.mark.parametrize(
    ("cluster", "database", "usage", "allowed", "reason"),
    [
        ("", "", "ExternalTable", False, "cluster does not grant"),
        ("", "ExternalTable", "externaltable", True, "database Samples grants ExternalTable"),
        ("ExternalTable", "", "ExternalTable", True, "cluster grants ExternalTable"),
        ("", "All", "ExternalTable", True, "grants All, which covers ExternalTable"),
        ("All", "", "SandboxArtifacts", True, "cluster grants All"),
        ("", "SandboxArtifacts All", "SandboxArtifacts", False, "only in the cluster's policy"),
        ("", "All", "FutureFlow", True, "All"),
    ],
)
def test_the_policies_add_up(cluster: str, database: str, usage: str, allowed: bool, reason: str) -> None:  # noqa: FBT001
    found = access(snapshot(cluster, database), LOADER, usage, DATABASE)
    assert found.allowed is allowed
    assert reason in found.reason


def test_an_answer_begins_with_whether_it_is_allowed() -> None:
    assert str(access(snapshot("", ""), LOADER, "AzureAI", DATABASE)).startswith(
        "Not allowed: the policy of the database"
    )
    assert str(access(snapshot("All", ""), LOADER, "AzureAI", DATABASE)).startswith(
        "Allowed: the policy of the cluster"
    )
    assert str(access(Snapshot(), LOADER, "AzureAI", DATABASE)).startswith("Not known: the policy of the")


def test_an_unread_policy_does_not_count_as_a_refusal() -> None:
    found = access(Snapshot({DATABASE: None}), LOADER, "ExternalTable", DATABASE)
    assert found.allowed is None
    assert "the policy of the cluster was not read" in found.reason


@pytest.mark.parametrize(
    ("cluster", "database", "usage", "expected"),
    [
        ("", "ExternalTable", "ExternalTable", "effective"),
        ("ExternalTable", "ExternalTable", "ExternalTable", "redundant"),
        ("", "ExternalTable All", "ExternalTable", "redundant"),
        ("All", "All", "All", "redundant"),
        ("", "ExternalTable All", "All", "effective"),
        ("All", "SandboxArtifacts", "SandboxArtifacts", "without effect"),
    ],
)
def test_a_grant_reports_what_it_adds_to_the_others(cluster: str, database: str, usage: str, expected: str) -> None:
    assert effect(snapshot(cluster, database), DATABASE, LOADER, usage) == expected
