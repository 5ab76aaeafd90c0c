"""Tests of the Azure Resource Manager routes and their strictness, with Azure's own clients."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from azure.mgmt.kusto import KustoManagementClient
from azure.mgmt.kusto.models import ClusterUpdate, EventHubDataConnection
from azure.mgmt.kusto.models import Identity as IdentityBlock
from azure.mgmt.msi import ManagedServiceIdentityClient

from kqlmi.local.cluster import LocalCluster
from tests.local.conftest import Client

BOTH = "SystemAssigned, UserAssigned"
API = "api-version=2025-02-14"


class Arm:
    """Azure's clients for the cluster's resource group."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster, self.place = cluster, (cluster.resource_group, cluster.name)
        self.kusto = KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options)
        self.msi = ManagedServiceIdentityClient(subscription_id=cluster.subscription_id, **cluster.arm_options)

    def identity(self) -> dict[str, Any]:
        block: Any = self.kusto.clusters.get(*self.place).identity
        return dict(block.as_dict())

    def assign(self, kind: str, users: dict[str, Any] | None = None) -> dict[str, Any]:
        block = {"type": kind} if users is None else {"type": kind, "userAssignedIdentities": users}
        changed: Any = self.kusto.clusters.begin_update(*self.place, {"identity": block}).result()
        return dict(changed.identity.as_dict())

    def create(self, name: str) -> Any:
        return self.msi.user_assigned_identities.create_or_update(self.place[0], name, {"location": "local"})

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """Send a request that no client would send, and return its status and body."""
        held = self.cluster.arm_options["credential"].get_token().token if token is None else token
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {held}"} if held else {})
        data = None if body is None else json.dumps(body).encode()
        url = self.cluster.url + path
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture
def arm(cluster: LocalCluster) -> Iterator[Arm]:
    clients = Arm(cluster)
    yield clients
    clients.kusto.close()
    clients.msi.close()


def names(cluster: LocalCluster) -> list[str]:
    return [one.display_name for one in cluster.identities]


def test_the_cluster_and_its_identities_are_shown(arm: Arm, cluster: LocalCluster) -> None:
    shown: Any = arm.kusto.clusters.get(*arm.place)
    assert (shown.id, shown.uri, shown.data_ingestion_uri) == (cluster.resource_id, cluster.url, cluster.ingest_url)
    assert [one.name for one in arm.kusto.clusters.list_by_resource_group(arm.place[0])] == [cluster.name]
    system, loader, exporter = cluster.identities
    block = arm.identity()
    assert (block["type"], block["principalId"]) == (BOTH, system.object_id)
    users = {place.rpartition("/")[2]: one for place, one in block["userAssignedIdentities"].items()}
    assert users["loader"] == {"principalId": loader.object_id, "clientId": loader.client_id}
    assert users.keys() == {"loader", exporter.display_name}


def test_identities_are_created_listed_and_deleted(arm: Arm, cluster: LocalCluster) -> None:
    made = arm.create("new one")
    assert arm.create("new one").principal_id == made.principal_id
    for listed in (
        arm.msi.user_assigned_identities.list_by_resource_group(arm.place[0]),
        arm.msi.user_assigned_identities.list_by_subscription(),
    ):
        assert [one.name for one in listed] == ["loader", "exporter", "new one"]
    assert arm.msi.user_assigned_identities.get(arm.place[0], "new one").client_id == made.client_id
    assert names(cluster) == ["system", "loader", "exporter"]
    arm.msi.user_assigned_identities.delete(arm.place[0], "new one")
    arm.msi.user_assigned_identities.delete(arm.place[0], "loader")
    arm.msi.user_assigned_identities.delete(arm.place[0], "never")
    assert names(cluster) == ["system", "exporter"]
    with pytest.raises(ResourceNotFoundError):
        arm.msi.user_assigned_identities.get(arm.place[0], "new one")


