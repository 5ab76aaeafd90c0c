"""Fixtures: a local cluster, and the real client that connects to it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.kusto.data import ClientRequestProperties, KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.exceptions import KustoApiError

from kqlmi import local
from kqlmi.local.cluster import LocalCluster


class Client:
    """The real client, with rows as dictionaries of the values that are sent."""

    def __init__(self, url: str, token: str) -> None:
        builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(url, token)
        self.sdk = KustoClient(builder)

    def mgmt(self, text: str, database: str | None = "Samples", **options: Any) -> list[dict[str, Any]]:
        return self._rows(self.sdk.execute_mgmt(database, text, _properties(options)))

    def query(self, text: str, database: str | None = "Samples", **options: Any) -> list[dict[str, Any]]:
        return self._rows(self.sdk.execute_query(database, text, _properties(options)))

    def types(self, text: str, database: str | None = "Samples") -> dict[str, str]:
        table = self.sdk.execute_query(database, text).primary_results[0]
        return {column.column_name: column.column_type for column in table.columns}

    def policy(self, scope: str = "cluster") -> str:
        return str(self.mgmt(f".show {scope} policy managed_identity")[0]["Policy"])

    def refusal(self, text: str, database: str | None = "Samples", *, query: bool = False, **options: Any) -> Any:
        """Return the error of a request that must be refused, with its HTTP ``status`` and ``response``."""
        run = self.query if query else self.mgmt
        with pytest.raises(KustoApiError) as caught:
            run(text, database, **options)
        error: Any = caught.value.error
        response: Any = caught.value.http_response
        error.status, error.response = response.status_code, response
        return error

    @staticmethod
    def _rows(response: Any) -> list[dict[str, Any]]:
        table = response.primary_results[0]
        names = [column.column_name for column in table.columns]
        return [dict(zip(names, row, strict=True)) for row in table.raw_rows]


def _properties(options: dict[str, Any]) -> ClientRequestProperties:
    properties = ClientRequestProperties()
    properties.client_request_id = options.pop("client_request_id", None)
    for name, value in options.pop("parameters", {}).items():
        properties.set_parameter(name, value)
    for name, value in options.items():
        properties.set_option(name, value)
    return properties


Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    opened: list[Client] = []

    def open_client(cluster: LocalCluster, token: str | None = None) -> Client:
        opened.append(Client(cluster.url, token or cluster.token))
        return opened[-1]

    yield open_client
    for client in opened:
        client.sdk.close()


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """Two empty databases, three identities, and a usage that kqlmi does not know."""
    with local.start(
        databases=["Samples", "My other db"], identities=["system", "loader", "exporter"], usages=["FutureFlow"]
    ) as started:
        yield started


@pytest.fixture
def client(cluster: LocalCluster, connect: Connect) -> Client:
    return connect(cluster)


@pytest.fixture(scope="session")
def world() -> Iterator[LocalCluster]:
    """The sample data; tests that use it change nothing."""
    with local.start() as started:
        yield started


@pytest.fixture
def reader(world: LocalCluster, connect: Connect) -> Client:
    return connect(world)
