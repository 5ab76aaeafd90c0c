"""Tests of data connections: listed with the verdict of the policies, created as planned, and read by discovery."""

import json

import pytest
from azure.mgmt.kusto import KustoManagementClient

from kqlmi.errors import ApplyError, InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.azure.connectionplan import ConnectionPlan
from kqlmi.model.entities import Scope
from kqlmi.session import Session
from tests.arm.conftest import Connect, unassign_by_hand
from tests.safety.proxy import Exchange, Proxy

SAMPLES = Scope.database("Samples")


@pytest.fixture
def ready(cluster: LocalCluster, session: Session) -> Session:
    """A session on a cluster with a table, in which loader and system may be used for data connections."""
    session.run(".create table T (a: string)", "Samples")
    for one in ("system", object_id(cluster, "loader")):
        session.apply(session.grant(one, "DataConnection", databases=["Samples"]))
    return session


def object_id(cluster: LocalCluster, name: str) -> str:
    return next(one.object_id for one in cluster.identities if one.display_name == name)


def planned(cluster: LocalCluster, session: Session, identity: str, name: str = "dc") -> ConnectionPlan:
    hub = cluster.hub("ns", "hub").resource_id
    return session.connect_eventhub(name, hub=hub, table="T", identity=identity, database="samples", data_format="json")


@pytest.mark.parametrize("identity", ["system", "loader"])
def test_a_data_connection_is_created_as_shown_and_listed_with_its_verdict(
    cluster: LocalCluster, ready: Session, identity: str
) -> None:
    plan = planned(cluster, ready, identity)
    assert json.dumps(plan.body, indent=2) in str(plan)
    assert plan.body["kind"] == "EventHub"
    assert "Azure Event Hubs Data Receiver" in str(plan)
    assert [one.state for one in plan.gates] == ["done", "done", "not done", "done"]
    ready.apply(plan)
    [(one, who, access)] = ready.data_connections().connections
    assert (one.name, one.database, one.kind, one.table) == ("dc", "Samples", "EventHub", "T")
    assert one.stream == cluster.hub("ns", "hub").resource_id
    assert who is not None
    assert who.object_id == (identity if identity == "system" else object_id(cluster, "loader"))
    assert access.allowed
    with pytest.raises(ApplyError, match=r"A data connection 'dc' already exists.*Nothing was sent") as caught:
        ready.apply(plan)
    assert caught.value.outcome == "not applied"


def test_without_the_grant_the_plan_says_so_and_prints_it(cluster: LocalCluster, ready: Session) -> None:
    plan = planned(cluster, ready, "exporter")
    exporter = object_id(cluster, "exporter")
    assert plan.gates[1].state == "not done"
    assert f"%kqlmi grant {exporter} DataConnection --database=Samples --on=here" in str(plan)
    with pytest.raises(ApplyError, match="may not be used for DataConnection") as caught:
        ready.apply(plan)
    assert caught.value.outcome == "not applied"


def test_wrong_names_are_refused_before_anything_is_planned(cluster: LocalCluster, ready: Session) -> None:
    hub = cluster.hub("ns", "hub").resource_id
    for name in ("", "../../x", "a?b", "a\nb"):
        with pytest.raises(InputError, match="not a valid name for a data connection"):
            ready.connect_eventhub(name, hub=hub, table="T", identity="system", database="Samples")
    for wrong in (f"{hub}/../../x", f"{hub}\n", "/subscriptions/x/eventhubs/"):
        with pytest.raises(InputError, match="not the resource ID of an event hub"):
            ready.connect_eventhub("dc", hub=wrong, table="T", identity="system", database="Samples")
    with pytest.raises(InputError, match="Did you mean csv"):
        ready.connect_eventhub("dc", hub=hub, table="T", identity="system", database="Samples", data_format="csw")
    with pytest.raises(InputError, match="not the resource ID of an event hub"):
        ready.connect_eventhub("dc", hub="hub", table="T", identity="system", database="Samples")
    with pytest.raises(InputError, match="No database is specified"):
        ready.connect_eventhub("dc", hub=hub, table="T", identity="system")
    with pytest.raises(InputError, match=r"Database 'Sample' does not exist.*Did you mean Samples"):
        ready.connect_eventhub("dc", hub=hub, table="T", identity="system", database="Sample")
    with pytest.raises(InputError, match="Identity 'nobody' is not assigned"):
        ready.connect_eventhub("dc", hub=hub, table="T", identity="nobody", database="Samples")


