"""Rows: secrets that a cluster stores and shows, and that reach evidence, reports, files and other programs."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kqlmi
from kqlmi import local
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ForbiddenError
from kqlmi.session import Session
from tests.safety.scene import DATA, Scene, row


class Showing:
    """A cluster that masks nothing that it shows."""

    def __init__(self, shows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._shows = shows

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        del database, timeout, client_request_id
        rows = next((rows for head, rows in self._shows.items() if text.startswith(head)), None)
        if rows is None:
            raise ForbiddenError("Refused.")
        names = list(rows[0]) if rows else []
        return Table(tuple(Column.of(name, "string") for name in names), tuple(list(one.values()) for one in rows))

    def close(self) -> None:
        pass


def showing(scene: Scene) -> Showing:
    """Return a cluster with secrets in every text in which discovery looks for identities."""
    secrets, who = scene.secrets, scene.loader
    sas, key, password = secrets.sas(), secrets.key(), secrets.password()
    fetch = f"externaldata (a: string) [h'{DATA}?{sas};managed_identity={who}', '{DATA};{key}']"
    policy = json.dumps([{"IsEnabled": True, "Source": "S", "Query": fetch, "ManagedIdentity": f"{who}?{sas}"}])
    empty = [{"Policy": "[]", "EntityName": "", "ChildEntities": "", "EntityType": ""}]
    requests = [
        {"Text": f"{text}", "Database": "Samples", "State": "Completed"}
        for text in (
            fetch,
            f".ingest into table R (h'{DATA}/a.csv?{sas};managed_identity={who}')",
            f"print '{password}'",
        )
    ]
    return Showing(
        {
            ".show databases entities": [
                {"DatabaseName": "Samples", "EntityType": "Function", "EntityName": "F", "Content": fetch}
            ],
            ".show databases": [{"DatabaseName": "Samples", "PrettyName": ""}],
            ".show cluster policy managed_identity": empty,
            ".show database ['Samples'] policy managed_identity": empty,
            ".show external tables details": [
                {
                    "TableName": "T",
                    "QueryAccelerationPolicy": '{"IsEnabled": true}',
                    "QueryAccelerationState": json.dumps({"NotHealthyReason": f"Cannot read {DATA}?{sas}"}),
                }
            ],
            ".show external tables": [
                {
                    "TableName": "T",
                    "TableType": "Blob",
                    "ConnectionStrings": json.dumps(
                        [f"{DATA}?{sas};impersonate", f"{DATA};managed_identity={who}?{sas}"]
                    ),
                },
                {
                    "TableName": "Q",
                    "TableType": "Sql",
                    "ConnectionStrings": json.dumps([f"Server=s;User Id=ada;Password={password}"]),
                },
            ],
            ".show table * policy update": [{"EntityName": "[Samples].[R]", "Policy": policy}],
            ".show external table * policy query_acceleration": [
                {"EntityName": "[T]", "Policy": '{"IsEnabled": true}'}
            ],
            ".show continuous-exports": [
                {
                    "Name": "E",
                    "ExternalTableName": "T",
                    "ExportProperties": json.dumps({"ManagedIdentity": f"{who}&AccountKey={key}"}),
                    "IsDisabled": False,
                    "Query": fetch,
                }
            ],
            ".show functions": [{"Name": "F", "Parameters": "()", "Body": f"{{ {fetch} }}"}],
            ".show database ['Samples'] schema as csl script": [
                {"DatabaseSchemaScript": f'.alter table R policy update h@\'[{{"Query": "{password}"}}]\' // {fetch}'},
                {
                    "DatabaseSchemaScript": f".create external table X {sas} (a: string) kind=storage dataformat=csv ('{DATA};managed_identity={who}')"
                },
                {"DatabaseSchemaScript": f".alter table R docstring 'AccountKey={key}' <| {fetch}"},
            ],
            ".show queries": requests,
            ".show commands-and-queries": requests,
            ".show ingestion failures": [
                {"Database": "Samples", "Table": "R", "Details": f"{who} cannot read {DATA}?{sas}, {key}"}
            ],
        }
    )


@row("continuous export E")
def secrets_in_the_evidence_of_an_audit(scene: Scene) -> None:
    with Session("mine", showing(scene), history=False) as session:
        found = scene.call(session.audit)
        scene.watch.see("evidence", *map(found.explain, found.findings))
        scene.watch.see("json", *_reports(found))
        scene.watch.value(session.discover())
        for one in found.findings:
            scene.watch.value(one)


def _reports(found: Any) -> tuple[str, str]:
    from kqlmi.model.audit import auditreport

    return auditreport.to_json(found), auditreport.to_sarif(found, "0")


@row("reasons")
def secrets_in_the_reasons_of_the_smallest_policies(scene: Scene) -> None:
    with Session("mine", showing(scene), history=False) as session:
        found = scene.call(session.tighten, also_unproven=True)
        scene.watch.see("reasons", "reasons", str(found.reasons), found.plan)


@row("external table")
def external_tables_functions_and_policies_of_a_real_cluster(scene: Scene) -> None:
    scene.connect()
    sas, key = scene.secrets.sas(), scene.secrets.key()
    run = "%%kqlmi\n"
    shape = "(a: string, b: long) kind=storage dataformat=csv"
    scene.cell(f"{run}.create-or-alter external table T1 {shape} (h'{DATA}/in?{sas}')")
    scene.cell(f"{run}.create-or-alter external table T2 {shape} (h'{DATA}/in;{key}')")
    scene.works(f"{run}.create-or-alter external table T3 {shape} (h'{DATA}/in;managed_identity={scene.loader}')")
    scene.works(f"{run}.create-or-alter function F() {{ externaldata (a: string) [h'{DATA}/a.csv?{sas}'] }}")
    for line in ("audit", "tighten", "show", "access", "history"):
        scene.works(f"%kqlmi {line}")
    for finding in scene.session.audit().findings:
        scene.works(f"%kqlmi audit {finding.id}")
    scene.works("%kqlmi revoke loader ExternalTable --database Samples")
    scene.watch.value(scene.session.impact(scene.session.revoke("loader", "ExternalTable", databases=["Samples"])))
    scene.works(f"{run}.show external table T3 | project TableName")
    for name in ("T1", "T2", "T3"):
        scene.cell(f"{run}.drop external table {name}")
    scene.works(f"{run}.drop function F")


@row("$schema")
def an_audit_on_the_command_line(scene: Scene) -> None:
    scene.connect()
    scene.works(
        f"%%kqlmi\n.create-or-alter function F() {{ externaldata (a: string) [h'{DATA}/a.csv?{scene.secrets.sas()}'] }}"
    )
    for form in ("--json", "--sarif", "--fail-on=high"):
        scene.line("audit", "--on", scene.cluster.url, "--auth", "token", form)
    scene.works("%%kqlmi\n.drop function F")


@row("kqlmi: A bearer token")
def an_environment_token_in_a_separate_process(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_TOKEN", scene.secrets.token())
    scene.patch.setenv("PYTHONPATH", str(Path(kqlmi.__file__).parents[1]))
    command = [
        sys.executable,
        "-m",
        "kqlmi",
        "export",
        "policy.yaml",
        "--on",
        scene.cluster.url,
        "--auth",
        "token",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    scene.watch.see("stdout", done.stdout)
    scene.watch.see("stderr", done.stderr)


@row("kqlmi: 1")
def plans_and_policy_files(scene: Scene) -> None:
    scene.connect()
    options = ("--on", scene.cluster.url, "--auth", "token")
    scene.line("export", "policy.yaml", *options)
    for form in ("json", "markdown", "kql"):
        scene.line("plan", "policy.yaml", *options, "--format", form)
    scene.works("%kqlmi grant system ExternalTable --database Samples")
    plan = next(iter(scene.session.plans))
    scene.works(f"%kqlmi plan {plan} --format json")
    scene.watch.value(scene.session.plans[plan])
    scene.works(f"%kqlmi apply {plan}")
    scene.works("%kqlmi undo")


@row("Not read")
def a_file_of_the_history_that_is_broken(scene: Scene) -> None:
    session = scene.connect()
    scene.works("%kqlmi grant system AzureAI --database Samples")
    scene.works(f"%kqlmi apply {next(iter(session.plans))}")
    [entry] = (scene.folder / "state").rglob("*.json")
    broken = entry.with_name("20260101-000000-000000-00000000.json")
    broken.write_text(f'{{"format": 1, "command": "h\'{scene.secrets.password()}\'"')
    scene.works("%kqlmi history")
    scene.fails("%kqlmi undo 20260101")
    broken.unlink()


@row("<LocalCluster")
def a_local_cluster_and_its_objects(scene: Scene) -> None:
    scene.connect()
    scene.look(scene.cluster, *scene.cluster.identities, scene.cluster.arm_options, scene.session.resource)
    scene.watch.value(local.find())
    scene.works("%kqlmi connections")
    scene.works("%kqlmi whoami")


@row("Nothing was changed")
def a_signature_in_the_storage_of_a_local_cluster(scene: Scene) -> None:
    for url in (
        f"{DATA}?{scene.secrets.sas()}",
        f"{DATA};{scene.secrets.key()}",
        f"https://a:{scene.secrets.password()}@h/c",
    ):
        scene.call(scene.cluster.add_storage, url, scene.given)
        scene.call(scene.cluster.assign_role, scene.loader, url, "Storage Blob Data Reader")


@row("its dtype is")
def a_column_whose_name_warns(scene: Scene) -> None:
    scene.connect()
    name = f"AccountKey={scene.secrets.key()}"
    scene.call(Table((Column(name, "datetime"),), [["nonsense"]]).to_dataframe().dtypes.tolist)
