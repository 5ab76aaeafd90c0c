"""Tests that each template works as written after its own checklist; one that is not supported passes every gate first."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

import kqlmi
from kqlmi.errors import ServiceError
from kqlmi.model.templates import FORMS, Template
from kqlmi.notebook.face import run as run_line
from kqlmi.notebook.invocation import parse_cell
from kqlmi.notebook.settings import KqlMI
from kqlmi.session import Session
from kqlmi.verbs import Sessions
from tests.local.flows.conftest import CONTAINER, World
from tests.local.flows.supported import FILES, enable_python, impersonating_table, table_at, wait_for_rows, wait_for_run
from tests.printed_lines import run_printed_line

SIGN_IN = 'options = {"credential": DefaultAzureCredential()}'
SHAPE = "a: string, b: long"
SQL = {"server": "s.database.windows.net", "catalog": "db"}
COSMOS = {"uri": "https://a.documents.azure.com/", "catalog": "db", "collection": "c"}
MODEL = {"uri": "https://a.openai.azure.com/openai/deployments/m/embeddings?api-version=2024-06-01"}
GROUP = "/subscriptions/s/resourceGroups/g/providers"
ACCOUNT = f"{GROUP}/Microsoft.Storage/storageAccounts/acct"
HUB = {"hub": "", "name": "dc", "table": "R"}  # the hub of the fixture is filled in
FILE, FOLDER = {"uri": f"{CONTAINER}/in/a.csv"}, {"uri": f"{CONTAINER}/in"}


@dataclass(frozen=True)
class Case:
    """The values for a template, the preparation, and the rows that it leaves; no rows if it is not supported.

    ``effect`` returns the rows after the text was run, if its answer does not contain them.
    """

    field_values: dict[str, str]
    rows: list[Any] = field(default_factory=list)
    effect: Callable[[World], list[Any]] | None = None
    prepare: Callable[[World], object] = lambda _here: None


def delta_table(here: World) -> object:
    where = f"h@'{CONTAINER}/out;managed_identity={here.store}'"
    return here.client.mgmt(f".create external table D (a: string) kind=delta ({where})")


def read(here: World, text: str) -> list[Any]:
    return [[*row.values()] for row in here.client.mgmt(text)]


def kinds(here: World, name: str) -> list[Any]:
    return read(here, f".show external table {name} | project TableType")


def exported_by_mine(here: World) -> None:
    """Create the external table that ``mine`` will write to, and then revoke its grant."""
    here.grant("cluster", here.mine, "ExternalTable")
    here.client.mgmt(table_at(here.mine, "/out"))
    here.revoke("cluster")
    here.assign(here.mine, "Storage Blob Data Contributor")  # the workflow's row states this in words only


def written(here: World) -> list[Any]:
    return [line.split(",") for path in (here.folder / "out").iterdir() for line in path.read_text().split()]


def derived(here: World) -> list[Any]:
    here.client.mgmt(".ingest inline into table R <| near,7")
    return here.rows("Made")


def export_target(here: World) -> None:
    impersonating_table(here)
    here.assign(here.mine, "Storage Blob Data Contributor")  # as above


def sent(here: World) -> list[Any]:
    here.cluster.hub("namespace", "hub").send([{"a": "x", "b": 1}])
    return wait_for_rows(here, 0)


def queued(here: World) -> list[Any]:
    return wait_for_rows(here, 0)


def made(here: World) -> object:
    return here.client.mgmt(".create table Made (a: string, b: long)")


CASES: dict[str, Case] = {
    "external_table.storage": Case(
        {"name": "it's \"T\"", "schema": SHAPE, **FOLDER}, FILES, lambda here: here.rows("external_table('it\\'s \"T\"')")
    ),
    "external_table.delta": Case({"name": "D", **FOLDER}),
    "external_table.sql": Case({"name": "S", "table": "dbo.T", "schema": SHAPE, **SQL}, [["Sql"]], lambda here: kinds(here, "S")),
    "external_table.cosmosdb": Case({"name": "C", "schema": SHAPE, **COSMOS}, [["Sql"]], lambda here: kinds(here, "C")),
    "export.to_external_table": Case(
        {"table": "T", "query": "print a = 'x', b = 1"}, [["x", "1"]], written, exported_by_mine
    ),
    "continuous_export": Case(
        {"name": "E", "table": "T", "source": "R", "every": "1s"},
        [["x", "1"]],
        lambda here: wait_for_run(here, here.mine),
        export_target,
    ),
    "update_policy": Case({"table": "Made", "source": "R"}, [["near", 7]], derived, made),
    "query_acceleration": Case(
        {"table": "D"},
        [["true"]],
        lambda here: read(here, ".show external table D policy query_acceleration | project tostring(todynamic(Policy).IsEnabled)"),
        prepare=delta_table,
    ),
    "export.to_storage": Case({"uri": f"{CONTAINER}/out", "query": "print a = 'x', b = 1"}, [["x", "1"]], written),
    "ingest.into": Case({"table": "R", **FILE}, FILES, lambda here: here.rows("R")),
    "ingest.queued_cmd": Case({"table": "R", **FOLDER}, FILES, queued),
    "list_blobs": Case(FOLDER, [[f"{CONTAINER}/in/a.csv", 8, "{}"]]),
    "ingest.sdk_queued": Case({"table": "R", **FILE}, FILES, queued),
    "ingest.lightingest": Case({"table": "R", **FOLDER}),
    "dataconnection.eventhub": Case(HUB, [["x", 1]], sent),
    "dataconnection.eventgrid": Case({"storage": ACCOUNT, **HUB}),
    "dataconnection.cosmosdb": Case(
        {"name": "dc", "table": "R", "account": f"{GROUP}/Microsoft.DocumentDB/databaseAccounts/a", "catalog": "d", "collection": "c"}
    ),
    "externaldata": Case({"schema": SHAPE, **FILE}, FILES),
    "inline_external_table": Case({"schema": "a: string, ['b, too']: long", **FOLDER}, FILES),
    "infer_storage_schema": Case(FOLDER, [["Column1:string, Column2:long"]]),
    "python.external_artifacts": Case(
        {"uri": f"{CONTAINER}/a.txt", "script": "result = df.assign(x=len(open('Temp/a.txt').read()))"},
        [[len("from storage\n")]],
        prepare=enable_python,
    ),
    "r.external_artifacts": Case({"uri": f"{CONTAINER}/a.txt"}),
    "sql_request": Case(SQL),
    "cosmosdb_sql_request": Case({"schema": "Id: long", **COSMOS}),
    "ai_embeddings": Case(MODEL),
    "ai_chat_completion": Case({"text": "it's \"me\"", **MODEL}),
    "ai_chat_completion_prompt": Case(MODEL),
}  # fmt: skip


@pytest.fixture
def session(here: World) -> Iterator[Session]:
    here.put("in/a.csv", "x,1\ny,2\n")
    cluster = here.cluster
    with kqlmi.connect(
        cluster.url,
        token=cluster.token,
        ingest_url=cluster.ingest_url,
        name="here",
        resource_id=cluster.resource_id,
        arm_options=cluster.arm_options,
        database="Samples",
    ) as opened:
        yield opened


@pytest.fixture
def app_service(here: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The endpoint from which DefaultAzureCredential gets a token for code that runs in Azure."""

    class Tokens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"access_token": here.cluster.token, "expires_on": "4102444800", "token_type": "Bearer"})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_words: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Tokens) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "kqlmi")
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def written_for(here: World, session: Session, flow: str, identity: str = "mine") -> Template:
    field_values = dict(CASES[flow].field_values)
    known = {one.name for one in FORMS[flow].fields}
    if "hub" in field_values:
        field_values["hub"] = here.cluster.hub("namespace", "hub").resource_id
    if "ingest_uri" in known:
        field_values["ingest_uri"] = here.cluster.ingest_url
    if "client_id" in known:
        field_values["client_id"] = here.cluster.identities[1].client_id
    return session.new(flow, identity=identity, database="samples", **field_values)


