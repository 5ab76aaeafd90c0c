"""Each workflow that is carried out, before every gate: refused for the gate's own reason, or ending with rows."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from azure.kusto.data.exceptions import KustoApiError

from kqlmi.model.workflows import WORKFLOWS
from tests.local.flows.conftest import CONTAINER, CONTRIBUTOR, READER, World, details

FILES = [["x", 1], ["y", 2]]
SCRIPT = "result = df.assign(a=open('Temp/a.txt').read().strip())"
CALLOUT = [{"CalloutType": "sandbox_artifacts", "CalloutUriRegex": "acct\\.blob", "CanCall": True}]


@dataclass(frozen=True)
class Flow:
    """One row of the catalogue as a test carries it out.

    ``define`` and ``use`` take the world and how the identity is written; ``use`` gives the rows. ``other_gate`` is
    what the flow lacks without the Azure role, or the database role, of its identity.
    """

    id: str
    use: Callable[[World, str], list[Any]]
    rows: list[Any]
    define: Callable[[World, str], object] = lambda _here, _identity: None
    prepare: Callable[[World], object] = lambda _here: None
    role: str = READER
    other_gate: str = "azure role"
    give: Callable[[World, str], None] | None = None


def location(identity: str, path: str = "") -> str:
    return f"h@'{CONTAINER}{path};managed_identity={identity}'"


def table_at(identity: str, path: str) -> str:
    shape = "kind=storage dataformat=csv"
    return f".create-or-alter external table T (a: string, b: long) {shape} ({location(identity, path)})"


def define_table(path: str) -> Callable[[World, str], object]:
    return lambda here, identity: here.client.mgmt(table_at(identity, path))


def read_table(here: World, _identity: str) -> list[Any]:
    return here.rows("external_table('T') | order by a asc")


def externaldata(here: World, identity: str) -> list[Any]:
    return here.rows(f"externaldata (a: string, b: long) [{location(identity, '/a.csv')}]")


def inline_table(here: World, identity: str) -> list[Any]:
    text = f"inline_external_table (a: string, b: long) kind=storage dataformat=csv ({location(identity)})"
    return here.rows(text)


def infer(here: World, identity: str) -> list[Any]:
    options = f"dynamic({{'StorageContainers': [{location(identity)}], 'DataFormat': 'csv'}})"
    return here.rows(f"let o = {options}; evaluate infer_storage_schema(o)")


def ingest(here: World, identity: str) -> list[Any]:
    here.client.mgmt(f".ingest into table R ({location(identity, '/a.csv')}) with (format='csv')")
    return here.rows("R")


def export(here: World, identity: str) -> list[Any]:
    text = f".export to csv ({location(identity, '/out')}) with (namePrefix='p') <| print a = 'x', b = 1"
    (row,) = here.client.mgmt(text)
    assert row["NumRecords"] == 1
    return [line.split(",") for line in (here.folder / row["Path"].removeprefix(CONTAINER)[1:]).read_text().split()]


def export_to_table(here: World, _identity: str) -> list[Any]:
    here.client.mgmt(".export to table T <| print a = 'x', b = 1")
    return [line.split(",") for path in (here.folder / "out").iterdir() for line in path.read_text().split()]


def python(here: World, identity: str) -> list[Any]:
    artifacts = f"bag_pack('a.txt', {location(identity, '/a.txt')})"
    return here.rows(
        f"print a = '', b = 1 | evaluate python(typeof(*), {json.dumps(SCRIPT)}, external_artifacts={artifacts})"
    )


def enable_python(here: World) -> None:
    here.client.mgmt(".enable plugin python")
    here.client.mgmt(f".alter-merge cluster policy callout @'{json.dumps(CALLOUT)}'")
    here.put("a.txt", "from storage\n")


def define_update(here: World, identity: str) -> None:
    here.client.mgmt(".create table Made (a: string, n: long)")
    query = "R | join kind=inner (database('My other db').Elsewhere) on $left.b == $right.b | project a = a1, n = b"
    policy = [{"IsEnabled": True, "Source": "R", "Query": query, "IsTransactional": True, "ManagedIdentity": identity}]
    here.client.mgmt(f".alter table Made policy update @'{json.dumps(policy).replace(chr(39), chr(39) * 2)}'")


def ingest_seven(here: World, _identity: str) -> list[Any]:
    here.client.mgmt(".ingest inline into table R <| near,7")
    return here.rows("Made")


def give_viewer(here: World, identity: str) -> None:
    for database in ("Samples", "My other db"):
        here.client.mgmt(f".add database ['{database}'] viewers ('aadapp={identity}')")


def define_export(here: World, identity: str) -> None:
    text = ".create-or-alter continuous-export E over (R) to table T "
    here.client.mgmt(f'{text} with (managedIdentity="{identity}", intervalBetweenRuns=1s) <| R')


def impersonating_table(here: World) -> None:
    where = f"h@'{CONTAINER}/out;impersonate'"
    here.client.mgmt(f".create external table T (a: string, b: long) kind=storage dataformat=csv ({where})")


def wait_for_run(here: World, _identity: str) -> list[Any]:
    """Give the rows of what the next run writes, or raise the failure that it notes."""
    shown = ".show continuous-export E failures"
    before = len(here.client.mgmt(shown))
    seen = len(here.client.mgmt(".show continuous-export E exported-artifacts"))
    here.client.mgmt(".ingest inline into table R <| x,1")
    for _ in range(100):
        failures = here.client.mgmt(shown)
        if len(failures) > before:
            raise RunFailedError(failures[-1]["Details"])
        artifacts = here.client.mgmt(".show continuous-export E exported-artifacts")
        if len(artifacts) > seen:
            path = here.folder / artifacts[-1]["Path"].removeprefix(CONTAINER)[1:]
            return [line.split(",") for line in path.read_text().split()]
        time.sleep(0.1)
    raise AssertionError("the continuous export did not run")


class RunFailedError(Exception):
    """A run in the background failed; its failure is text only."""


def give_everything_but_the_role(here: World, identity: str) -> None:
    here.client.mgmt(f".add database Samples viewers ('aadapp={identity}')")


FLOWS = [
    Flow("external_table.storage", read_table, FILES, define_table("/in")),
    Flow("export.to_external_table", export_to_table, [["x", "1"]], define_table("/out"), role=CONTRIBUTOR),
    Flow("export.to_storage", export, [["x", "1"]], role=CONTRIBUTOR),
    Flow("ingest.into", ingest, FILES),
    Flow("externaldata", externaldata, FILES),
    Flow("inline_external_table", inline_table, FILES),
    Flow("infer_storage_schema", infer, [["Column1:string, Column2:long"]]),
    Flow("python.external_artifacts", python, [["from storage", 1]], prepare=enable_python),
    Flow("update_policy", ingest_seven, [["far", 7]], define_update, other_gate="database role", give=give_viewer),
    Flow(
        "continuous_export",
        wait_for_run,
        [["x", "1"]],
        define_export,
        prepare=impersonating_table,
        role=CONTRIBUTOR,
    ),
]
BY_ID = {flow.id: flow for flow in FLOWS}
ROWS = {workflow.id: workflow for workflow in WORKFLOWS}
EACH = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.id)


class Attempt:
    """A flow in a world that has all it needs but the grant."""

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
        """Give what the refusal tells programs; of a failure in the background, its text."""
        with pytest.raises((KustoApiError, RunFailedError)) as caught:
            run()
        if isinstance(caught.value, RunFailedError):
            return {"text": str(caught.value)}
        raised: Any = caught.value
        error = raised.error
        error.response = raised.http_response
        assert error.permanent
        return {"missing": "database role" if "read database" in error.description else "", **details(error)}


@EACH
def test_an_identity_that_is_not_assigned_is_refused(here: World, flow: Flow, stranger: str) -> None:
    attempt = Attempt(here, flow)
    told = attempt.refused(lambda: attempt.run(stranger))
    assert (told["missing"], told["identity"], told["usage"]) == ("assignment", stranger, attempt.usage)


@EACH
def test_an_identity_without_a_grant_is_refused(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow)
    told = attempt.refused(lambda: attempt.run(here.mine))
    assert (told["missing"], told["usage"], told["database"]) == ("grant", attempt.usage, "Samples")
    assert told["scopes"] == (["cluster"] if attempt.is_cluster_only else ["cluster", "database"])


@EACH
@pytest.mark.parametrize("usage", ["", "All"], ids=["usage", "all"])
def test_a_grant_at_the_database_is_enough_unless_the_usage_counts_at_the_cluster_only(
    here: World, flow: Flow, usage: str
) -> None:
    attempt = Attempt(here, flow)
    here.grant("database Samples", here.mine, usage or attempt.usage)
    if attempt.is_cluster_only:
        assert attempt.refused(lambda: attempt.run(here.mine))["missing"] == "grant"
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
    other = "AzureAI, SqlRequest, DataConnection"
    here.grant("cluster", here.mine, other)
    here.grant("database ['My other db']", here.mine, "All")
    assert attempt.refused(lambda: attempt.run(here.mine))["missing"] == "grant"


@EACH
def test_the_other_gate_refuses_for_its_own_reason(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow, role=False)
    here.grant("cluster", here.mine, attempt.usage)
    told = attempt.refused(lambda: attempt.run(here.mine))
    if "text" in told:
        assert flow.role in told["text"]
    else:
        assert told["missing"] == flow.other_gate


@EACH
def test_a_grant_that_is_revoked_is_missing_at_the_next_use(here: World, flow: Flow) -> None:
    attempt = Attempt(here, flow)
    here.grant("cluster", here.mine, attempt.usage)
    assert attempt.run(here.mine) == flow.rows
    here.revoke("cluster")
    told = attempt.refused(lambda: flow.use(here, here.mine))
    assert told.get("missing", "grant") == "grant"
    if "text" in told:
        assert attempt.usage in told["text"]
    here.grant("database Samples" if not attempt.is_cluster_only else "cluster", here.mine, attempt.usage)
    assert flow.use(here, here.mine)[-1] == flow.rows[-1]


def test_the_system_identity_is_named_by_its_word_and_by_its_object_id(here: World) -> None:
    here.grant("database Samples", "system", "ExternalDataRequest")
    here.assign(here.system, READER)
    for written in ("system", here.system, here.system.upper()):
        assert externaldata(here, written) == FILES


def test_a_client_id_is_recognised_and_not_taken(here: World) -> None:
    client_id = here.cluster.identities[1].client_id
    here.grant("cluster", here.mine, "ExternalDataRequest")
    error = here.client.refusal(f"externaldata (a: string) [{location(client_id, '/a.csv')}]", query=True)
    assert details(error)["missing"] == "assignment"
    assert here.mine in error.description


def test_every_workflow_of_the_catalogue_is_carried_out_or_named_here() -> None:
    not_carried_out = {
        "external_table.delta", "external_table.sql", "external_table.cosmosdb", "query_acceleration",
        "ingest.queued_cmd", "list_blobs", "ingest.sdk_queued", "ingest.lightingest", "dataconnection.eventhub",
        "dataconnection.eventgrid", "dataconnection.cosmosdb", "r.external_artifacts", "sql_request",
        "cosmosdb_sql_request", "ai_embeddings", "ai_chat_completion", "ai_chat_completion_prompt",
    }  # fmt: skip
    assert BY_ID.keys() | not_carried_out == ROWS.keys()
    assert not BY_ID.keys() & not_carried_out
