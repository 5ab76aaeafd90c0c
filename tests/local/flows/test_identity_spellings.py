"""Tests that each spelling of an identity which ``check`` recognises is refused and run by the local cluster alike."""

import pytest

from kqlmi.model.entities import Scope
from kqlmi.model.statement import Statement
from kqlmi.model.workflows import WORKFLOWS
from tests.identity_spellings import OTHERS, SPELLINGS, written
from tests.local.flows.conftest import CONTAINER, CONTRIBUTOR, World

CASES = [(flow, text) for flow, texts in SPELLINGS.items() for text in texts]
USAGES = {row.id: row.usage for row in WORKFLOWS}


@pytest.fixture
def ready(here: World) -> World:
    """A cluster with everything that the spellings need except the grant."""
    store = f"h'{CONTAINER}/x;managed_identity={here.store}'"
    here.client.mgmt(".create table Made (a: string, b: long)")
    here.client.mgmt(f".create external table X (a: string, b: long) kind=storage dataformat=csv ({store})")
    here.client.mgmt(f".create external table D (a: string) kind=delta ({store})")
    here.client.mgmt(f".add database Samples viewers ('aadapp={here.mine}')")
    here.assign(here.mine, CONTRIBUTOR)
    return here


def run(here: World, text: str) -> str:
    """Run a text, and return the gate or error that refuses it, or an empty string."""
    if text.startswith(".execute"):
        *_, last = here.client.mgmt(text)
        return (
            "" if last["Result"] == "Completed" else "grant" if "may not be used" in last["Reason"] else last["Reason"]
        )
    try:
        here.client.mgmt(text) if text.startswith(".") else here.rows(text)
    except Exception:  # noqa: BLE001 - whatever it is, the refusal below says what it lacks
        return here.missing(text, query=not text.startswith("."))
    return ""


@pytest.mark.parametrize(("flow", "text"), CASES, ids=range(len(CASES)))
def test_check_recognises_what_the_local_cluster_refuses_without_the_grant_and_runs_with_it(
    ready: World, flow: str, text: str
) -> None:
    command = written(text, ready.mine, f"{CONTAINER}/a.csv")
    (found,) = Statement(command).references
    assert (found.flow, found.identity) == (flow, ready.mine)
    assert run(ready, command) == "grant"
    ready.grant(f"{Scope.database('Samples')}", ready.mine, USAGES[flow])
    assert run(ready, command) == ""


@pytest.mark.parametrize("text", OTHERS, ids=range(len(OTHERS)))
def test_other_texts_use_no_identity_for_check_and_for_the_local_cluster(ready: World, text: str) -> None:
    command = written(text, ready.mine, f"{CONTAINER}/a.csv")
    assert [one for one in Statement(command).references if one.workflow] == []
    assert run(ready, command) not in {"", "grant"}
