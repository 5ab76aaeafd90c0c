"""Tests of what the cluster shows about the use of identities, with hidden strings masked."""

import json
from typing import Any

import pytest

from tests.local.flows.conftest import CONTAINER, World


@pytest.fixture
def furnished(here: World) -> World:
    client = here.client
    where = f"h@'{CONTAINER}/x;managed_identity={here.store}'"
    client.mgmt(
        f".create external table T (a: string, b: long) kind=storage dataformat=csv ({where}) "
        "with (folder='Ours', docString=\"It's ours\")"
    )
    client.mgmt(
        f".create function with (docstring='reads') F(n: long = 1) {{ external_table('T') | where b > n // {where}\n }}"
    )
    client.mgmt(f".create function Hidden() {{ externaldata (a: string) [{where}] }}")
    client.mgmt(".create table Made (a: string, b: long)")
    client.mgmt(f".add database Samples viewers ('aadapp={here.store}')")
    policy = json.dumps([{"Source": "R", "Query": "R", "ManagedIdentity": here.store}])
    client.mgmt(f".alter table Made policy update '{policy}'")
    client.mgmt(
        f".create-or-alter continuous-export E over (R) to table T with (managedIdentity='{here.store}', "
        "intervalBetweenRuns=1h) <| R"
    )
    return here


def test_external_tables_show_their_connection_strings(furnished: World) -> None:
    (row,) = furnished.client.mgmt(".show external tables")
    assert (row["TableName"], row["TableType"], row["Folder"], row["DocString"]) == ("T", "Blob", "Ours", "It's ours")
    strings = row["ConnectionStrings"]
    assert json.loads(strings) == [f"{CONTAINER}/x;managed_identity={furnished.store}"]
    assert json.loads(row["Properties"])["Format"] == "csv"
    assert furnished.client.mgmt(".show external tables details | project TableName") == [{"TableName": "T"}]
    assert furnished.client.mgmt(".show external table * policy query_acceleration") == []


def test_functions_are_shown_with_hidden_strings_masked(furnished: World, connect: Any) -> None:
    shown = {row["Name"]: row["Body"] for row in furnished.client.mgmt(".show functions")}
    assert shown["Hidden"] == "{ externaldata (a: string) [h'****'] }"
    whole = ".show function Hidden with (ShowObfuscatedStrings = true)"
    assert furnished.store in furnished.client.mgmt(whole)[0]["Body"]
    viewer = connect(furnished.cluster, furnished.cluster.token_for("viewer"))
    assert "h'****'" in viewer.mgmt(whole)[0]["Body"]


def test_entities_of_all_databases_are_shown_at_once(furnished: World) -> None:
    rows = furnished.client.mgmt(".show databases entities")
    found = {(row["DatabaseName"], row["EntityType"], row["EntityName"]) for row in rows}
    assert found == {
        ("Samples", "Table", "R"),
        ("Samples", "Table", "Made"),
        ("Samples", "ExternalTable", "T"),
        ("Samples", "Function", "F"),
        ("Samples", "Function", "Hidden"),
        ("My other db", "Table", "Elsewhere"),
    }
    assert furnished.store not in str([row for row in rows if row["EntityName"] == "Hidden"])


def test_the_script_of_a_database_recreates_it(furnished: World) -> None:
    where = f"(h'{CONTAINER}/x;managed_identity={furnished.store}')"
    who = f'Authentication="Active Directory Managed Identity";User Id={furnished.store}'
    by = "partition by (['b c']:string, H:long = hash(a, 3)) pathformat=(['b c'] '/' H)"
    for text in (
        f"P (a: string) kind=storage {by} dataformat=csv {where}",
        f"D (a: string) kind=delta {where}",
        f"S (a: string) kind=sql table=['dbo.T'] (h'Server=s;{who}') with (docstring='d')",
        f"C (a: string) kind=sql (h'AccountEndpoint=c;{who}') with (sqlDialect='CosmosDbSQL')",
    ):
        furnished.client.mgmt(f".create external table {text}")
    accelerated = '{"IsEnabled": true, "Hot": "1.00:00:00"}'
    furnished.client.mgmt(f".alter external table D policy query_acceleration '{accelerated}'")
    script = [
        row["DatabaseSchemaScript"] for row in furnished.client.mgmt(".show database Samples schema as csl script")
    ]
    furnished.client.mgmt(".create database Copy")
    furnished.client.mgmt(f".add database Copy viewers ('aadapp={furnished.store}')")
    for text in script:
        furnished.client.mgmt(text, "Copy")
    again = [row["DatabaseSchemaScript"] for row in furnished.client.mgmt(".show database Copy schema as csl script")]
    assert again == script
    shown = [
        furnished.client.mgmt(".show external tables | where TableName in ('P', 'D', 'S', 'C')", name)
        for name in ("Samples", "Copy")
    ]
    assert shown[0] == shown[1]
    assert len(shown[0]) == 4
    for word in ("managed_identity=", "ManagedIdentity", "managedIdentity="):
        assert any(f"{word}" in text for text in script)


