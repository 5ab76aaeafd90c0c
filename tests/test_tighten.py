"""Tests of the smallest policies that keep everything running that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kqlmi.model.entities import Scope
from tests.audited import DATABASES, NEEDED, WORKERS, Busy, start

CLUSTER, SAMPLES, OTHER = Scope.cluster(), Scope.database("Samples"), Scope.database("Other")


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    folder = tmp_path / "container"
    folder.mkdir()
    with start(("spare", "both")) as cluster:
        held = Busy(cluster, folder)
        held.furnish()
        yield held
        held.close()


def grants(busy: Busy, scope: Scope) -> set[tuple[str, str]]:
    names = {object_id: name for name, object_id in busy.ids.items()}
    policy = busy.session.policy(scope)
    return {(names.get(identity, identity), usage) for identity, usage in (policy.grants if policy else ())}


def give_all(busy: Busy) -> None:
    for name in (*WORKERS, "spare", "both"):
        for database in ("", *DATABASES):
            busy.grant(name, "All", database)


def test_nothing_is_proposed_if_each_grant_is_used(busy: Busy) -> None:
    busy.work(slow=True)
    found = busy.session.tighten()
    assert found.plan.steps == ()
    assert len(found.reasons.kept) == len(NEEDED)


def test_a_cluster_full_of_all_is_tightened_and_every_workflow_still_runs(busy: Busy) -> None:
    give_all(busy)
    busy.work(slow=True)
    found = busy.session.tighten()
    assert busy.session.apply(found.plan).outcome == "applied"
    busy.work(slow=True)
    left = {scope: grants(busy, scope) for scope in map(Scope.database, DATABASES)}
    provable = {"ExternalTable", "AutomatedFlows"}
    assert {pair for held in left.values() for pair in held} == {
        (name, usage) for name, places in NEEDED.items() for usage in places.values() if usage in provable
    }
    at_cluster = grants(busy, CLUSTER)
    assert {usage for _, usage in at_cluster} == {
        *("NativeIngestion", "DataConnection", "SandboxArtifacts", "ExternalDataRequest", "ExportRequest"),
        *("SqlRequest", "AzureAI"),
    }
    assert busy.session.tighten().plan.steps == ()


def test_each_kept_or_revoked_grant_has_its_reason(busy: Busy) -> None:
    give_all(busy)
    busy.grant("spare", "ExternalTable", "Samples")
    found = busy.session.tighten()
    text = str(found.reasons)
    assert (
        f"Keep:   reader ({busy.ids['reader']}) ExternalTable in the policy of the database Samples: external table T"
        in text
    )
    assert "NativeIngestion in the policy of the cluster: cannot be proven unused" in text
    assert (
        f"Revoke: spare ({busy.ids['spare']}) ExternalTable in the policy of the database Samples: no use in Samples"
        in text
    )
    assert "All in the policy of the cluster: the usages to keep are granted by name" in text
    changed = {(one.scope, one.identity, one.usage) for one in found.plan.changes if one.kind == "revoke"}
    assert changed == {(one.scope, one.identity, one.usage) for one in found.reasons.revoked}


def test_unproven_grants_are_revoked_only_if_requested(busy: Busy) -> None:
    give_all(busy)
    busy.work(slow=True)
    busy.grant("spare", "All", "Samples")
    found = busy.session.tighten(also_unproven=True)
    revoked = f"Revoke: spare ({busy.ids['spare']}) All in the policy of "
    lines = [line for line in str(found.reasons).splitlines() if line.startswith(revoked)]
    assert any("databases: no use of it was seen (" in line and "Samples" in line for line in lines)
    busy.session.apply(found.plan)
    assert grants(busy, CLUSTER) == {("artist", "SandboxArtifacts")}
    assert grants(busy, OTHER) == set()
    # Uses that leave no trace in the cluster are lost; everything that was found still runs.
    assert grants(busy, SAMPLES) == {
        (name, places["Samples"]) for name, places in NEEDED.items() if "Samples" in places and name != "receiver"
    }
    busy.work()


def test_a_use_in_two_databases_is_granted_in_both_and_not_at_the_cluster(busy: Busy) -> None:
    busy.grant("both", "ExternalTable, NativeIngestion, FutureFlow")
    busy.grant("both", "NativeIngestion, SandboxArtifacts, FutureFlow", "Other")
    for database in ("Samples", "Other"):
        busy.external("Both", busy.where("both", "in"), database)
    busy.session.apply(busy.session.tighten().plan)
    assert {pair for pair in grants(busy, CLUSTER) if pair[0] == "both"} == {
        ("both", "NativeIngestion"),
        ("both", "FutureFlow"),
    }
    assert grants(busy, OTHER) == {("both", "ExternalTable")}
    assert busy.run("external_table('Both')", "Other") == [["x", 1], ["y", 2]]


def test_a_database_with_an_undetermined_identity_keeps_its_grant(busy: Busy) -> None:
    busy.grant("spare", "ExternalTable")
    busy.external("Veiled", "h'https://acct.blob.core.windows.net/data/in'", "Third")
    busy.session.apply(busy.session.tighten().plan)
    assert ("spare", "ExternalTable") in grants(busy, Scope.database("Third"))
    assert ("spare", "ExternalTable") not in grants(busy, CLUSTER) | grants(busy, SAMPLES) | grants(busy, OTHER)


def test_the_objects_of_unassigned_identities_are_removed(busy: Busy) -> None:
    busy.grant("spare", "ExternalTable, NativeIngestion", "Other")
    busy.grant("both", "NativeIngestion, ExternalTable", "Other")
    busy.unassign("spare")
    busy.session.apply(busy.session.tighten(assigned=busy.assigned()).plan)
    assert grants(busy, OTHER) == {("both", "NativeIngestion")}


def test_a_user_who_may_not_read_every_policy_may_not_tighten(busy: Busy) -> None:
    import kqlmi

    token = busy.cluster.token_for("viewer", database="Samples")
    with (
        kqlmi.connect(busy.cluster.url, token=token, history=False) as session,
        pytest.raises(kqlmi.KqlmiError, match="Cannot read the policy of the cluster"),
    ):
        session.tighten()
