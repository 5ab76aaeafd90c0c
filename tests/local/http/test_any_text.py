"""Tests that the answer to any text is a result or a refusal in Kusto's format, never an unhandled error."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kqlmi import local
from kqlmi.local.cluster import LocalCluster
from tests.local.flows.conftest import CONTAINER
from tests.local.http.test_server import send

FILE = f"h'{CONTAINER}/a.csv;managed_identity=system'"
TEXTS = [
    ".create table T (a: string, b: datetime)",
    ".ingest inline into table R <| x,1",
    f".ingest into table R ({FILE}) with (format='csv', ignoreFirstRecord=true, tags='[]')",
    (
        f".create external table E (a: string, b: long) kind=storage partition by (P:string = a, D:datetime) "
        f"pathformat = (P '/' datetime_pattern('yyyy/MM', D)) dataformat=csv ({FILE}) with (folder='f')"
    ),
    f".create external table E (a: string) kind=sql table=[dbo.T] ({FILE}) with (sqlDialect='CosmosDbSQL')",
    f".export async compressed to csv ({FILE}) with (sizeLimit=1000, includeHeaders='all') <| R | take 1",
    ".create-or-alter continuous-export X over (R) to table E with (intervalBetweenRuns=1h, managedIdentity='system') <| R",
    '.alter table R policy update \'[{"IsEnabled": true, "Source": "S", "Query": "S", "IsTransactional": false}]\'',
    '.alter cluster policy managed_identity \'[{"ObjectId": "system", "AllowedUsages": "All"}]\'',
    '.alter cluster policy callout \'[{"CalloutType": "sql", "CalloutUriRegex": ".*", "CanCall": true}]\'',
    ".add database D users ('aadapp=11111111-2222-3333-4444-555555555555;t') skip-results 'note'",
    ".create-or-alter function with (folder='f') F(x: long = 1) { print x }",
    ".execute database script with (ContinueOnErrors=true) <| .create table Z (x: long)",
    ".show databases | where DatabaseName == 'D' | count",
    ".show tables; $command_results | count",
    f"externaldata (a: string, b: long) [{FILE}] with (format=csv)",
    f"let n = 1; inline_external_table (a: string) kind=storage dataformat=csv ({FILE}) | where a == tostring(n)",
    f"evaluate infer_storage_schema(dynamic({{'StorageContainers': [{FILE}], 'DataFormat': 'csv'}}))",
    "print a = dynamic({'a': [1d, datetime(2020-01-01T00:00:00+01:00)]}), b = guid(null), 1e3; print real(nan), 0x1f",
    "datatable(a: string, b: timespan, c: decimal) ['x', 1d, decimal(1.5)]",
]
ODD = [
    *("9" * 5000, "1e999", "'", '"', "\\ud800", "\x00", "\u2028", "0x", "-", "(", ")", "[", "]", "{", "}", ";", "|", "<|", "="),
    *("datetime(9999-12-31T23:59:59-01:00)", "10675199d", "['']", "''", "true", "guid(x)", "https://[", "%ff", "//", "*"),
    *("99999999999999999999d", "int(99999999999)", "```", "null", "with (", "format=avro", "NaN", "{'a': [1, {'b': NaN}]}"),
]  # fmt: skip
CUTS = st.tuples(st.integers(0, 10**6), st.sampled_from(["replace", "insert", "delete", "cut"]), st.sampled_from(ODD))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    folder = tmp_path_factory.mktemp("container")
    (folder / "a.csv").write_text("x,1\n")
    with local.start(databases=["D"], identities=["system"], usages=["FutureFlow"]) as running:
        running.add_storage(CONTAINER, folder)
        send(running, "POST", "/v1/rest/mgmt", {"db": "D", "csl": ".create table R (a: string, b: long)"})
        yield running


def changed(text: str, cuts: list[tuple[int, str, str]]) -> str:
    """Change some words and symbols of a text."""
    parts = re.findall(r"\w+|\s+|[^\w\s]", text)
    for where, how, odd in cuts:
        place = where % len(parts) if parts else 0
        if how == "cut":
            parts = parts[:place]
        else:
            parts[place : place + (how != "insert")] = [] if how == "delete" else [odd]
    return "".join(parts)


@pytest.mark.parametrize("number", range(len(TEXTS)))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(CUTS, max_size=3))
def test_any_text_is_answered_or_refused(cluster: LocalCluster, number: int, cuts: list[tuple[int, str, str]]) -> None:
    text = changed(TEXTS[number], cuts)
    path = "/v1/rest/mgmt" if text.lstrip().startswith(".") else "/v2/rest/query"
    status, body, _ = send(cluster, "POST", path, {"db": "D", "csl": text})
    assert status < 500, json.dumps(body)[:500]