def test_a_lost_answer_is_resolved(cluster: LocalCluster, ready: Session, connect: Connect) -> None:
    def lost(exchange: Exchange) -> None:
        exchange.forward()
        exchange.reset()

    proxy = Proxy(cluster.url)
    proxy.fail(1, lost)
    with proxy:
        session = connect(base_url=proxy.url)
        session.apply(planned(cluster, session, "system"))
        assert proxy.writes == ["PUT"]
    assert [one.name for one, _, _ in ready.data_connections().connections] == ["dc"]


def test_a_data_connection_is_evidence_for_audit_tighten_and_impact(cluster: LocalCluster, ready: Session) -> None:
    loader = object_id(cluster, "loader")
    assert {(one.identity, one.usage) for one in ready.audit().findings if one.rule == "unused"} == {
        *(("system", "DataConnection"), (loader, "DataConnection"))
    }
    ready.apply(planned(cluster, ready, "loader"))
    found = ready.audit()
    assert found.knows_assigned
    assert [one.identity for one in found.findings if one.rule == "unused"] == ["system"]
    assert "Not checked" not in str(found)
    plan = ready.tighten().plan
    assert [(one.kind, one.identity) for one in plan.changes] == [("revoke", "system")]
    reported = str(ready.impact(ready.revoke(loader, "DataConnection", databases=["Samples"])))
    assert "Would stop: " in reported
    assert "data connection dc (Event Hubs data connection), into table T" in reported
    assert "data connection dc" in str(ready.impact(ready.unassign("loader")))
    ready.apply(ready.revoke(loader, "DataConnection", databases=["Samples"]))
    [one] = [one for one in ready.audit().findings if one.rule == "missing"]
    assert (one.identity, one.usage, one.severity) == (loader, "DataConnection", "high")


def test_a_data_connection_of_an_identity_that_is_not_assigned_is_reported(
    cluster: LocalCluster, ready: Session
) -> None:
    ready.apply(planned(cluster, ready, "loader"))
    unassign_by_hand(cluster, "loader")
    [(one, who, access)] = ready.data_connections().connections
    assert (one.name, who) == ("dc", None)
    assert (access.allowed, access.reason) == (False, "its identity is not assigned to the cluster")
    assert {one.rule for one in ready.audit().findings} >= {"orphan", "missing"}


@pytest.mark.parametrize("role", ["none", "unreachable"])
def test_if_azure_may_not_be_read_that_is_reported_once_and_the_rest_works(
    cluster: LocalCluster, ready: Session, connect: Connect, role: str
) -> None:
    assert ready.assigned()
    options = (
        cluster.arm_options_for("none") if role == "none" else {"base_url": "http://127.0.0.1:9", "retry_total": 0}
    )
    session = connect(**options)
    page = str(session.audit())
    assert page.count("did not list the assigned identities") == 1
    assert "Not checked: orphans, because Azure Resource Manager did not list" in page
    outcome = "not permitted" if role == "none" else "failed"
    assert f"data connections (Azure Resource Manager): {outcome}" in page
    assert "DataConnection: data connections" in page
    found = session.identities()
    assert len(found.notes) == 1
    assert {one.assigned for one in found.identities} == {None}
    assert len(found.identities) == 2
    assert session.tighten().why_not_assigned


def test_the_stand_in_refuses_what_the_client_sends_without_kind(cluster: LocalCluster, ready: Session) -> None:
    body = planned(cluster, ready, "system").body
    del body["kind"]
    with (
        KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client,
        pytest.raises(Exception, match="'kind'"),
    ):
        client.data_connections.begin_create_or_update(cluster.resource_group, cluster.name, "Samples", "dc", body)
