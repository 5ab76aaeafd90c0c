"""Tests of external tables, update policies and query acceleration in the documented spellings."""

import json
from typing import Any

import pytest

from kqlmi.local.language import literals, partitions
from kqlmi.local.language.partitions import Partition
from kqlmi.local.state.entities import UpdatePolicy
from tests.local.flows.conftest import CONTAINER, World
from tests.local.flows.test_workflows import SQL


def create(here: World, rest: str, *, columns: str = "(a: string, b: long)", more: str = "") -> dict[str, Any]:
    where = f"(h@'{CONTAINER}/in;managed_identity={here.store}')"
    (row,) = here.client.mgmt(f".create-or-alter external table T {columns} kind=storage {rest} {where} {more}")
    return row


@pytest.mark.parametrize(
    ("by", "files", "rows"),
    [
        (
            'partition by (Customer:string, Date:datetime) pathformat=("c=" Customer "/d=" datetime_pattern("yyyyMMdd", Date))',
            ["c=me/d=20200102/1.csv", "elsewhere/2.csv"],
            [["me", "2020-01-02T00:00:00.0000000Z"]],
        ),
        (
            "partition by (Month:datetime) pathformat=(datetime_pattern(\"'year='yyyy'/month='MM\", Month))",
            ["year=2020/month=02/1.csv", "year=x/month=02/2.csv"],
            [["2020-02-01T00:00:00.0000000Z"]],
        ),
        (
            "partition by (Hour:datetime) pathformat=(datetime_pattern('h={HH}_{yyyy}{MM}{dd}', Hour) '/')",
            ["h=23_20200102/1.csv"],
            [["2020-01-02T23:00:00.0000000Z"]],
        ),
        ("partition by (P:string = a, N:long = hash(a, 10)) pathformat=(P '/n=' N)", ["me/n=7/1.csv"], [["me", 7]]),
        ("partition by (P:string = a)", ["me/1.csv"], [["me"]]),
    ],
)
def test_a_partitioned_table_reads_the_values_of_its_partitions_from_the_paths(
    here: World, by: str, files: list[str], rows: list[Any]
) -> None:
    for path in files:
        here.put(f"in/{path}", "x,1\n")
    create(here, f"{by} dataformat=csv")
    assert here.rows("external_table('T')") == [["x", 1, *row] for row in rows]
    shown = here.client.mgmt(".show external table T artifacts")
    assert [row["Uri"] for row in shown] == [f"{CONTAINER}/in/{files[0]}"]
    assert [str(value) for value in json.loads(shown[0]["Partition"]).values()] == [str(value) for value in rows[0]]
    text = f"inline_external_table (a: string, b: long) kind=storage {by} dataformat=csv"
    assert here.rows(f"{text} (h@'{CONTAINER}/in;managed_identity={here.store}') | count") == [[1]]


def test_a_limit_of_any_length_is_read_or_is_a_syntax_error(here: World) -> None:
    create(here, "dataformat=csv")
    assert here.client.mgmt(".show external table T artifacts limit 3") == []
    text = f".show external table T artifacts limit {'9' * 5000}"
    assert here.client.refusal(text).code == "BadRequest_SyntaxError"


def test_partitions_are_shown_as_in_the_documentation(here: World) -> None:
    by = "partition by (C:long = hash(a, 10), Date:datetime = startofday(t), A:string=a, V:datetime)"
    row = create(
        here, f"{by} pathformat = ('c=' C '/' Date '/' A '/' V) dataformat=csv", columns="(a: string, t: datetime)"
    )
    assert json.loads(row["Partitions"]) == [
        {"Mod": 10, "Name": "C", "ColumnName": "a", "Ordinal": 0},
        {"Function": "StartOfDay", "Name": "Date", "ColumnName": "t", "Ordinal": 1},
        {"Name": "A", "ColumnName": "a", "Ordinal": 2},
        {"Name": "V", "Ordinal": 3},
    ]
    assert row["PathFormat"] == "'c=' C '/' Date '/' A '/' V"


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ("partition by (A:int)", "the type of the partition 'A' must be"),
        ("partition by (A:string = nope)", "'nope', which is not a column"),
        ("partition by (A:string = toupper(a))", "not a documented one"),
        ("partition by (A:string, A:string)", "two partitions have the same name"),
        ("partition by (A:string) pathformat=(B)", "'B', which is not a partition"),
        ("partition by (A:string) pathformat=()", "expected a path format"),
        ("partition by (A:datetime) pathformat=(datetime_pattern('yyyy'))", "datetime_pattern requires"),
        ("partition by (A:datetime) pathformat=(datetime_pattern('yyyy' 'MM', B, A))", "datetime_pattern requires"),
        ("partition by (A:datetime) pathformat=(datetime_pattern(//\n, A))", "Syntax error"),
    ],
)
def test_a_wrong_partition_is_refused(here: World, by: str, says: str) -> None:
    text = f".create external table T (a: string) kind=storage {by} dataformat=csv (h@'{CONTAINER};impersonate')"
    assert says in here.client.refusal(text).description


