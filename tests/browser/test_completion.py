"""Tests of pressing TAB in JupyterLab."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

import kqlmi
from kqlmi.local.cluster import LocalCluster

from .lab import Lab

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


def open_cell(lab: Lab, cluster: LocalCluster) -> Locator:
    """Return an empty cell of a notebook in which the policies were read."""
    setup = [
        f"import os\nos.environ['KQLMI_TOKEN'] = {cluster.token!r}",
        f"%load_ext kqlmi\n%kqlmi connect {cluster.url} --auth token --name rehearsal",
        "%kqlmi show",
    ]
    lab.open([*setup, ""])
    for index in range(len(setup)):
        lab.run_cell(index)
    editor = lab.cell(len(setup)).locator(".cm-content")
    editor.click()
    return editor


def press_tab(lab: Lab) -> Locator:
    """Press TAB, and return the list that opens."""
    lab.page.keyboard.press("Tab")
    return lab.page.locator(".jp-Completer:visible .jp-Completer-item")


def accept(lab: Lab) -> None:
    """Press TAB, and accept the only completion."""
    expect(press_tab(lab)).to_have_count(1)
    lab.page.keyboard.press("Enter")


def test_a_subcommand_and_its_words_are_completed(lab: Lab, cluster: LocalCluster) -> None:
    editor = open_cell(lab, cluster)
    lab.page.keyboard.type("%kqlmi re")
    items = press_tab(lab)
    expect(items.filter(has_text="replace")).to_be_visible()
    expect(items).to_have_count(2)
    lab.screenshot("completion-subcommand")
    items.filter(has_text="revoke").click()
    expect(editor).to_have_text("%kqlmi revoke")
    lab.page.keyboard.type(" ingest")
    accept(lab)
    expect(editor).to_have_text("%kqlmi revoke mi-adx-ingest")
    lab.page.keyboard.type(" ")
    expect(press_tab(lab).filter(has_text="NativeIngestion")).to_be_visible()
    lab.screenshot("completion-usages")


def test_a_policy_is_written_with_tab_and_runs(lab: Lab, cluster: LocalCluster) -> None:
    identity = next(one for one in cluster.identities if one.display_name == "mi-adx-ingest")
    editor = open_cell(lab, cluster)
    keyboard = lab.page.keyboard
    keyboard.type("%%kqlmi\n.alter-merge database ['Fie")
    accept(lab)
    expect(editor).to_contain_text(".alter-merge database ['Field Reports']")
    keyboard.type(" pol")
    accept(lab)
    expect(editor).to_contain_text("policy managed_identity")
    keyboard.type(" ")
    # JupyterLab adds words of the notebook if nothing is typed yet.
    press_tab(lab).filter(has_text="ObjectId").click()
    expect(editor).to_contain_text('```[{"ObjectId": "')
    expect(press_tab(lab).filter(has_text=identity.object_id)).to_be_visible()
    lab.screenshot("completion-identities")
    keyboard.press("Escape")
    keyboard.type("mi-adx-i")
    accept(lab)
    expect(editor).to_contain_text(f'"{identity.object_id}')
    keyboard.type('", "AllowedUsages": "NativeIngestion, A')
    items = press_tab(lab)
    expect(items.filter(has_text="AzureAI")).to_be_visible()
    expect(items.filter(has_text="NativeIngestion")).to_have_count(0)
    lab.screenshot("completion-payload")
    items.filter(has_text="AzureAI").click()
    keyboard.type('"}]```')
    lab.run_cell(3)
    expect(lab.output(3)).to_contain_text(re.compile("AzureAI"))
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as session:
        policy = session.policy(kqlmi.Scope.database("Field Reports"))
        assert policy
        assert (identity.object_id, "AzureAI") in policy.grants
