"""Tests of reading the assigned identities with Azure's own client from the local cluster's strict routes."""

import re
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from azure.mgmt.kusto import KustoManagementClient

import kqlmi
from kqlmi.arm import identities
from kqlmi.arm.resource import ClusterResource, options_for
from kqlmi.errors import InputError, KqlmiError, ResourceManagerError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy
from kqlmi.notebook.panel.panel import Panel
from kqlmi.session import Session
from tests.standins.serving import Answer, Request, serve

SAMPLES = Scope.database("Samples")


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"], identities=["loader", "exporter", "system"]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(
        cluster.url, token=cluster.token, resource_id=cluster.resource_id, arm_options=cluster.arm_options
    ) as opened:
        yield opened


def test_the_system_identity_and_the_user_assigned_ones_are_listed(cluster: LocalCluster, session: Session) -> None:
    found = {one.display_name: one for one in session.assigned()}
    loader, _, system = cluster.identities
    assert found["loader"].object_id == loader.object_id
    assert found["loader"].client_id == loader.client_id
    assert {one.principal_id for one in found.values() if one.is_system} == {system.object_id}
    assert len(found) == 3


def test_the_panel_marks_orphans_once_it_has_read_the_assigned_identities(
    cluster: LocalCluster, session: Session
) -> None:
    loader, exporter, _ = (one.object_id for one in cluster.identities)
    policy = Policy.empty().grant(loader, "ExternalTable").grant("system", "All")
    session.apply(session.plan({SAMPLES: policy}))
    block = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {resource_of(cluster, "loader"): None}}
    with KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
        client.clusters.begin_update(cluster.resource_group, cluster.name, {"identity": block}).result()
    panel = Panel(session, SAMPLES)
    assert {badge for _, _, badge in panel.identities} == {""}
    while panel.read_more():
        pass
    assert {one: badge for one, _, badge in panel.identities} == {
        loader: "orphan",
        exporter: "assigned",
        "system": "assigned",
    }


def resource_of(cluster: LocalCluster, name: str) -> str:
    with KustoManagementClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
        block: Any = client.clusters.get(cluster.resource_group, cluster.name).identity
    return next(str(one) for one in block.user_assigned_identities if one.endswith(f"/{name}"))


def test_if_assignments_may_not_be_read_the_panel_reports_it_and_works(cluster: LocalCluster) -> None:
    options = {**cluster.arm_options, "base_url": "http://127.0.0.1:9", "retry_total": 0}
    with kqlmi.connect(
        cluster.url, token=cluster.token, resource_id=cluster.resource_id, arm_options=options
    ) as session:
        panel = Panel(session, SAMPLES)
        panel.read_more()
        assert "Orphans cannot be determined" in panel.assignments
        assert not panel.more


def test_a_session_without_the_resource_id_explains_how_to_pass_it(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        with pytest.raises(InputError, match="--resource-id"):
            session.assigned()
        assert Panel(session, SAMPLES).assignments == ""


def test_a_session_on_local_knows_the_resource() -> None:
    with kqlmi.connect("local") as session:
        assert len(session.assigned()) == 4


def test_text_that_is_not_a_resource_id_is_refused(cluster: LocalCluster) -> None:
    with pytest.raises(InputError, match="resource ID of a cluster"):
        ClusterResource("/subscriptions/x", cluster.arm_options)


def test_no_token_shows_and_a_refusal_is_one_sentence(cluster: LocalCluster) -> None:
    resource = ClusterResource(cluster.resource_id + "x", cluster.arm_options)
    assert "token" not in repr(resource).lower()
    with pytest.raises(KqlmiError, match="did not list the assigned identities"):
        identities.read(resource)


class Asked(Exception):  # noqa: N818 - not an error: it ends the request at the token
    """A token was asked for."""


class Asking:
    """A credential that raises with the scopes that are requested."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        raise Asked(*scopes)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("c.westeurope.kusto.windows.net", "https://management.azure.com/.default"),
        ("c.usgovvirginia.kusto.usgovcloudapi.net", "https://management.usgovcloudapi.net/.default"),
        ("c.chinaeast2.kusto.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
        ("c.kusto.usgovcloudapi.net.evil.example", "https://management.azure.com/.default"),
    ],
)
def test_each_cloud_has_its_own_resource_manager(cluster: LocalCluster, host: str, scope: str) -> None:
    resource = ClusterResource(cluster.resource_id, options_for(Asking(), host))
    with resource.kusto() as client, pytest.raises(Asked, match=re.escape(scope)):
        client.clusters.get(*resource.place)


def test_a_refusal_that_repeats_the_token_is_shown_without_it(cluster: LocalCluster) -> None:
    def refuse(request: Request) -> Answer:
        message = f"The token {request.headers['Authorization']} is not accepted."
        return Answer(403, {"error": {"code": "InvalidToken", "message": message}})

    with serve(refuse) as port:
        resource = ClusterResource(cluster.resource_id, {**cluster.arm_options, "base_url": f"http://127.0.0.1:{port}"})
        with pytest.raises(KqlmiError, match=r"The token .* is not accepted") as caught:
            identities.read(resource)
    assert cluster.arm_token not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, b""), "the response is not from Azure"),
        (Answer(200, [1]), "the response is not from Azure"),
        (Answer(200, {"identity": 5}), "the response is not from Azure"),
        (Answer(503, b"<html>", {"Retry-After": "3600"}), "status 503"),
        (
            Answer(429, {"error": {"code": "TooManyRequests", "message": "Later."}}, {"Retry-After": "3600"}),
            "in 3600 s",
        ),
    ],
)
def test_an_intermediary_is_reported_at_once_in_one_sentence(cluster: LocalCluster, answer: Answer, says: str) -> None:
    asked: list[Request] = []

    def give(request: Request) -> Answer:
        asked.append(request)
        return answer

    with serve(give) as port:
        options = {**cluster.arm_options, "base_url": f"http://127.0.0.1:{port}"}
        with kqlmi.connect(
            cluster.url, token=cluster.token, resource_id=cluster.resource_id, arm_options=options
        ) as session:
            with pytest.raises(ResourceManagerError, match=says):
                session.assigned()
            assert len(asked) == 1
            [note] = session.identities().notes
            assert says in note