def test_an_assigned_identity_can_be_granted_and_an_unassigned_one_stays_as_an_orphan(
    arm: Arm, cluster: LocalCluster, client: Client
) -> None:
    made = arm.create("newcomer")
    grant = json.dumps([{"ObjectId": made.principal_id, "AllowedUsages": "ExternalTable"}])
    text = f".alter-merge database Samples policy managed_identity '{grant}'"
    assert "not assigned" in client.refusal(text).description
    arm.assign(BOTH, {made.id: {}})
    assert names(cluster) == ["system", "loader", "exporter", "newcomer"]
    client.mgmt(text)
    arm.assign(BOTH, {made.id: None})
    assert made.principal_id in client.policy("database Samples")
    assert "not assigned" in client.refusal(text).description


def test_the_system_identity_has_another_object_id_each_time(arm: Arm, cluster: LocalCluster) -> None:
    first = cluster.identities[0].object_id
    off = arm.assign("UserAssigned")
    assert off["type"] == "UserAssigned"
    assert "principalId" not in off
    on = arm.assign(BOTH)
    assert on["principalId"] == cluster.identities[0].object_id != first
    assert arm.assign(BOTH)["principalId"] == on["principalId"]


def test_the_type_names_what_remains(arm: Arm, cluster: LocalCluster) -> None:
    assert "userAssignedIdentities" not in arm.assign("SystemAssigned")
    assert names(cluster) == ["system"]
    made = arm.create("newcomer")
    assert arm.assign("UserAssigned", {made.id: {}})["type"] == "UserAssigned"
    assert names(cluster) == ["newcomer"]
    assert arm.assign("None") == {"type": "None"}
    assert cluster.identities == ()


def test_a_model_of_the_client_does_the_same(arm: Arm, cluster: LocalCluster) -> None:
    made = arm.create("newcomer")
    users: Any = {made.id: {}}
    block = IdentityBlock(type="UserAssigned", user_assigned_identities=users)
    arm.kusto.clusters.begin_update(*arm.place, ClusterUpdate(identity=block)).wait()
    assert "newcomer" in names(cluster)


def test_an_update_of_anything_else_is_refused(arm: Arm, cluster: LocalCluster) -> None:
    before = cluster.identities
    with pytest.raises(HttpResponseError, match="'tags'"):
        arm.kusto.clusters.begin_update(*arm.place, ClusterUpdate(tags={"a": "b"})).wait()
    arm.kusto.clusters.begin_update(*arm.place, ClusterUpdate(location="local")).wait()
    assert cluster.identities == before


def test_an_update_is_accepted_first_and_followed(arm: Arm, cluster: LocalCluster) -> None:
    status, body = arm.ask("PATCH", f"{cluster.resource_id}?{API}", {"identity": {"type": "UserAssigned"}})
    assert (status, body) == (202, {})
    poller = arm.kusto.clusters.begin_update(*arm.place, {"identity": {"type": BOTH}})
    assert not poller.done() or poller.status() == "Succeeded"
    poller.wait()
    assert poller.status() == "Succeeded"


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"type": "Everything"}, "identity.type"),
        ({}, "identity.type"),
        ("SystemAssigned", "object"),
        ({"type": None}, "identity.type"),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/x": {}}},
            "/subscriptions/x does not exist",
        ),
        ({"type": "UserAssigned", "userAssignedIdentities": ["x"]}, "identity.type"),
        ({"type": "SystemAssigned", "userAssignedIdentities": {"/subscriptions/x": {}}}, "are given"),
    ],
)
def test_a_wrong_identity_block_changes_nothing(arm: Arm, cluster: LocalCluster, block: Any, says: str) -> None:
    before = cluster.identities
    status, body = arm.ask("PATCH", f"{cluster.resource_id}?{API}", {"identity": block})
    assert status in {400, 404}
    assert says in body["error"]["message"]
    assert cluster.identities == before


def test_no_identity_may_remain_only_if_the_type_says_so(arm: Arm, cluster: LocalCluster) -> None:
    arm.assign("SystemAssigned")
    status, body = arm.ask("PATCH", f"{cluster.resource_id}?{API}", {"identity": {"type": BOTH}})
    assert (status, "would remain" in body["error"]["message"]) == (400, True)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_missing_or_wrong_token_is_refused(arm: Arm, cluster: LocalCluster, token: str) -> None:
    for held in (token, cluster.token if token else token):
        status, body = arm.ask("GET", f"{cluster.resource_id}?{API}", token=held)
        assert (status, body["error"]["code"]) == (401, "Unauthorized")


