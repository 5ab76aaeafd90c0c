"""Tests of each workflow at every gate: refused for the gate's own reason, or successful."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.kusto.data.exceptions import KustoApiError

from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS
from tests.local.flows.conftest import CONTAINER, READER, World, details
from tests.local.flows.supported import (
    FILES,
    FLOWS,
    Flow,
    RunFailedError,
    connect_hub,
    externaldata,
    give_everything_but_the_role,
    location,
    table_at,
)

BY_ID = {flow.id: flow for flow in FLOWS}
ROWS = {workflow.id: workflow for workflow in WORKFLOWS}
EACH = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.id)


class Attempt:
    """A workflow in a world that provides everything but the grant."""

    def __init__(self, here: World, flow: Flow, *, role: bool = True) -> None:
        self.here, self.flow = here, flow
        self.usage = ROWS[flow.id].usage
        self.is_cluster_only = ROWS[flow.id].cluster_only
        here.put("in/a.csv", "x,1\ny,2\n")
        flow.prepare(here)
        if flow.id == "continuous_export":
            give_everything_but_the_role(here, here.mine)
        if role and flow.give:
            flow.give(here, here.mine)
        elif role:
            here.assign(here.mine, flow.role)
        if flow.id in {"inline_external_table", "infer_storage_schema"}:
            (here.folder / "in/a.csv").unlink()

    def run(self, identity: str) -> list[Any]:
        self.flow.define(self.here, identity)
        return self.flow.use(self.here, identity)

    def refused(self, run: Callable[[], object]) -> dict[str, Any]:
        """Return the machine-readable details of the refusal, or the text of a failure in the background."""
        with pytest.raises((KustoApiError, RunFailedError, HttpResponseError)) as caught:
            run()
        if not isinstance(caught.value, KustoApiError):
            return {"text": str(caught.value)}
        raised: Any = caught.value
        error = raised.error
        error.response = raised.http_response
        assert error.permanent
        return {"missing": "database role" if "read database" in error.description else "", **details(error)}


def missing(outcome: dict[str, Any], attempt: Attempt) -> str:
    """Return the gate that refused; for a failure in the background, it is derived from the text."""
    if "text" not in outcome:
        return str(outcome["missing"])
    if outcome["text"] == "silence":
        assert attempt.flow.is_silent
        return "silence"
    if "not assigned" in outcome["text"]:
        return "assignment"
    return "grant" if f"may not be used for {attempt.usage}" in outcome["text"] else "azure role"


@EACH
def test_an_identity_that_is_not_assigned_is_refused(here: World, flow: Flow, stranger: str) -> None:
    attempt = Attempt(here, flow)
    outcome = attempt.refused(lambda: attempt.run(stranger))
    assert missing(outcome, attempt) == "assignment"
    assert stranger in str(outcome.get("text", outcome.get("identity")))
    assert outcome.get("usage", attempt.usage) == attempt.usage


@EACH
def test_an_identity_without_a_grant_is_refused(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow)
    outcome = attempt.refused(lambda: attempt.run(here.mine))
    assert missing(outcome, attempt) == "grant"
    if "text" not in outcome:
        assert (outcome["usage"], outcome["database"]) == (attempt.usage, "Samples")
        assert outcome["scopes"] == (["cluster"] if attempt.is_cluster_only else ["cluster", "database"])


@EACH
@pytest.mark.parametrize("usage", ["", "All"], ids=["usage", "all"])
def test_a_grant_at_the_database_is_enough_unless_the_usage_is_cluster_only(
    here: World, flow: Flow, usage: str
) -> None:
    attempt = Attempt(here, flow)
    here.grant("database Samples", here.mine, usage or attempt.usage)
    if attempt.is_cluster_only:
        assert missing(attempt.refused(lambda: attempt.run(here.mine)), attempt) == "grant"
    else:
        assert attempt.run(here.mine) == flow.rows


@EACH
@pytest.mark.parametrize("usage", ["", "All"], ids=["usage", "all"])
def test_a_grant_at_the_cluster_is_enough(here: World, flow: Flow, usage: str) -> None:
    attempt = Attempt(here, flow)
    here.grant("cluster", here.mine, usage or attempt.usage)
    assert attempt.run(here.mine) == flow.rows


@EACH
def test_a_grant_of_another_usage_or_in_another_database_is_not_enough(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow)
    others = {usage.name for usage in USAGES} - {attempt.usage, "All"}
    here.grant("cluster", here.mine, ", ".join(sorted(others)))
    here.grant("database ['My other db']", here.mine, "All")
    assert missing(attempt.refused(lambda: attempt.run(here.mine)), attempt) == "grant"


@EACH
def test_the_other_gate_refuses_for_its_own_reason(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow, role=False)
    here.grant("cluster", here.mine, attempt.usage)
    outcome = attempt.refused(lambda: attempt.run(here.mine))
    assert missing(outcome, attempt) == ("silence" if flow.is_silent else flow.other_gate)


@EACH
def test_a_grant_that_is_revoked_is_missing_at_the_next_use(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow)
    here.grant("cluster", here.mine, attempt.usage)
    assert attempt.run(here.mine) == flow.rows
    here.revoke("cluster")
    outcome = attempt.refused(lambda: flow.use(here, here.mine))
    assert missing(outcome, attempt) == ("silence" if flow.is_silent else "grant")
    here.grant("database Samples" if not attempt.is_cluster_only else "cluster", here.mine, attempt.usage)
    assert flow.use(here, here.mine)[-1] == flow.rows[-1]


def test_the_system_identity_is_named_by_its_word_and_by_its_object_id(here: World) -> None:
    here.grant("database Samples", "system", "ExternalDataRequest")
    here.assign(here.system, READER)
    for written in ("system", here.system, here.system.upper()):
        assert externaldata(here, written) == FILES


def test_a_client_id_is_recognised_and_not_accepted(here: World) -> None:
    client_id = here.cluster.identities[1].client_id
    here.grant("cluster", here.mine, "ExternalDataRequest")
    error = here.client.refusal(f"externaldata (a: string) [{location(client_id, '/a.csv')}]", query=True)
    assert details(error)["missing"] == "assignment"
    assert here.mine in error.description


SQL = 'Server=tcp:s.database.windows.net,1433;Authentication="Active Directory Managed Identity";User Id={};'
COSMOS = 'AccountEndpoint=https://a.documents.azure.com/;Authentication="Active Directory Managed Identity";User Id={};'
OPENAI = "https://a.openai.azure.com/openai/deployments/m/embeddings;managed_identity={}"
CHAT = "dynamic([{{'role': 'user', 'content': 'hi'}}])"

# Workflows that are checked and then refused as unsupported: a command, or a query after 'q '.
JUDGED = {
    "external_table.delta": f".create external table D kind=delta (h'{CONTAINER};managed_identity={{}}')",
    "r.external_artifacts": f"q print 1 | evaluate r(typeof(*), 's', dynamic({{{{}}}}), bag_pack('a', '{CONTAINER}/a;managed_identity={{}}'))",
    "sql_request": f"q evaluate sql_request('{SQL}', 'select 1'): (x: long)",
    "cosmosdb_sql_request": f"q evaluate cosmosdb_sql_request('{COSMOS}', 'c.Id'): (Id: long)",
    "ai_embeddings": f"q evaluate ai_embeddings('text', '{OPENAI}')",
    "ai_chat_completion": f"q evaluate ai_chat_completion({CHAT}, '{OPENAI}')",
    "ai_chat_completion_prompt": f"q evaluate ai_chat_completion_prompt('hi', '{OPENAI}')",
}
# Workflows whose definition is stored: the command, and a query that is checked again.
DEFINED = {
    "external_table.sql": (
        f".create-or-alter external table E (x: int) kind=sql table=T (h'{SQL}')",
        "external_table('E')",
    ),
    "external_table.cosmosdb": (
        f".create-or-alter external table E (x: int) kind=sql (h'{COSMOS}') with (sqlDialect='CosmosDbSQL')",
        "external_table('E')",
    ),
    "query_acceleration": (
        '.alter external table D policy query_acceleration \'{{"IsEnabled": true, "Hot": "1d", "ManagedIdentity": "{}"}}\'',
        "",
    ),
}
CONNECTIONS = {"dataconnection.eventgrid": "EventGrid", "dataconnection.cosmosdb": "CosmosDb"}


@pytest.mark.parametrize("flow", JUDGED)
def test_an_unsupported_workflow_checks_the_grant_and_is_then_refused(here: World, flow: str, stranger: str) -> None:
    here.client.mgmt(table_at(here.store, "/in"))
    text, is_query = JUDGED[flow].removeprefix("q "), JUDGED[flow].startswith("q ")

    def outcome(identity: str) -> Any:
        return here.client.refusal(text.format(identity), query=is_query)

    assert details(outcome(stranger))["missing"] == "assignment"
    here.grant("database Samples" if ROWS[flow].cluster_only else "database ['My other db']", here.mine, "All")
    refusal = details(outcome(here.mine))
    assert (refusal["missing"], refusal["usage"]) == ("grant", ROWS[flow].usage)
    here.grant("cluster", here.mine, ROWS[flow].usage)
    assert "not support" in outcome(here.mine).description


@pytest.mark.parametrize("flow", DEFINED)
def test_a_workflow_with_external_data_checks_the_grant_when_defined_and_when_read(
    here: World, flow: str, stranger: str
) -> None:
    where = f"h@'{CONTAINER}/in;managed_identity={here.store}'"
    here.client.mgmt(f".create external table D (x: int) kind=delta ({where})")
    text, query = DEFINED[flow]
    assert here.missing(text.format(stranger), query=False) == "assignment"
    here.grant("database ['My other db']", here.mine, "All")
    refusal = details(here.client.refusal(text.format(here.mine)))
    assert (refusal["missing"], refusal["usage"]) == ("grant", ROWS[flow].usage)
    here.grant("database Samples", here.mine, ROWS[flow].usage)
    here.client.mgmt(text.format(here.mine))
    if query:
        assert "does not support reading" in here.client.refusal(query, query=True).description
        here.revoke("database Samples")
        assert here.missing(query) == "grant"
        (row,) = here.client.mgmt(".show external table E")
        assert (row["TableType"], here.mine in row["ConnectionStrings"]) == ("Sql", True)


@pytest.mark.parametrize("flow", CONNECTIONS)
def test_an_unsupported_data_connection_checks_the_grant_and_is_then_refused(here: World, flow: str) -> None:
    for says in ("may not be used for DataConnection", "does not support"):
        with pytest.raises(HttpResponseError, match=says):
            connect_hub(here, here.mine, CONNECTIONS[flow])
        here.grant("database Samples", here.mine, "DataConnection")


def test_every_workflow_of_the_catalogue_is_tested_here() -> None:
    program_of_its_own = {"ingest.lightingest"}  # it queues files, as the SDK does
    tested = [*BY_ID, *JUDGED, *DEFINED, *CONNECTIONS, *program_of_its_own]
    assert sorted(tested) == sorted(ROWS)
