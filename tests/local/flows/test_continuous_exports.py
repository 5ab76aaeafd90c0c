"""Tests that a continuous export exports each new row once, on behalf of its identity, and reports when it cannot."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.local.flows.conftest import CONTAINER, INTERVAL, World
from tests.waiting import eventually


@pytest.fixture
def exporting(here: World) -> World:
    where = f"h@'{CONTAINER}/out;managed_identity={here.store}'"
    here.client.mgmt(f".create external table T (a: string, b: long) kind=storage dataformat=csv ({where})")
    here.client.mgmt(f".add database Samples viewers ('aadapp={here.mine}')")
    here.grant("database Samples", here.mine, "AutomatedFlows")
    return here


def define(
    here: World, query: str = "R", over: str = "over (R)", more: str = "", name: str = "E"
) -> list[dict[str, Any]]:
    properties = f"with (managedIdentity='{here.mine}', {INTERVAL}{more})"
    return here.client.mgmt(f".create-or-alter continuous-export {name} {over} to table T {properties} <| {query}")


def exported(here: World) -> list[list[Any]]:
    return here.rows("external_table('T') | order by a asc, b asc")


def shown(here: World, name: str = "E") -> dict[str, Any]:
    return here.client.mgmt(f".show continuous-export {name}")[0]


def await_runs(here: World, name: str = "E") -> None:
    """Wait until two more runs of a continuous export have begun, so that one complete run is over."""
    for _ in range(2):
        last = shown(here, name)["LastRunTime"]
        eventually(lambda last=last: shown(here, name)["LastRunTime"] != last)  # type: ignore[misc]


def failures(here: World) -> list[dict[str, Any]]:
    return here.client.mgmt(".show continuous-export E failures")


def test_only_what_is_ingested_after_its_creation_is_exported_and_once(exporting: World) -> None:
    here = exporting
    here.client.mgmt(".ingest inline into table R <| before,0")
    define(here)
    for n in range(1, 4):
        here.client.mgmt(f".ingest inline into table R <| x,{n}")
        eventually(lambda n=n: len(exported(here)) == n)  # type: ignore[misc]
    assert exported(here) == [["x", 1], ["x", 2], ["x", 3]]
    artifacts = here.client.mgmt(".show continuous-export E exported-artifacts")
    assert sum(row["NumRecords"] for row in artifacts) == 3
    assert all(row["Path"].startswith(f"{CONTAINER}/out/export_1_") for row in artifacts)
    row = shown(here)
    assert (row["LastRunResult"], row["IsDisabled"], row["ExternalTableName"]) == ("Completed", 0, "T")
    assert here.mine in row["ExportProperties"]


def test_without_the_grant_it_fails_records_that_and_later_recovers_every_row(exporting: World) -> None:
    here = exporting
    define(here)
    here.revoke("database Samples")
    here.client.mgmt(".ingest inline into table R <| x,1")
    eventually(lambda: len(failures(here)) >= 2)
    last = failures(here)[-1]
    assert "AutomatedFlows" in last["Details"]
    assert here.mine in last["Details"]
    assert shown(here)["LastRunResult"] == "Failed"
    assert exported(here) == []
    here.grant("cluster", here.mine, "AutomatedFlows")
    eventually(lambda: exported(here) == [["x", 1]])
    assert shown(here)["LastRunResult"] == "Completed"


def test_its_identity_needs_a_role_in_every_database_that_it_reads(exporting: World) -> None:
    here = exporting
    query = "R | join kind=inner (database('My other db').Elsewhere) on b | project a = a1, b"
    error = here.client.refusal(
        f".create-or-alter continuous-export E over (R) to table T with ({INTERVAL}) <| {query}"
    )
    assert "My other db" in error.description
    with pytest.raises(Exception, match="not authorized to read database 'My other db'"):
        define(here, query)
    here.client.mgmt(f".add database ['My other db'] viewers ('aadapp={here.mine}')")
    define(here, query)
    here.client.mgmt(".ingest inline into table R <| x,7")
    eventually(lambda: exported(here) == [["far", 7]])
    here.client.mgmt(f".drop database ['My other db'] viewers ('aadapp={here.mine}')")
    eventually(lambda: "My other db" in "".join(row["Details"] for row in failures(here)))


def test_it_pauses_while_disabled_and_continues_where_it_stopped(exporting: World) -> None:
    here = exporting
    define(here, more=", isDisabled=true")
    here.client.mgmt(".ingest inline into table R <| x,1")
    define(here, name="Enabled")  # it is due after the other export would have been
    await_runs(here, "Enabled")
    here.client.mgmt(".drop continuous-export Enabled")
    assert exported(here) == []
    assert here.client.mgmt(".enable continuous-export E")[0]["IsDisabled"] == 0
    eventually(lambda: exported(here) == [["x", 1]])
    assert here.client.mgmt(".disable continuous-export E")[0]["IsDisabled"] == 1
    assert here.client.mgmt(".drop continuous-export E") == []
    assert here.client.mgmt(".show continuous-exports") == []


def test_no_row_is_lost_or_repeated_while_many_are_ingested(exporting: World) -> None:
    here = exporting
    define(here)
    rows = 60

    def ingest(first: int) -> None:
        for n in range(first, rows, 3):
            here.client.mgmt(f".ingest inline into table R <| x,{n}")

    threads = [threading.Thread(target=ingest, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(exported(here)) >= rows)
    await_runs(here)
    assert exported(here) == [["x", n] for n in range(rows)]


def test_a_stored_function_in_its_query_sees_the_new_rows_only(exporting: World) -> None:
    here = exporting
    here.client.mgmt(".ingest inline into table R <| before,0")
    here.client.mgmt(".create function Fresh() { R | where b >= 0 }")
    define(here, "Fresh()", "over (R)")
    here.client.mgmt(".ingest inline into table R <| x,1")
    eventually(lambda: exported(here) == [["x", 1]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".create-or-alter continuous-export E over (R) to table T <| R", "intervalBetweenRuns"),
        (f".create-or-alter continuous-export E over (R) to table T with ({INTERVAL}, x=1) <| R", "'x'"),
        (".create-or-alter continuous-export E over (R) to table T with (intervalBetweenRuns=10ms) <| R", "second"),
        (f".create-or-alter continuous-export E over (Z) to table T with ({INTERVAL}) <| R", "'Z'"),
        (f".create-or-alter continuous-export E over (R) to table Z with ({INTERVAL}) <| R", "'Z'"),
        (f".create-or-alter continuous-export E over (R) to table T with ({INTERVAL}) <| R | count", "schema"),
        (f".create-or-alter continuous-export E to table T with ({INTERVAL}) <| print a = 'x', b = 1", "over"),
        (".show continuous-export Z", "'Z'"),
        (".drop continuous-export Z", "'Z'"),
    ],
)
def test_a_wrong_definition_is_refused(exporting: World, text: str, says: str) -> None:
    assert says in exporting.client.refusal(text).description


def test_a_table_that_impersonates_needs_an_identity(exporting: World) -> None:
    here = exporting
    where = f"h@'{CONTAINER}/out;impersonate'"
    here.client.mgmt(f".create external table I (a: string, b: long) kind=storage dataformat=csv ({where})")
    text = f".create-or-alter continuous-export E over (R) to table I with ({INTERVAL}) <| R"
    assert "managedIdentity" in here.client.refusal(text).description


def test_only_a_database_admin_defines_and_a_viewer_sees(exporting: World, connect: Callable[..., Any]) -> None:
    here = exporting
    define(here)
    viewer = connect(here.cluster, here.cluster.token_for("viewer", database="Samples"))
    assert viewer.mgmt(".show continuous-exports | project Name") == [{"Name": "E"}]
    for text in (".drop continuous-export E", ".disable continuous-export E", ".show continuous-export E failures"):
        assert viewer.refusal(text).status == 403