def test_the_token_of_azure_resource_manager_opens_no_database(arm: Arm) -> None:
    status, _ = arm.ask("POST", "/v1/rest/mgmt", {"db": "Samples", "csl": ".show databases"})
    assert status == 401


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MissingApiVersionParameter"),
        ("api-version=2019-01-01", "InvalidResourceType"),
        ("api-version=", "Missing"),
    ],
)
def test_a_wrong_api_version_is_refused(arm: Arm, cluster: LocalCluster, query: str, code: str) -> None:
    status, body = arm.ask("GET", f"{cluster.resource_id}?{query}")
    assert status == 400
    assert body["error"]["code"].startswith(code)


@pytest.mark.parametrize(
    "path",
    [
        "/subscriptions/other/resourceGroups/kqlmi/providers/Microsoft.Kusto/clusters/kqlmi-local",
        "{group}/providers/Microsoft.Kusto/clusters/another",
        "{group}/providers/Microsoft.Kusto/clusters/kqlmi-local/databases/Nowhere/dataConnections",
        "{group}/providers/Microsoft.Compute/virtualMachines",
        "{group}/providers/Microsoft.Kusto/locations/local/operationResults/none",
    ],
)
def test_a_missing_resource_is_404(arm: Arm, cluster: LocalCluster, path: str) -> None:
    group = cluster.resource_id.partition("/providers")[0]
    status, body = arm.ask("GET", f"{path.format(group=group)}?{API}")
    assert status == 404
    assert body["error"]["message"]


def connection(cluster: LocalCluster, **more: Any) -> dict[str, Any]:
    return {
        "kind": "EventHub",
        "location": "local",
        "properties": {
            "eventHubResourceId": cluster.hub("ns", "hub").resource_id,
            "consumerGroup": "$Default",
            "tableName": "T",
            "dataFormat": "JSON",
            "managedIdentityResourceId": cluster.resource_id,
            **more,
        },
    }


@pytest.fixture
def granted(cluster: LocalCluster, client: Client) -> LocalCluster:
    client.mgmt(".create table T (a: string, b: long)")
    grant = '[{"ObjectId": "system", "AllowedUsages": "DataConnection"}]'
    client.mgmt(f".alter database Samples policy managed_identity '{grant}'")
    return cluster


def test_data_connections_are_created_shown_changed_and_deleted(arm: Arm, granted: LocalCluster) -> None:
    place = (*arm.place, "Samples")
    model: Any = EventHubDataConnection
    body = model(
        kind="EventHub",
        location="local",
        event_hub_resource_id=granted.hub("ns", "hub").resource_id,
        consumer_group="$Default",
        table_name="T",
        data_format="JSON",
        managed_identity_resource_id=granted.resource_id,
    )
    made: Any = arm.kusto.data_connections.begin_create_or_update(*place, "dc", body).result()
    assert made.name == f"{granted.name}/Samples/dc"
    assert made.managed_identity_object_id == granted.identities[0].object_id
    assert [one.name for one in arm.kusto.data_connections.list_by_database(*place)] == [made.name]
    partial = {"kind": "EventHub", "properties": {"dataFormat": "CSV"}}
    changed: Any = arm.kusto.data_connections.begin_update(*place, "dc", partial).result()
    assert changed.table_name == "T"
    with pytest.raises(ResourceNotFoundError):
        arm.kusto.data_connections.begin_update(*place, "none", partial).result()
    assert changed.data_format == "CSV"
    assert arm.kusto.data_connections.get(*place, "DC").kind == "EventHub"
    arm.kusto.data_connections.begin_delete(*place, "dc").wait()
    arm.kusto.data_connections.begin_delete(*place, "dc").wait()
    with pytest.raises(ResourceNotFoundError):
        arm.kusto.data_connections.get(*place, "dc")