def test_an_export_to_a_partitioned_table_is_not_supported(here: World) -> None:
    create(here, "partition by (A:string = a) dataformat=csv")
    assert "does not support exports" in here.client.refusal(".export to table T <| print a = 'x', b = 1").description


def test_options_that_a_definition_may_contain_only_once(here: World) -> None:
    assert create(here, "dataformat=csv", more="with (dryRun=true)")["TableName"] == "T"
    assert here.client.mgmt(".show external tables") == []
    text = f".create external table T (a: string) kind=storage dataformat=csv (h@'{CONTAINER}/%s;managed_identity={here.store}') with (%s=true)"
    assert "no blob" in here.client.refusal(text % ("nothing", "validateNotEmpty")).description
    for name in ("sampleUris", "filesPreview"):
        assert f"support the property '{name.lower()}'" in here.client.refusal(text % ("", name)).description
    here.client.mgmt(text % ("", "validateNotEmpty"))
    assert here.client.mgmt(".show external table T cslschema") == here.client.mgmt(
        ".show external table T schema as csl"
    )
    assert len(here.client.mgmt(".show external table T artifacts limit 0")) == 0


def test_a_secret_of_sql_is_never_kept(here: World) -> None:
    text = ".create external table S (x: int) kind=sql table=T (h@'Server=tcp:a.database.windows.net;User ID=me;Password=hush;') with (docstring='d')"
    here.client.mgmt(text)
    assert "hush" not in json.dumps(here.client.mgmt(".show external tables"))
    assert here.client.mgmt(".show external tables")[0]["DocString"] == "d"
    mysql = f".create external table M (x: int) kind=sql (h'{SQL.format(here.mine)}') with (sqlDialect='MySQL')"
    assert here.missing(mysql, query=False) == "flow"


def test_query_acceleration_is_kept_merged_and_deleted(here: World) -> None:
    where = f"h@'{CONTAINER}/in;managed_identity={here.store}'"
    here.client.mgmt(f".create external table D (x: int) kind=delta ({where})")
    on = "external table D policy query_acceleration"
    window = {"MinValue": "2025-07-07 07:00:00", "MaxValue": "2025-07-09 07:00:00"}

    def policy(text: str) -> Any:
        return json.loads(here.client.mgmt(text)[0]["Policy"])

    assert "required" in here.client.refusal(f""".alter-merge {on} '{{"Hot": "1.00:00:00"}}'""").description
    first = {"IsEnabled": True, "Hot": "36500.00:00:00", "HotWindows": [window]}
    assert policy(f".alter {on} '{json.dumps(first)}'") == first
    more = {"MaxAge": "00:05:00", "HotWindows": [window], "IsEnabled": False}
    merged = {**first, **more, "HotWindows": [window, window]}
    assert policy(f".alter-merge {on} '{json.dumps(more)}'") == merged
    assert policy(f".show {on}") == policy(".show external table * policy query_acceleration") == merged
    details = here.client.mgmt(".show external table D details")
    assert json.loads(details[0]["QueryAccelerationPolicy"]) == merged
    for wrong in (
        '{"Hot": "1h", "IsEnabled": true}',
        '{"Other": 1}',
        "[]",
        '{"IsEnabled": "yes"}',
        '{"MaxAge": "1s"}',
        '{"Hot": "soon"}',
    ):
        assert "Query acceleration" in here.client.refusal(f".alter-merge {on} '{wrong}'").description
    assert policy(f".delete {on}") is None
    create(here, "dataformat=csv")
    refusal = here.client.refusal(f".alter {on.replace(' D ', ' T ')} '{json.dumps(first)}'")
    assert "not an external delta table" in refusal.description


