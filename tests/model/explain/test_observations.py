"""Tests of the gates that were observed: what was not read is never called open, and no name can change a line."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.explain.gates import Gate, gates
from kqlmi.model.explain.observations import Observations, Outbound, RolesOn, Rule, Unread
from kqlmi.model.explain.roles import read_role, suffices
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.workflows import WORKFLOWS, Workflow

MINE = Identity(ObjectId("11111111-2222-3333-4444-555555555555"), "mine", tenant_id="t")
DB = Scope.database("D")
URL = "https://acct.blob.core.windows.net/c"
ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acct/blobServices/default/containers/c"
ROLES = (read_role("AllDatabasesAdmin", "Cluster"),)
OPEN = Observations(
    assigned=[MINE.object_id],
    plugins={row.plugin: True for row in WORKFLOWS},
    outbound=Outbound(),
    callouts=(Rule(".*", allows=True),),
    targets={URL: RolesOn(ID, ("Storage Blob Data Owner",))},
    caller=ROLES,
    identity=ROLES,
    manages=True,
)


def found(workflow: Workflow, observed: Observations) -> dict[str, Gate]:
    granted = Snapshot({Scope.cluster(): Policy.empty().grant(MINE.object_id, workflow.usage), DB: None})
    return {one.kind: one for one in gates(workflow, MINE, DB, granted, observed=observed, targets=(URL,), entity="T")}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda row: row.id)
@pytest.mark.parametrize("part", ["assigned", "plugins", "outbound", "callouts", "caller", "identity", "manages"])
def test_exactly_what_was_not_read_is_not_checked(workflow: Workflow, part: str) -> None:
    unread: dict[str, Any] = {part: Unread("it is night")}
    before, after = found(workflow, OPEN), found(workflow, replace(OPEN, **unread))
    changed = [after[kind] for kind in before if before[kind].state != after[kind].state]
    assert len(changed) <= 1
    assert all(one.state == "not checked" and "it is night" in one.sentence for one in changed)


def row(flow: str) -> Workflow:
    return next(one for one in WORKFLOWS if one.id == flow)


@pytest.mark.parametrize(
    ("roles", "state"),
    [
        (("Storage Blob Data Reader",), "not done"),
        (("Storage Blob Data Contributor",), "done"),
        (("Storage Blob Data Owner",), "done"),
        (("Azure Event Hubs Data Owner",), "not done"),
        ((), "not done"),
    ],
)
def test_a_role_to_write_is_not_one_to_read(roles: tuple[str, ...], state: str) -> None:
    gate = found(row("export.to_storage"), replace(OPEN, targets={URL: RolesOn(ID, roles)}))["azure role"]
    assert gate.state == state
    assert all(f'--scope "{ID}"' in line for line in gate.fixes)


@pytest.mark.parametrize(
    ("outbound", "state"),
    [
        (Outbound(is_restricted=True, hosts=("ACCT.blob.core.windows.net",)), "done"),
        (Outbound(is_restricted=True, hosts=("blob.core.windows.net",)), "not done"),
        (Outbound(is_restricted=True), "not checked"),
    ],
)
def test_a_restricted_network_is_open_only_for_the_listed_hosts(outbound: Outbound, state: str) -> None:
    assert found(row("externaldata"), replace(OPEN, outbound=outbound))["network"].state == state


def test_a_data_connection_needs_both_of_its_roles() -> None:
    hub = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventHub/namespaces/n/eventhubs/h"
    observed = replace(OPEN, targets={hub: RolesOn(hub, ("Azure Event Hubs Data Owner",))})
    states = [
        (one.state, "pass the address" in one.sentence)
        for one in gates(row("dataconnection.eventgrid"), MINE, DB, Snapshot(), observed=observed, targets=(hub,))
        if one.kind == "azure role"
    ]
    assert states == [("not checked", True), ("done", False)]


def test_a_role_counts_in_its_own_database_and_table_only() -> None:
    other, own = read_role("Database Admin", "Database Other"), read_role("Table T Ingestor", "Table T")
    assert suffices([other], "database viewers", "D")[0] is False
    assert suffices([other], "database viewers", "OTHER")[0] is True
    assert suffices([own], "table ingestors", "D", "T")[0] is True
    assert suffices([own], "table ingestors", "D", "U")[0] is False
    assert suffices([own], "table admins", "D", "T")[0] is False
    assert suffices([read_role("Omnipotence", "Cluster")], "database viewers", "D")[0] is None
    assert suffices([read_role("Database Monitor", "Database D")], "database viewers", "D")[0] is False


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_a_line_for_a_role_is_one_command_whatever_the_names(table: str, database: str) -> None:
    observed = replace(OPEN, caller=(), fqn="aaduser=a@b.c")
    scope = Scope.database(database)
    found = gates(
        row("ingest.into"), MINE, scope, Snapshot(), observed=observed, targets=(URL,), entity=table, on="here"
    )
    for line in (line for one in found if one.kind == "kusto role" for line in one.fixes):
        head, _, command = line.partition("\n")
        assert head.startswith("%%kqlmi --database=")
        assert Statement(command).kind == "command"
        assert "\n" not in command
