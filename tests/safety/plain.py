"""An independent witness: policies read and written with azure-kusto-data alone, and their JSON with the module json."""

import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

Grants = frozenset[tuple[str, str]]
State = Mapping[str, frozenset[str]] | None
"""The state of a scope: the usages of each identity, or None if it has no policy."""

CLUSTER = ""
"""The name of the cluster's scope; the others are databases."""

BEFORE: dict[str, Mapping[str, frozenset[str]]] = {
    "First": {"system": frozenset({"SqlRequest"})},
    "Second": {"system": frozenset({"SqlRequest", "ExternalTable"})},
    CLUSTER: {"system": frozenset({"AzureAI"})},
}
# One step of each kind: a grant, a revoke, and the removal of the policy.
AFTER: dict[str, State] = {
    "First": {"system": frozenset({"SqlRequest", "ExternalTable"})},
    "Second": {"system": frozenset({"ExternalTable"})},
    CLUSTER: None,
}


class Plain:
    """A client without kqlmi; a scope is a database's name, or ``CLUSTER``."""

    def __init__(self, url: str, token: str) -> None:
        builder = KustoConnectionStringBuilder.with_aad_application_token_authentication(url, token)
        self._client = KustoClient(builder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def rows(self, text: str) -> list[dict[str, Any]]:
        table = self._client.execute_mgmt("NetDefaultDB", text).primary_results[0]
        names = [column.column_name for column in table.columns]
        return [dict(zip(names, row, strict=True)) for row in table.raw_rows]

    def state(self, scope: str) -> State:
        return parse(self.rows(f".show {_target(scope)} policy managed_identity")[0]["Policy"])

    def alter(self, scope: str, state: Mapping[str, Iterable[str]]) -> None:
        self.rows(f".alter {_target(scope)} policy managed_identity {_literal(state)}")

    def merge(self, scope: str, state: Mapping[str, Iterable[str]]) -> None:
        self.rows(f".alter-merge {_target(scope)} policy managed_identity {_literal(state)}")

    def delete(self, scope: str) -> None:
        self.rows(f".delete {_target(scope)} policy managed_identity")


def parse(text: str) -> State:
    items = json.loads(text)
    if items is None:
        return None
    return {
        "system" if item["IsSystem"] else item["ObjectId"]: frozenset(item["AllowedUsages"].split(", "))
        for item in items
    }


def grants(state: State) -> Grants:
    return frozenset((identity, usage) for identity, usages in (state or {}).items() for usage in usages)


def _target(scope: str) -> str:
    return "cluster" if scope == CLUSTER else f"database ['{scope}']"


def _literal(state: Mapping[str, Iterable[str]]) -> str:
    items = [{"ObjectId": identity, "AllowedUsages": ",".join(usages)} for identity, usages in state.items()]
    return f"'{json.dumps(items)}'"