def test_a_failed_ingestion_is_recorded(furnished: World, stranger: str) -> None:
    text = f".ingest into table R (h'{CONTAINER}/a.csv;managed_identity={stranger}')"
    furnished.client.refusal(text)
    (row,) = furnished.client.mgmt(".show ingestion failures")
    assert (row["ErrorCode"], row["Table"], row["Database"]) == ("BadRequest_InvalidManagedIdentity", "R", "Samples")
    assert row["IngestionSourcePath"] == f"{CONTAINER}/a.csv"
    assert row["FailureKind"] == "Permanent"


def test_requests_are_listed_with_hidden_strings_masked(furnished: World) -> None:
    furnished.client.refusal(f"externaldata (a: string) [h'{CONTAINER}/a.csv;sig=abcdefgh']", query=True)
    texts = [row["Text"] for row in furnished.client.mgmt(".show commands-and-queries")]
    assert any("external table T" in text and "h'****'" in text for text in texts)
    assert "abcdefgh" not in str(texts)


def test_functions_are_created_altered_and_dropped(here: World) -> None:
    client = here.client
    client.mgmt(".create function F(n: long) { print x = n }")
    assert client.refusal(".create function F() { print 1 }").code == "BadRequest"
    assert client.mgmt(".create function ifnotexists F() { print 1 }")[0]["Parameters"] == "(n: long)"
    assert here.rows("F(3)") == [[3]]
    client.mgmt(".alter function F() { print x = 4 }")
    assert here.rows("F()") == [[4]]
    client.mgmt(".create-or-alter function with (folder='a') ['G h']() { F() | extend y = '}' }")
    assert client.mgmt(".drop function F") == [{"Name": "G h"}]
    assert client.refusal(".drop function F").code == "BadRequest_EntityNotFound"
    assert client.mgmt(".drop function F ifexists") == [{"Name": "G h"}]
    assert client.refusal(".alter function F() { print 1 }").code == "BadRequest_EntityNotFound"
    assert client.refusal(".create function F() { print 1").code == "BadRequest_SyntaxError"


def test_tables_and_external_tables_may_not_share_a_name(here: World) -> None:
    shape = f"(a: string) kind=storage dataformat=csv (h'{CONTAINER};managed_identity={here.store}')"
    here.client.mgmt(f".create external table T {shape}")
    assert here.client.refusal(".create table T (a: string)").code == "BadRequest"
    assert "or that of a table" in here.client.refusal(f".create external table R {shape}").description
    assert here.client.refusal(f".create external table T {shape}").code == "BadRequest"
    assert here.client.refusal(f".alter external table Z {shape}").code == "BadRequest_EntityNotFound"
    assert here.client.mgmt(".drop external table T")[0]["TableName"] == "T"
    assert here.client.mgmt(".drop external table T ifexists") == []
    assert here.client.refusal("external_table('T')", query=True).code == "BadRequest_EntityNotFound"


def test_permissions_on_external_tables_are_as_documented(here: World, connect: Any) -> None:
    user = connect(here.cluster, here.cluster.token_for("user", database="Samples"))
    admin = connect(here.cluster, here.cluster.token_for("database admin", database="Samples"))
    viewer = connect(here.cluster, here.cluster.token_for("viewer", database="Samples"))
    shape = f"external table T (a: string) kind=storage dataformat=csv (h'{CONTAINER}{{}}')"
    ours = f";managed_identity={here.store}"
    assert viewer.refusal(f".create {shape.format(ours)}").status == 403
    user.mgmt(f".create {shape.format(ours)}")
    assert user.refusal(f".alter {shape.format(ours)}").status == 403
    admin.mgmt(f".alter {shape.format(ours)}")
    assert admin.refusal(f".create-or-alter {shape.format(ours)}").status == 403
    admin.mgmt(f".create-or-alter {shape.format(';impersonate')}")
    here.client.mgmt(f".create-or-alter {shape.format(ours)}")
    assert viewer.query("external_table('T') | count") == [{"Count": 2}]
    assert user.refusal(".drop external table T").status == 403


def test_unsupported_formats_and_kinds_are_refused(here: World) -> None:
    where = f"(h'{CONTAINER};managed_identity={here.store}')"
    for shape, says in {
        f"kind=delta {where}": "does not support schema inference",
        f"(a: string) kind=adx {where}": "expected 'storage' (the local cluster does not support this kind)",
        f"(a: string) kind=storage dataformat=avro {where}": "'avro'",
        f"(a: string) kind=storage dataformat=csv {where} with (encoding=UTF8BOM)": "UTF8BOM",
        "(a: string) kind=storage dataformat=csv ()": "string literal",
    }.items():
        assert says in here.client.refusal(f".create external table T {shape}").description
