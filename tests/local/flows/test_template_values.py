"""Tests that the local cluster runs a template's text, or refuses it as unsupported, for every value that a field accepts."""

from collections.abc import Iterator

import pytest
from azure.kusto.data import DataFormat
from azure.kusto.data.exceptions import KustoApiError
from azure.mgmt.kusto.models import EventHubDataFormat

from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local.storage import files
from kqlmi.local.values.tables import Table, columns
from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.kql import quoting
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.templates import FORMS, Form, Place, fill
from kqlmi.model.templates.fields import TYPES, Field
from kqlmi.model.uses.blobs import FORMATS
from tests.local.conftest import Client
from tests.local.flows.conftest import CONTAINER, World

DB = Scope.database("Samples")
VALUES = {
    "name": ["N", "it's", "a b", "policy", "π", "1d", "['x']"],
    "text": ["x = 1", 'it\'s "x"\n', "`$\\", "π"],
    "query": ["Source", "print a = 'x', b = 1", "let n = 1;\nSource | where b > n"],
    "uri": [
        f"{CONTAINER}/in",
        f"{CONTAINER}/in/",
        "https://acct.dfs.core.windows.net/data/in",
        "abfss://data@acct.dfs.core.windows.net/in",
        "https://acct.blob.core.usgovcloudapi.net/data/in",
        "https://onelake.dfs.fabric.microsoft.com/W/L.Lakehouse/Files",
        "adl://acct.azuredatalakestore.net/in",
    ],
    "model uri": ["https://a.openai.azure.com/openai/deployments/m/embeddings?api-version=2024-06-01"],
    "schema": [*(f"x: {kind}" for kind in sorted(TYPES)), "x: int, ['y, too']: string"],
    "format": FORMATS,
    "written format": FORMATS,
    "event format": FORMATS,
    "days": ["0d", "1d", "1s", "36500d"],
    "interval": ["0s", "1s", "90m", "48h", "30d", "99999999999d"],
    "value": ["s.database.windows.net", "db", "a b", "it\\s"],
    "resource": ["/subscriptions/s/resourceGroups/g/providers/Microsoft.EventHub/namespaces/namespace/eventhubs/hub"],
    "endpoint": ["https://ingest-c.westeurope.kusto.windows.net"],
    "guid": ["cccccccc-1111-2222-3333-444444444444"],
}
FIRST = {kind: values[0] for kind, values in VALUES.items()} | {"interval": "1s", "days": "1d", "written format": "csv", "schema": "a: string, b: long"}  # fmt: skip
NOT_THERE = (
    "is not enabled",
    "was not found",
    "has no container",
    "there is no blob",
    "already exists",
    "no hub",
    "no file was found",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster on which every gate is open for ``store``, with a folder for each format."""
    folder = tmp_path_factory.mktemp("container")
    with local.start(databases=["Samples", "My other db"], identities=["system", "mine", "store"]) as cluster:
        client = Client(cluster.url, cluster.token)
        here = World(cluster, client, folder)
        for kind in FORMATS:
            lines = {"w3clogfile": "#Fields: a b\nx 1\n"}.get(kind, '{"a": "x", "b": 1}' if "json" in kind else "x")
            here.put(f"{kind}/f.{kind}", lines)
        (folder / "parquet" / "f.parquet").unlink()
        shape = columns("a: string, b: long")
        files.write(folder, "parquet/f.parquet", "parquet", Table(shape, (("x", 1),)))
        here.put("in/f.csv", ",\n")
        client.mgmt(".create table Source (a: string, b: long)")
        client.mgmt(
            f".create external table Out (a: string, b: long) kind=storage dataformat=csv (h'{CONTAINER}/out;managed_identity={here.store}')"
        )
        client.mgmt(f".add database Samples viewers ('aadapp={here.store}')")
        yield here
        client.sdk.close()


def texts(one: Form, object_id: str) -> Iterator[tuple[str, str]]:
    """Yield each text that a form writes as each field takes each of its values in turn."""
    store = Identity(ObjectId(object_id), "store", client_id="cccccccc-1111-2222-3333-444444444444")
    named = {"table": TABLES.get(one.flow, "R"), "source": "Source"}
    defaults = {each.name: named.get(each.name, FIRST[each.kind]) for each in one.fields}
    for each in one.fields:
        for value in VALUES[each.kind]:
            changed = defaults | {each.name: value}
            if "format" in changed and each.kind != "uri":  # a file of that format, or its folder
                folder = "in" if each.kind == "schema" else changed["format"]
                changed["uri"] = f"{CONTAINER}/{folder}" + ("" if one.flow in FOLDERS else f"/f.{changed['format']}")
            try:
                checked = fill(one, changed, store, DB, place=Place(), snapshot=Snapshot({DB: None}))
            except InputError:
                assert each.kind in {"days", "interval", "written format", "event format", "value"}, (each.name, value)
            else:
                yield f"{each.option} {value}", checked.text


TABLES = {"export.to_external_table": "Out", "continuous_export": "Out", "query_acceleration": "Out"}
FOLDERS = {"external_table.storage", "inline_external_table", "infer_storage_schema", "export.to_storage"}
PROGRAMS = [flow for flow, one in FORMS.items() if one.kind != "kql"]
KQL = [flow for flow, one in FORMS.items() if one.kind == "kql"]


@pytest.mark.parametrize("flow", KQL)
def test_the_local_cluster_accepts_every_text_that_a_template_writes(world: World, flow: str) -> None:
    refused = []
    for what, text in texts(FORMS[flow], world.store):
        if flow == "query_acceleration":
            world.client.mgmt(
                f".alter external table Out (a: string) kind=delta (h'{CONTAINER}/out;managed_identity={world.store}')"
            )
        for table in world.client.mgmt(".show external tables"):
            if table["TableName"] != "Out":
                world.client.mgmt(f".drop external table {quoting.name(table['TableName'])}")
        try:
            if flow in {"ingest.queued_cmd", "list_blobs"}:
                world.ingest(text)
            elif text.startswith("."):
                world.client.mgmt(text)
            else:
                world.client.query(text)
        except KustoApiError as error:
            reported = str(error.error.description)
            if "does not support" not in reported and not any(one in reported for one in NOT_THERE):
                refused.append((what, reported))
    assert refused == []


@pytest.mark.parametrize("flow", PROGRAMS)
def test_the_formats_of_a_program_are_those_of_its_library(flow: str) -> None:
    one = FORMS[flow]
    formats = [each for each in one.fields if each.name == "format"]
    known = (
        {each.value for each in EventHubDataFormat}
        if flow.startswith("dataconnection")
        else set(DataFormat.__members__)
    )
    offered = {value.upper() for value in VALUES["format"] for each in formats if takes(each, value)}
    assert offered <= known
    assert ("ORC" in offered) == bool(formats)


def takes(field: Field, value: str) -> bool:
    try:
        return bool(field.checked(value))
    except InputError:
        return False
