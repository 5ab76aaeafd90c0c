"""Tests of an identity's roles in Azure: where they count, and what is not believed."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from kqlmi.arm import roles
from kqlmi.arm.resource import ClusterResource
from kqlmi.errors import ResourceManagerError
from kqlmi.local.azure import loopback
from kqlmi.model.explain.observations import RolesOn, Unread

GROUP = "/subscriptions/s/resourceGroups/g"
CLUSTER = f"{GROUP}/providers/Microsoft.Kusto/clusters/c"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acct"
CONTAINER = f"{ACCOUNT}/blobServices/default/containers/data"
URL = "https://acct.blob.core.windows.net/data/a.csv"
READER = "/providers/Microsoft.Authorization/roleDefinitions/2A2B9908-6ea1-4ae2-8e65-a410df84e7d1"
MINE = "11111111-2222-3333-4444-555555555555"


class Azure:
    """A server that answers with the pages of each list."""

    def __init__(self) -> None:
        self.accounts: list[dict[str, Any]] = [{"id": ACCOUNT, "name": "Acct"}]
        self.assignments: list[dict[str, Any]] = []
        self.permissions: list[dict[str, Any]] = []
        self.next_link = ""

    def answer(self, path: str) -> dict[str, Any]:
        if "/resources?" in path:
            return {"value": self.accounts}
        if "/permissions?" in path:
            return {"value": self.permissions}
        if "page=2" in path or not self.next_link:
            return {"value": [{"properties": one} for one in self.assignments]}
        return {"value": [], "nextLink": self.next_link}


@pytest.fixture
def azure() -> Azure:
    return Azure()


@pytest.fixture
def resource(azure: Azure) -> Iterator[ClusterResource]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(azure.answer(self.path)).encode())

        def log_message(self, *_words: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield ClusterResource(CLUSTER, loopback.options(url, "token"))
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        (CONTAINER.upper(), True),
        (ACCOUNT, True),
        (GROUP, True),
        ("/subscriptions/s", True),
        ("/", True),
        ("/providers/Microsoft.Management/managementGroups/m", True),
        (f"{ACCOUNT}2", False),
        (f"{CONTAINER}2", False),
        (f"{ACCOUNT}/blobServices/default/containers/dat", False),
        ("/subscriptions/s/resourceGroups/h", False),
    ],
)
def test_a_role_counts_on_its_scope_and_everything_below(
    azure: Azure, resource: ClusterResource, scope: str, *, counts: bool
) -> None:
    azure.assignments = [{"roleDefinitionId": READER, "scope": scope}]
    found = ("Storage Blob Data Reader",) if counts else ()
    assert roles.on_target(MINE, URL, resource) == RolesOn(CONTAINER, found)


def test_a_role_with_a_condition_and_an_unknown_role_do_not_count(azure: Azure, resource: ClusterResource) -> None:
    azure.assignments = [
        {"roleDefinitionId": READER, "scope": ACCOUNT, "condition": "@Resource[x] StringEquals 'y'"},
        {"roleDefinitionId": f"{READER}0", "scope": ACCOUNT},
    ]
    assert roles.on_target(MINE, URL, resource) == RolesOn(CONTAINER, ())


def test_every_page_is_read_and_none_from_another_host(azure: Azure, resource: ClusterResource) -> None:
    azure.assignments = [{"roleDefinitionId": READER, "scope": ACCOUNT}]
    azure.next_link = f"{resource.options['base_url']}/x?page=2"
    assert roles.on_target(MINE, URL, resource) == RolesOn(CONTAINER, ("Storage Blob Data Reader",))
    azure.next_link = "http://127.0.0.1.example/x?page=2"
    with pytest.raises(ResourceManagerError, match="another host"):
        roles.on_target(MINE, URL, resource)


def test_an_account_that_is_not_seen_is_not_checked(azure: Azure, resource: ClusterResource) -> None:
    for accounts in ([], [{"id": ACCOUNT, "name": "other"}], [{"id": ".example/x", "name": "acct"}]):
        azure.accounts = accounts
        found = roles.on_target(MINE, URL, resource)
        assert isinstance(found, Unread)
        assert "the storage account acct is not visible" in found.why
    assert isinstance(roles.on_target("", URL, resource), Unread)
    assert isinstance(roles.on_target(MINE, "https://a.documents.azure.com/", resource), Unread)


@pytest.mark.parametrize(
    ("permissions", "may"),
    [
        ([{"actions": ["*"], "notActions": []}], True),
        ([{"actions": ["Microsoft.Kusto/*"]}], True),
        ([{"actions": ["*/read"]}], False),
        ([{"actions": ["*"], "notActions": ["Microsoft.Kusto/*/write"]}], False),
        ([{"actions": ["*/read"]}, {"actions": ["microsoft.kusto/clusters/*"]}], True),
        ([], False),
    ],
)
def test_permissions_say_what_the_caller_may_change(
    azure: Azure, resource: ClusterResource, permissions: list[dict[str, Any]], *, may: bool
) -> None:
    azure.permissions = permissions
    assert roles.may_change(resource) is may
