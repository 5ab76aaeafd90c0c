"""Tests that the check happens where a store is opened, so that no spelling of a query avoids it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.local.flows.conftest import CONTAINER, READER, World

BLOB = f"{CONTAINER}/a.csv"
READ = "externaldata (a: string, b: long)"


def spellings(identity: str) -> dict[str, str]:
    """Return queries that read the blob; in most of them no literal contains the identity next to its key."""
    whole = f"{BLOB};managed_identity={identity}"
    half = len(whole) - len(identity) // 2
    return {
        "literal": f"{READ} [h'{whole}']",
        "verbatim": f'{READ} [@"{whole}"]',
        "multi-line": f"{READ} [```{whole}```]",
        "escaped": f"{READ} ['{whole.replace('m', chr(92) + 'x6d')}']",
        "adjacent": f"{READ} ['{whole[:half]}' h'{whole[half:]}']",
        "strcat": f"{READ} [strcat('{whole[:half]}', '{whole[half:]}')]",
        "let": f"let i = '{identity}'; let u = strcat('{BLOB};managed_', 'identity=', i); {READ} [u]",
        "lambda": f"let f = (s: string) {{ strcat('{BLOB};', s, '{identity}') }}; {READ} [f('managed_identity=')]",
        "reversed": f"{READ} [reverse('{whole[::-1]}')]",
        "dynamic": f"let o = dynamic(['{whole}']); {READ} [tostring(o[0])]",
        "let, joined": f"let T = {READ} [h'{whole}']; R | join kind=rightouter (T) on a | project a = a1, b = b1",
        "union": f"union R, ({READ} [h'{whole}'])",
        "in": f"datatable (a: string, b: long) ['x', 1, 'y', 2] | where a in (({READ} [h'{whole}'] | project a))",
        "in, alone": f"datatable (a: string, b: long) ['x', 1] | where a in ((externaldata (a: string) [h'{whole}']))",
        "toscalar": f"let n = toscalar({READ} [h'{whole}'] | count); range b from 1 to n step 1 | project a = 'x', b",
        "comment": f"{READ} // [h'nothing']\n [h'{whole}' // ]\n]",
        "infer": f"evaluate infer_storage_schema(bag_pack('StorageContainers', pack_array('{whole}'), 'DataFormat', 'csv'))"
        " | project a = CslSchema, b = 2",
        "inline": f"inline_external_table (a: string, b: long) kind=storage dataformat=csv (strcat('{whole}', ''))",
    }


@pytest.mark.parametrize("spelling", list(spellings("system")))
def test_the_identity_is_checked_however_a_query_writes_it(here: World, spelling: str) -> None:
    text = spellings(here.mine)[spelling]
    assert here.missing(text) == "grant"
    here.grant("database Samples", here.mine, "ExternalDataRequest")
    assert here.missing(text) == "azure role"
    here.assign(here.mine, READER)
    assert len(here.rows(text)) >= 1
    here.revoke("database Samples")
    assert here.missing(text) == "grant"


def test_a_query_parameter_is_checked_too(here: World) -> None:
    text = f"declare query_parameters(u: string); {READ} [u] | count"
    given = {"u": f"{BLOB};managed_identity={here.mine}"}
    assert here.missing(text, parameters=given) == "grant"
    here.grant("cluster", here.mine, "ExternalDataRequest")
    here.assign(here.mine, READER)
    assert here.rows(text, parameters=given) == [[2]]


CALLS: list[tuple[str, str]] = [
    ("F()", "Samples"),
    ("F | take 5", "Samples"),
    ("G(1) | project a, b", "Samples"),
    ("database('samples').F()", "My other db"),
    ("database('Samples').G(0)", "My other db"),
]


@pytest.mark.parametrize(("text", "database"), CALLS)
def test_a_stored_function_does_not_hide_it(here: World, text: str, database: str) -> None:
    here.client.mgmt(f".create function F() {{ {READ} [strcat('{BLOB};managed_', 'identity={here.mine}')] }}")
    here.client.mgmt(".create function G(least: long) { let n = least; F() | where b >= n }")
    assert here.missing(text, database=database) == "grant"
    here.grant("database Samples", here.mine, "ExternalDataRequest")
    here.assign(here.mine, READER)
    assert here.rows(text, database) == [["x", 1], ["y", 2]]


def test_a_function_that_no_query_calls_opens_nothing(here: World) -> None:
    here.client.mgmt(f".create function F() {{ {READ} [h'{BLOB};managed_identity={here.mine}'] }}")
    assert here.rows("let T = R; T | count") == [[0]]


def test_a_nested_external_table_is_checked(here: World) -> None:
    where = f"h@'{CONTAINER};managed_identity={here.mine}'"
    here.grant("database Samples", here.mine, "ExternalTable")
    here.client.mgmt(f".create external table T (a: string, b: long) kind=storage dataformat=csv ({where})")
    here.client.mgmt(".create function F() { external_table('T') | where b > 0 }")
    here.client.mgmt(".create function G() { F() | join kind=inner (external_table(strcat('', 'T'))) on a }")
    texts = ["external_table('T')", "G()", "R | union (G())", "print n = toscalar(F() | count)"]
    here.assign(here.mine, READER)
    for text in texts:
        assert here.rows(text)
    here.revoke("database Samples")
    for text in texts:
        assert here.missing(text) == "grant"


def test_an_external_table_of_another_database_is_checked_by_its_own_databases_policy(here: World) -> None:
    where = f"h@'{CONTAINER};managed_identity={here.mine}'"
    here.grant("database Samples", here.mine, "ExternalTable")
    here.assign(here.mine, READER)
    here.client.mgmt(f".create external table T (a: string, b: long) kind=storage dataformat=csv ({where})")
    assert here.rows("database('Samples').external_table('T') | count", "My other db") == [[2]]
    here.revoke("database Samples")
    here.grant("database ['My other db']", here.mine, "ExternalTable")
    assert here.missing("database('Samples').external_table('T') | count", database="My other db") == "grant"


def test_an_update_policy_reaches_no_external_data(here: World) -> None:
    here.client.mgmt(".create table Made (a: string, b: long)")
    here.client.mgmt(f".create function F() {{ {READ} [h'{BLOB};managed_identity={here.store}'] }}")
    for query in ("R | union (F())", "F()"):
        policy = f'[{{"IsEnabled": true, "Source": "R", "Query": "{query}", "ManagedIdentity": "{here.store}"}}]'
        here.client.mgmt(f".add database Samples viewers ('aadapp={here.store}')")
        assert (
            "cannot use external data" in here.client.refusal(f".alter table Made policy update '{policy}'").description
        )


@pytest.mark.parametrize(
    "plugin",
    [
        "http_request('https://example.org;managed_identity={0}')",
        "http_request(strcat('https://example.org;managed_identity=', '{0}'))",
        "infer_storage_schema_with_suggestions(dynamic({{'StorageContainers': ['{1};managed_identity={0}']}}))",
        "mysql_request('Server=x;Authentication=\"Active Directory Managed Identity\";User Id={0}', 'select 1')",
    ],
)
def test_a_flow_outside_the_supported_ones_gets_the_documented_sentence(here: World, plugin: str) -> None:
    here.grant("cluster", here.mine, "All")
    error = here.client.refusal(f"evaluate {plugin.format(here.mine, BLOB)}", query=True)
    assert error.description == "Authentication with a Managed Identity is disabled for this flow"


@pytest.mark.parametrize(
    ("plugin", "usage"),
    [
        ("sql_request('Server=tcp:s.database.windows.net;{}', 'select 1')", "SqlRequest"),
        ("cosmosdb_sql_request('AccountEndpoint=https://a.documents.azure.com/;{}', 'select 1')", "SqlRequest"),
    ],
)
def test_an_unsupported_plugin_checks_the_grant_and_is_then_refused(here: World, plugin: str, usage: str) -> None:
    text = "evaluate " + plugin.format(f'Authentication="Active Directory Managed Identity";User Id={here.mine};')
    assert here.missing(text) == "grant"
    here.grant("database Samples", here.mine, usage)
    assert "does not support" in here.client.refusal(text, query=True).description


def test_an_impersonated_caller_needs_the_role_and_no_grant(here: World, connect: Callable[..., Any]) -> None:
    token = here.cluster.token_for("viewer")
    viewer = connect(here.cluster, token)
    text = f"{READ} [h'{BLOB};impersonate'] | count"
    assert "Storage Blob Data Reader" in viewer.refusal(text, query=True).description
    object_id = viewer.query("print current_principal_details()")[0]["print_0"]["ObjectId"]
    here.cluster.assign_role(object_id, CONTAINER, READER)
    assert viewer.query(text) == [{"Count": 2}]
    assert "Storage Blob Data Reader" in here.client.refusal(text, query=True).description


def test_the_callout_policy_applies_to_storage_too(here: World) -> None:
    here.grant("cluster", here.mine, "All")
    here.assign(here.mine, READER)
    text = f"{READ} [h'{BLOB};managed_identity={here.mine}'] | count"
    assert here.rows(text) == [[2]]
    denied = '[{"CalloutType": "external_data", "CalloutUriRegex": "acct", "CanCall": false}]'
    here.client.mgmt(f".alter cluster policy callout '{denied}'")
    assert here.missing(text) == "callout"


def test_onelake_checks_the_grant_before_it_is_refused_as_unsupported(here: World) -> None:
    where = f"https://onelake.dfs.fabric.microsoft.com/W/L.Lakehouse/Files/a.csv; managed_identity = {here.mine}"
    for text in (
        f"{READ} [h'{where}']",
        f"{READ} with (format=csv) [h'{where}']",
        f"{READ} [h'{where}'] with (format=csv)",
    ):
        here.revoke("cluster")
        assert here.missing(text) == "grant"
        here.grant("cluster", here.mine, "ExternalDataRequest")
        assert "does not support data in OneLake" in str(here.client.refusal(text, query=True).description)