@pytest.mark.usefixtures("granted")
def test_the_client_of_this_version_omits_the_kind_and_is_refused(arm: Arm) -> None:
    model: Any = EventHubDataConnection
    body = model(location="local", event_hub_resource_id="x", consumer_group="y")
    body.pop("kind", None)
    with pytest.raises(HttpResponseError, match="'kind'"):
        arm.kusto.data_connections.begin_create_or_update(*arm.place, "Samples", "dc", body).result()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": None}, "'kind'"),
        ({"kind": "Fax"}, "'kind'"),
        ({"kind": []}, "'kind'"),
        ({"consumerGroup": ""}, "consumerGroup"),
        ({"consumerGroup": "\ud800"}, "unpaired surrogates"),
        ({"location": None}, "location"),
        ({"tags": {}}, "tags"),
        ({"kind": "EventGrid"}, "does not support"),
        ({"kind": "CosmosDb"}, "does not support"),
        ({"kind": "IotHub"}, "disabled for this flow"),
        ({"properties": None}, "'properties'"),
        ({"managedIdentityResourceId": ""}, "managedIdentityResourceId"),
        ({"managedIdentityResourceId": "/subscriptions/x"}, "not assigned"),
        ({"eventHubResourceId": "hub"}, "resource ID of an event hub"),
        ({"tableName": "Nowhere"}, "Nowhere"),
        ({"dataFormat": "AVRO"}, "avro"),
        ({"compression": "GZip"}, "compression"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_data_connection_is_refused(arm: Arm, granted: LocalCluster, change: dict[str, Any], says: str) -> None:
    body = connection(granted)
    for name, value in change.items():
        (body if name in {"kind", "properties", "location", "tags"} else body["properties"])[name] = value
    path = f"{granted.resource_id}/databases/Samples/dataConnections/dc?{API}"
    status, answer = arm.ask("PUT", path, body)
    assert status == 400
    assert says.lower() in answer["error"]["message"].lower()
    assert list(arm.kusto.data_connections.list_by_database(*arm.place, "Samples")) == []


def test_an_identity_may_be_named_like_a_provider(arm: Arm) -> None:
    assert arm.create("microsoft.kusto").name == "microsoft.kusto"


def test_a_data_connection_is_dropped_with_its_database(arm: Arm, granted: LocalCluster, client: Client) -> None:
    place = (*arm.place, "Samples")
    arm.kusto.data_connections.begin_create_or_update(*place, "dc", connection(granted)).wait()
    client.mgmt(".drop database Samples", "My other db")
    client.mgmt(".create database Samples", "My other db")
    assert list(arm.kusto.data_connections.list_by_database(*place)) == []


def test_a_body_that_is_not_a_json_object_is_refused(arm: Arm, cluster: LocalCluster) -> None:
    assert arm.ask("PATCH", f"{cluster.resource_id}?{API}", [1])[0] == 400
    assert arm.ask("PATCH", f"{cluster.resource_id}?{API}", {"identities": {}})[0] == 400


def test_a_change_to_a_deleted_resource_is_refused(arm: Arm, cluster: LocalCluster) -> None:
    shown: Any = arm.kusto.clusters.get(*arm.place)
    only = {"etag": shown.etag, "match_condition": MatchConditions.IfNotModified}
    arm.kusto.clusters.begin_update(*arm.place, {"identity": {"type": "UserAssigned"}}, **only).wait()
    with pytest.raises(ResourceModifiedError):
        arm.kusto.clusters.begin_update(*arm.place, {"identity": {"type": BOTH}}, **only)
    assert names(cluster) == ["loader", "exporter"]


def test_only_a_reader_may_read(arm: Arm, cluster: LocalCluster) -> None:
    for role, read in (("Reader", 200), ("none", 403)):
        token = cluster.arm_options_for(role)["credential"].get_token().token
        assert arm.ask("GET", f"{cluster.resource_id}?{API}", token=token)[0] == read
        status, body = arm.ask("PATCH", f"{cluster.resource_id}?{API}", {"identity": {"type": "None"}}, token=token)
        assert (status, body["error"]["code"]) == (403, "AuthorizationFailed")
    with pytest.raises(ValueError, match="Reader, none"):
        cluster.arm_options_for("Owner")
