"""Tests of commands that continue in the background, and of the log of operations."""

import uuid
from typing import Any

import pytest

from tests.local.flows.conftest import CONTAINER, World
from tests.waiting import eventually


def ended(here: World, text: str) -> dict[str, Any]:
    """Return the operation of an ``async`` command once it has ended."""
    (answer,) = here.client.mgmt(text)
    assert [*answer] == ["OperationId"]

    text = f".show operations {answer['OperationId']}"
    eventually(lambda: here.client.mgmt(text)[0]["State"] != "InProgress")
    return here.client.mgmt(text)[0]


@pytest.mark.parametrize(
    ("command", "operation", "columns"),
    [
        (".set async New <| R", "TableSet", "ExtentId OriginalSize ExtentSize ColumnSize IndexSize RowCount"),
        (".append async R with (tags='[]') <| R", "TableAppend", "ExtentId OriginalSize"),
        (".set-or-append async R with (distributed=true) <| R", "TableSetOrAppend", "ExtentId"),
        (".set-or-replace async R <| R", "TableSetOrReplace", "ExtentId"),
        (".ingest async into table R (%s)", "TableIngestInto", "ExtentId ItemLoaded Duration HasErrors OperationId"),
        (".export async to csv (%s) <| R", "ExportToStorage", "Path NumRecords"),
        (
            ".export async compressed to json (%s) with (sizeLimit=100, encoding='UTF8NoBOM') <| R",
            "ExportToStorage",
            "Path",
        ),
        (".export async to table E <| R", "ExportToExternalTable", "ExternalTableName Path NumRecords"),
    ],
)
def test_async_returns_an_operation_whose_details_are_the_commands_result(
    here: World, command: str, operation: str, columns: str
) -> None:
    file = f"h'{CONTAINER}{'/a.csv' if 'ingest' in command else ''};managed_identity={here.store}'"
    here.client.mgmt(f".create external table E (a: string, b: long) kind=storage dataformat=csv ({file})")
    here.client.mgmt(".ingest inline into table R <| x,1")
    row = ended(here, command.replace("%s", file))
    assert (row["Operation"], row["State"], row["Status"]) == (operation, "Completed", "")
    details = here.client.mgmt(f".show operation {row['OperationId']} details")
    assert [*details[0]][: len(columns.split())] == columns.split()


def test_an_async_command_that_an_identity_may_not_run_fails_in_the_log(here: World) -> None:
    row = ended(here, f".export async to csv (h'{CONTAINER};managed_identity={here.mine}') <| print 'secret'")
    assert row["State"] == "Failed"
    assert "may not be used for ExportRequest" in row["Status"]
    assert "completed" in here.client.refusal(f".show operation {row['OperationId']} details").description
    assert "completed" in here.client.refusal(f".show operation {uuid.uuid4()} details").description


def test_permissions_are_checked_before_a_command_goes_to_the_background(here: World, connect: Any) -> None:
    viewer = connect(here.cluster, here.cluster.token_for("viewer", database="Samples"))
    for text in (".set async T <| R", ".set-or-replace async R <| R", ".export async to table E <| R"):
        assert viewer.refusal(text).code == "Forbidden", text


def test_operations_are_seen_by_those_who_started_or_monitor_them(here: World, connect: Any) -> None:
    row = ended(here, ".set async New <| R")
    for role, count in (("viewer", 0), ("monitor", 1)):
        other = connect(here.cluster, here.cluster.token_for(role, database="Samples"))
        assert len(other.mgmt(f".show operations ({row['OperationId']}, {uuid.uuid4()})")) == count
        if not count:
            assert "completed" in other.refusal(f".show operation {row['OperationId']} details").description
    assert {"TableCreate", "TableSet"} <= {one["Operation"] for one in here.client.mgmt(".show operations")}


def test_a_synchronous_command_keeps_its_result_only_if_requested(here: World) -> None:
    for options, keeps in (("", False), ("with (persistDetails=true)", True)):
        here.client.mgmt(f".set-or-append New {options} <| R")
        row = here.client.mgmt(".show operations | where Operation == 'TableSetOrAppend' | top 1 by StartedOn desc")[0]
        text = f".show operation {row['OperationId']} details"
        assert here.client.mgmt(text) if keeps else here.client.refusal(text)
    row = ended(here, ".append async New with (persistDetails=false) <| R")
    assert here.client.refusal(f".show operation {row['OperationId']} details")


def test_rows_are_replaced(here: World) -> None:
    here.client.mgmt(".ingest inline into table R <| old,1")
    here.client.mgmt(".set-or-replace R <| print a = 'new', b = 2")
    assert here.rows("R") == [["new", 2]]
    here.client.mgmt(".set-or-replace Fresh <| print a = 'new'")
    assert here.rows("Fresh") == [["new"]]


@pytest.mark.parametrize(
    "name", ["extend_schema", "folder", "ingestIfNotExists", "docstring", "ingestionMappingReference"]
)
def test_an_unsupported_ingestion_property_is_named(here: World, name: str) -> None:
    says = f"does not support the property '{name.lower()}'"
    assert says in here.client.refusal(f".set-or-append R with ({name}='x') <| R").description
    assert says in here.client.refusal(f".ingest into table R ('{CONTAINER}/a.csv') with ({name}='x')").description
    here.client.mgmt(f".set-or-append R with ({name}=false) <| R")


def test_properties_may_be_json(here: World) -> None:
    file = f"h'{CONTAINER}/a.csv;managed_identity={here.store}'"
    here.client.mgmt(f""".ingest into table R ({file}) with '{{"format": "csv", "ignoreFirstRecord": true}}'""")
    assert here.rows("R") == [["y", 2]]
    for wrong in ("[]", "{"):
        assert "JSON" in here.client.refusal(f".ingest into table R ({file}) with '{wrong}'").description


def test_an_export_to_sql_takes_no_identity_and_is_not_supported(here: World) -> None:
    for who, says in (
        (
            'Authentication="Active Directory Managed Identity"',
            "Authentication with a Managed Identity is disabled for this flow",
        ),
        ("Authentication=Active Directory Integrated", "does not support exports to SQL"),
    ):
        for mode in ("", "async "):
            text = (
                f".export {mode}to sql ['dbo.T'] h@'Server=tcp:a.database.windows.net;{who}' with (primarykey='a') <| R"
            )
            assert says in here.client.refusal(text).description