def run(here: World, session: Session, template: Template, folder: Path) -> list[Any]:
    """Run a template as a user who finds it in the next cell would, and return the rows of the answer."""
    if template.kind == "python":
        text = template.text
        if SIGN_IN in text:  # the local cluster's Azure Resource Manager uses plain http
            text = text.replace(SIGN_IN, "options = given")
        exec(compile(text, template.workflow.id, "exec"), {"given": here.cluster.arm_options})  # noqa: S102
        return []
    if template.kind == "shell":
        program = folder / "LightIngest"
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o700)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["sh", "-c", template.text], capture_output=True, env={"PATH": path}, check=True)
        return done.stdout.decode().splitlines()
    line, _, text = template.cell.partition("\n")
    cell = parse_cell(line.removeprefix("%%kqlmi"), text)
    assert (cell.statement, cell.database) == (template.text, "Samples")
    assert cell.on in {"", session.name}
    return [list(row) for row in session.run(cell.statement, cell.database).rows]


def to_the_endpoint(here: World, session: Session, template: Template) -> Session:
    """Return the session on which a template is run according to its checklist."""
    for item in template.checklist:
        if item.kind == "endpoint":
            assert item.fixes == (f"%kqlmi connect {here.cluster.ingest_url} --database=Samples",)
            return kqlmi.connect(here.cluster.ingest_url, token=here.cluster.token, database="Samples", name="here")
    return session


