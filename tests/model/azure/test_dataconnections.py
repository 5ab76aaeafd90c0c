"""Tests of what data connections of every kind need, and of what cannot be determined about them."""

from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import DataConnection, needs, verdict
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.uses.needs import DATA_CONNECTIONS, Discovery, Source

CLUSTER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Kusto/Clusters/c"
GUID = "11111111-2222-3333-4444-555555555555"
OWN = "99999999-2222-3333-4444-555555555555"
LOADER = Identity(ObjectId(GUID), "loader", principal_id=GUID, resource_id="/subscriptions/s/loader")
SELF = Identity(SYSTEM, "c", is_system=True, principal_id=OWN)
D, OTHER = Scope.database("D"), Scope.database("Other")


def connection(kind: str = "EventHub", identity: str = "/Subscriptions/s/LOADER", **more: object) -> DataConnection:
    return DataConnection("dc", "D", kind, "T", identity, **more)  # type: ignore[arg-type]


def assigned(*identities: Identity) -> Directory:
    return Directory().assigning(identities)


def test_the_identity_is_found_by_resource_id_in_any_letter_case_or_by_object_id() -> None:
    known = assigned(SELF, LOADER)
    assert connection().runs_as(known, CLUSTER) == LOADER
    assert connection(identity=CLUSTER.upper()).runs_as(known, CLUSTER) == SELF
    assert connection(identity="", principal=OWN).runs_as(known, CLUSTER) == SELF
    assert connection(identity="/subscriptions/s/other").runs_as(known, CLUSTER) is None
    assert connection(identity="").runs_as(assigned(Identity(SYSTEM, "c", is_system=True)), CLUSTER) is None


def test_a_data_connection_with_a_key_needs_nothing() -> None:
    by_key = connection(kind="IotHub", identity="")
    assert list(needs([by_key], assigned(LOADER), CLUSTER)) == []
    assert verdict(by_key, Facts(Snapshot(), Discovery(), (LOADER,)), CLUSTER).allowed is None


def test_inferred_kinds_are_labelled_and_so_are_unknown_ones() -> None:
    found = {
        kind: next(needs([connection(kind=kind)], assigned(LOADER), CLUSTER))
        for kind in ("EventHub", "CosmosDb", "New")
    }
    assert {kind: need.evidence[0].inferred for kind, need in found.items()} == {
        "EventHub": False,
        "CosmosDb": True,
        "New": True,
    }
    assert {need.identity for need in found.values()} == {GUID}


def test_a_data_connection_that_routes_leaves_doubt_in_every_other_database() -> None:
    found = list(needs([connection(routes=True)], assigned(LOADER), CLUSTER, ["d", "Other"]))
    assert [(one.identity, one.scope) for one in found] == [(GUID, D), (None, OTHER)]
    read = [Source(DATA_CONNECTIONS, name, "read") for name in ("D", "Other")]
    discovery = Discovery((D, OTHER)).learning(DATA_CONNECTIONS, read, found)
    assert discovery.doubt("DataConnection", D) == ""
    assert "the database that the event names" in discovery.doubt("DataConnection", OTHER)
    assert Discovery((D, OTHER)).learning(DATA_CONNECTIONS, read, found[:1]).doubt("DataConnection", OTHER) == ""


def test_the_policy_of_a_database_or_the_cluster_decides_and_an_orphan_is_never_allowed() -> None:
    granted = Policy.empty().grant(GUID, "DataConnection")
    facts = Facts(Snapshot({Scope.cluster(): None, D: granted}), Discovery(), (LOADER,))
    assert verdict(connection(), facts, CLUSTER).allowed
    gone = Facts(facts.policies, Discovery(), (SELF,))
    assert verdict(connection(principal=GUID), gone, CLUSTER).allowed is False
    unread = Facts(Snapshot({D: Policy.empty()}), Discovery(), (LOADER,))
    assert verdict(connection(), unread, CLUSTER).allowed is None
