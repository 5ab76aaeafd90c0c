"""Tests that an update policy runs as its identity when its source is ingested into, and fails as its definition specifies."""

import json
from typing import Any

import pytest

from tests.local.flows.conftest import CONTAINER, World


def define(here: World, query: str, **more: Any) -> list[dict[str, Any]]:
    policy = {"IsEnabled": True, "Source": "R", "Query": query, "ManagedIdentity": here.mine, **more}
    text = json.dumps([policy]).replace("'", "''")
    return here.client.mgmt(f".alter table Made policy update @'{text}'")


@pytest.fixture
def ready(here: World) -> World:
    here.client.mgmt(".create table Made (a: string, b: long)")
    here.client.mgmt(f".add database Samples viewers ('aadapp={here.mine}')")
    here.grant("database Samples", here.mine, "AutomatedFlows")
    return here


def test_it_makes_rows_of_the_new_rows_only(ready: World) -> None:
    ready.client.mgmt(".ingest inline into table R <| old,1")
    define(ready, "R | summarize b = count() by a")
    ready.client.mgmt(".ingest inline into table R <| new,1\nnew,2")
    assert ready.rows("Made") == [["new", 2]]
    ready.client.mgmt(".set-or-append R <| datatable(a: string, b: long) ['q', 1]")
    assert ready.rows("Made | where a == 'q'") == [["q", 1]]
    assert ready.rows("R | count") == [[4]]


def test_it_runs_for_files_too(ready: World) -> None:
    define(ready, "R | extend b = b * 10")
    ready.client.mgmt(f".ingest into table R (h'{CONTAINER}/a.csv;managed_identity={ready.store}')")
    assert ready.rows("Made") == [["x", 10], ["y", 20]]


@pytest.mark.parametrize("transactional", [True, False])
def test_without_the_grant_a_transactional_one_stops_the_ingestion_and_another_does_not(
    ready: World, *, transactional: bool
) -> None:
    define(ready, "R", IsTransactional=transactional)
    ready.revoke("database Samples")
    text = ".ingest inline into table R <| x,1"
    if transactional:
        assert ready.missing(text, query=False) == "grant"
    else:
        ready.client.mgmt(text)
    assert ready.rows("R | count") == [[0 if transactional else 1]]
    assert ready.rows("Made | count") == [[0]]
    (failure,) = ready.client.mgmt(".show ingestion failures")
    assert (failure["Table"], failure["OriginatesFromUpdatePolicy"]) == ("Made", 1)
    assert failure["ErrorCode"] == "BadRequest_InvalidManagedIdentity"
    assert "AutomatedFlows" in failure["Details"]


def test_without_an_identity_it_reads_its_own_database_only(ready: World) -> None:
    define(ready, "R", ManagedIdentity=None)
    ready.client.mgmt(".ingest inline into table R <| x,1")
    assert ready.rows("Made") == [["x", 1]]
    with pytest.raises(Exception, match="My other db"):
        define(ready, "database('My other db').Elsewhere", ManagedIdentity=None)


def test_a_role_in_the_other_database_is_needed_when_it_runs(ready: World) -> None:
    query = "R | join kind=inner (database('My other db').Elsewhere) on b | project a = a1, b"
    ready.client.mgmt(f".add database ['My other db'] viewers ('aadapp={ready.mine}')")
    define(ready, query, IsTransactional=True)
    ready.client.mgmt(".ingest inline into table R <| x,7")
    assert ready.rows("Made") == [["far", 7]]
    ready.client.mgmt(f".drop database ['My other db'] viewers ('aadapp={ready.mine}')")
    assert "My other db" in ready.client.refusal(".ingest inline into table R <| x,7").description


def test_policies_run_one_after_another_and_a_cycle_is_refused(ready: World) -> None:
    ready.client.mgmt(".create table Last (a: string, b: long)")
    define(ready, "R | extend b = b + 1", ManagedIdentity=None)
    chained = '[{"Source": "Made", "Query": "Made | extend b = b + 1"}]'
    ready.client.mgmt(f".alter table Last policy update '{chained}'")
    ready.client.mgmt(".ingest inline into table R <| x,1")
    assert ready.rows("Last") == [["x", 3]]
    circle = '[{"Source": "Last", "Query": "Last", "IsTransactional": true}]'
    ready.client.mgmt(f".alter table R policy update '{circle}'")
    assert "or a cycle" in ready.client.refusal(".ingest inline into table R <| x,1").description


def test_a_disabled_policy_does_nothing_and_a_deleted_one_is_gone(ready: World) -> None:
    define(ready, "R", IsEnabled=False)
    ready.client.mgmt(".ingest inline into table R <| x,1")
    assert ready.rows("Made | count") == [[0]]
    shown = json.loads(ready.client.mgmt(".show table Made policy update")[0]["Policy"])
    assert (shown[0]["IsEnabled"], shown[0]["ManagedIdentity"]) == (False, ready.mine)
    assert ready.client.mgmt(".delete table Made policy update")[0]["Policy"] == "null"
    merged = '[{"Source": "R", "Query": "R"}]'
    for count in (1, 2):
        row = ready.client.mgmt(f".alter-merge table Made policy update '{merged}'")[0]
        assert len(json.loads(row["Policy"])) == count
    ready.client.mgmt(".drop table Made")
    assert [row["Policy"] for row in ready.client.mgmt(".show table * policy update")] == ["null"]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("{}", "array"),
        ("[1]", "object"),
        ('[{"Source": "R"}]', "Query"),
        ('[{"Source": "Z", "Query": "R"}]', "'Z'"),
        ('[{"Source": "R", "Query": "R | project nope"}]', "nope"),
        ('[{"Source": "R", "Query": "R | count"}]', "schema"),
        ('[{"Source": "R", "Query": "R", "IsEnabled": "yes"}]', "IsEnabled"),
        ('[{"Source": "R", "Query": "R", "Other": 1}]', "object of"),
    ],
)
def test_a_wrong_policy_is_refused(ready: World, policy: str, says: str) -> None:
    assert says in ready.client.refusal(f".alter table Made policy update '{policy}'").description