def test_an_update_policy_is_written_as_in_the_documentation(here: World) -> None:
    here.client.mgmt(".create table Made (a: string, b: long)")
    payload = json.dumps(
        [
            {
                "IsEnabled": "True",
                "Source": "R",
                "Query": "R",
                "PropagateIngestionProperties": "false",
                "ManagedIdentity": None,
            }
        ]
    )
    for name in ("Samples.Made", "['samples'].['Made']", "database_less"):
        if name == "database_less":
            assert here.client.refusal(f".alter table {name} policy update @'{payload}'", "My other db")
            continue
        (row,) = here.client.mgmt(f".alter table {name} policy update @'{payload}'", "My other db")
        assert row["EntityName"] == "[Samples].[Made]"
    assert (
        json.loads(here.client.mgmt(".show table Samples.Made policy update", "My other db")[0]["Policy"])[0][
            "IsEnabled"
        ]
        is True
    )
    here.client.mgmt(".ingest inline into table R <| x,1")
    assert here.rows("Made") == [["x", 1]]
    here.client.mgmt(".delete table Samples.Made policy update", "My other db")
    assert here.client.mgmt(".show table Made policy update")[0]["Policy"] == "null"


def test_an_update_policy_with_a_wildcard_runs_over_each_source_that_it_takes(here: World) -> None:
    for name in ("Source1", "Source2", "Other", "Target"):
        here.client.mgmt(f".create table {name} (a: string)")
    here.client.mgmt(".create function with (skipValidation=true) Take() { $source_table | extend a = strcat(a, '!') }")
    policy = [{"Source": "So*rce*", "SourceIsWildCard": True, "Query": "Take()", "IsEnabled": True}]
    here.client.mgmt(f".alter table Target policy update '{json.dumps(policy)}'")
    for name in ("Source1", "Source2", "Other"):
        here.client.mgmt(f".ingest inline into table {name} <| {name}")
    assert sorted(here.rows("Target")) == [["Source1!"], ["Source2!"]]
    policy[0]["Query"] = "$source_table | project nope"
    assert "nope" in here.client.refusal(f".alter table Target policy update '{json.dumps(policy)}'").description


def test_a_path_format_states_when_a_blob_was_created(here: World) -> None:
    here.put("in/year=2024/month=03/day=05/a.parquet", "")
    here.put("in/b.parquet", "")
    form = """PathFormat=("in/year=" datetime_pattern("yyyy'/month='MM'/day='dd", creationTime) "/")"""
    text = f".list blobs ('{CONTAINER}/in;managed_identity={here.store}') Suffix='.parquet' MaxFiles=10 {form}"
    assert [json.loads(row["CapturedVariables"]) for row in here.ingest(text)] == [
        {},
        {"CreationTime": "2024-03-05T00:00:00.0000000Z"},
    ]


def test_continuous_exports_take_their_documented_properties(here: World) -> None:
    create(here, "dataformat=csv")
    given = "intervalBetweenRuns=1h, forcedLatency=10m, sizeLimit=104857600, distributionKind='uniform', parquetRowGroupSize=1"
    (row,) = here.client.mgmt(f".create-or-alter continuous-export E over (R) to table T with ({given}) <| R")
    assert row["ForcedLatency"] == "00:10:00"
    script = here.client.mgmt(".show database Samples schema as csl script")
    assert any("forcedLatency=time(00:10:00)" in one["DatabaseSchemaScript"] for one in script)


@pytest.mark.parametrize(
    ("pattern", "takes", "refuses"),
    [
        ("A*", ["A", "AB"], ["B", "a"]),
        ("*a*b*", ["ab", "xaxbx"], ["ba", "a"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("plain", ["plain"], ["plainer"]),
        ("*a" * 40 + "b", ["a" * 40 + "b"], ["a" * 1000, "a" * 39 + "b"]),
    ],
)
def test_a_wildcard_matches_names_in_linear_time(pattern: str, takes: list[str], refuses: list[str]) -> None:
    policy = UpdatePolicy(pattern, "R", is_wildcard=True)
    assert [name for name in (*takes, *refuses) if policy.takes(name)] == takes


def test_a_path_format_is_matched_in_linear_time() -> None:
    many = tuple(Partition(f"P{place}", "string") for place in range(40))
    path_format = " 'a' ".join(one.name for one in many)
    assert partitions.values(many, path_format, "a" * 190 + "b/c") is not None
    assert partitions.values(many, f"{path_format} 'z'", "a" * 190 + "/c") is None
    twice = "datetime_pattern('yyyy/yyyyMM', D) '/' D"
    found = partitions.values((Partition("D", "datetime"),), twice, "2020/202001/2020/01/01/a.csv")
    assert found == {"D": literals.parse("datetime", "2020-01-01")}