def through_the_checklist(here: World, session: Session, template: Template) -> None:
    """Run every other line of a checklist."""
    for line in (line for item in template.checklist if item.kind != "endpoint" for line in item.fixes):
        if ACCOUNT in line:  # of a storage account, the local cluster has only the containers
            assert '--role "Storage Blob Data Reader"' in line
        else:
            run_printed_line(here.cluster, session, line)


@pytest.mark.parametrize("flow", CASES)
def test_a_template_works_as_it_is_written_after_its_own_checklist(
    here: World, session: Session, request: pytest.FixtureRequest, tmp_path: Path, flow: str
) -> None:
    case = CASES[flow]
    case.prepare(here)
    if flow == "ingest.sdk_queued":
        request.getfixturevalue("app_service")
    template = written_for(here, session, flow)
    states = {item.kind: item.state for item in template.checklist}
    assert (states["assignment"], states["grant"]) == ("done", "not done")
    where = to_the_endpoint(here, session, template)
    try:
        refused_for_the_grant(here, where, template, tmp_path)
        through_the_checklist(here, session, template)
        assert written_for(here, session, flow).checklist[1].state == "done"
        if flow == "ingest.lightingest":
            assert run(here, where, template, tmp_path) == [
                f"{here.cluster.ingest_url};Fed=True",
                *("-database:Samples", "-table:R", f"-source:{CONTAINER}/in", "-format:csv"),
                f"-ingestmi:{here.cluster.identities[1].client_id}",
            ]
        elif case.rows:
            answer = run(here, where, template, tmp_path)
            assert (case.effect(here) if case.effect else answer) == case.rows
            if template.line:
                run_line(Sessions({session.name: session}), template.line.removeprefix("%kqlmi "), KqlMI())
                assert here.rows("R") == case.rows
        else:
            with pytest.raises((ServiceError, HttpResponseError), match="not support"):
                run(here, where, template, tmp_path)
    finally:
        where.close()


@pytest.mark.parametrize("flow", ["externaldata", "dataconnection.eventhub"])
def test_a_template_works_for_the_system_identity(here: World, session: Session, tmp_path: Path, flow: str) -> None:
    for identity in (here.system, "system"):  # for system, the policy names the object ID that the Azure role needs
        template = written_for(here, session, flow, identity)
        assert ";managed_identity=system" in template.text or "cluster.id" in template.text
        through_the_checklist(here, session, template)
    answer, case = run(here, session, template, tmp_path), CASES[flow]
    assert (case.effect(here) if case.effect else answer) == case.rows


def refused_for_the_grant(here: World, session: Session, template: Template, folder: Path) -> None:
    """Run a template that has no grant yet; external tables and queued ingestion are refused later."""
    flow = template.workflow.id
    if flow.startswith("dataconnection"):
        with pytest.raises(HttpResponseError, match="may not be used for DataConnection"):
            run(here, session, template, folder)
    elif template.kind == "kql" and flow != "export.to_external_table":
        with pytest.raises(ServiceError) as caught:
            run(here, session, template, folder)
        assert caught.value.details["missing"] == "grant"


def test_the_local_cluster_and_the_catalogue_know_the_same_flows() -> None:
    assert list(CASES) == list(FORMS)
