"""Tests of the gates of each flow, in the order in which the service checks them."""

from dataclasses import replace

import pytest

from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope
from kqlmi.model.explain.gates import Gate, gates
from kqlmi.model.explain.observations import Observations
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.workflows import WORKFLOWS, Workflow

MINE = Identity(ObjectId("11111111-2222-3333-4444-555555555555"), "mine", tenant_id="t")
DB = Scope.database("D")
NOTHING = Snapshot({Scope.cluster(): None, DB: None})
GROUP = "/subscriptions/s/resourceGroups/g/providers"
STORAGE, HUB = f"{GROUP}/Microsoft.Storage/storageAccounts/hub", f"{GROUP}/Microsoft.EventHub/namespaces/n/eventhubs/h"


def row(flow: str) -> Workflow:
    return next(one for one in WORKFLOWS if one.id == flow)


def by_kind(flow: str, identity: Identity = MINE, *targets: str) -> dict[str, Gate]:
    return {one.kind: one for one in gates(row(flow), identity, DB, NOTHING, targets=targets)}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda row: row.id)
def test_a_gate_that_was_not_checked_is_never_called_open(workflow: Workflow) -> None:
    found = {one.kind: one.state for one in gates(workflow, MINE, DB, Snapshot())}
    assert set(found.values()) == {"not checked"}
    assert list(found)[:2] == ["assignment", "grant"]
    assert ("callout" in found) == bool(workflow.callout)


def test_a_gate_that_is_open_has_no_line_to_run() -> None:
    granted = NOTHING.with_policy(DB, Policy.empty().grant(MINE.object_id, "ExternalDataRequest"))
    assignment, grant, *_ = gates(
        row("externaldata"), MINE, DB, granted, observed=Observations(assigned=[MINE.object_id])
    )
    assert [(one.state, one.fixes) for one in (assignment, grant)] == [("done", ()), ("done", ())]
    assignment, grant, *_ = gates(row("externaldata"), MINE, DB, NOTHING, observed=Observations(assigned=[]))
    assert (assignment.state, grant.state, len(grant.fixes)) == ("not done", "not done", 1)


def test_each_target_gets_its_own_role() -> None:
    found = gates(row("dataconnection.eventgrid"), MINE, DB, NOTHING, targets=(STORAGE, HUB))
    (storage,), (hub,) = (one.fixes for one in found if one.kind == "azure role")
    assert '"Storage Blob Data Reader"' in storage
    assert f'--scope "{STORAGE}"' in storage
    assert '"Azure Event Hubs Data Receiver"' in hub
    assert f'--scope "{HUB}"' in hub


def test_a_viewer_is_named_by_its_guid_if_that_is_known() -> None:
    (line,) = by_kind("update_policy")["database role"].fixes
    assert line == f"%%kqlmi\n.add database ['D'] viewers ('aadapp={MINE.object_id};t')"
    assert by_kind("update_policy", Identity(SYSTEM))["database role"].fixes == ()


def test_a_probable_gate_says_so_and_its_lines_follow() -> None:
    gate = Gate("grant", "It is closed.", ("%kqlmi grant x", "%%kqlmi\n.show tables"))
    assert str(gate) == "It is closed.\n    %kqlmi grant x\n    %%kqlmi\n    .show tables"
    assert str(replace(gate, certain=False)).startswith("Probably: It is closed.")
