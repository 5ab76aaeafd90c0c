"""The panel as a person uses it: in JupyterLab, with a mouse, and the outcome read through the plain SDK."""

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from playwright.sync_api import Locator, expect

import kqlmi
from kqlmi.local.cluster import LocalCluster

from .lab import Lab

pytestmark = pytest.mark.browser

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
SHOW = ".show database ['Samples'] policy managed_identity"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


def usages(cluster: LocalCluster, identity: str) -> str:
    """Give what the plain SDK reads back as the usages of an identity in the database Samples."""
    with KustoClient(
        KustoConnectionStringBuilder.with_aad_user_token_authentication(cluster.url, cluster.token)
    ) as sdk:
        [row] = sdk.execute_mgmt("Samples", SHOW).primary_results[0].rows
    found = {entry["ObjectId"]: entry["AllowedUsages"] for entry in json.loads(row["Policy"])}
    return str(found.get(identity, ""))


def open_panel(lab: Lab, cluster: LocalCluster) -> Locator:
    token = f"import os; os.environ['KQLMI_TOKEN'] = {cluster.token!r}"
    lab.open(
        [
            token,
            f"%load_ext kqlmi\n%kqlmi connect {cluster.url} --auth token --name rehearsal",
            "%kqlmi panel --database Samples",
        ]
    )
    for index in range(3):
        lab.run_cell(index)
    panel = lab.output(2)
    expect(panel.get_by_role("row")).not_to_have_count(0)
    return panel


def test_a_tick_is_previewed_executed_verified_and_read_back(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    exporter = next(row.object_id for row in cluster.identities if row.display_name == "mi-adx-export")
    panel.get_by_role("searchbox").fill("continuous export")
    expect(panel.get_by_role("columnheader")).to_have_count(2)
    panel.get_by_role("checkbox", name="mi-adx-export: AutomatedFlows").check()
    expect(panel.get_by_role("status")).to_contain_text("Update policy")
    panel.get_by_role("searchbox").fill("")
    panel.get_by_role("button", name="Preview").click()
    expect(panel.locator("pre")).to_contain_text(".alter-merge database ['Samples'] policy managed_identity")
    assert usages(cluster, exporter) == ""
    lab.screenshot("panel-preview")
    panel.get_by_role("button", name="Execute").click()
    expect(panel.get_by_role("status")).to_contain_text("Applied and verified on rehearsal: 1 to grant")
    assert usages(cluster, exporter) == "AutomatedFlows"
    lab.screenshot("panel-applied")

    panel.get_by_role("checkbox", name="mi-adx-export: AutomatedFlows").uncheck()
    panel.get_by_role("button", name="Preview").click()
    panel.get_by_role("button", name="Execute").click()
    assert usages(cluster, exporter) == "AutomatedFlows"
    panel.get_by_role("button", name="Yes, revoke 1 and execute").click()
    expect(panel.get_by_role("status")).to_contain_text("0 to grant, 1 to revoke")
    assert usages(cluster, exporter) == ""


def test_a_cell_that_all_covers_asks_and_offers_to_replace_it(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    panel.get_by_label("Scope").select_option(label="database Telemetry")
    box = panel.get_by_role("checkbox", name="mi-adx-ingest: SqlRequest")
    expect(box).to_have_js_property("indeterminate", value=True)
    box.click()
    expect(panel.get_by_text("the policy of the database Telemetry grants All")).to_be_visible()
    lab.set_theme(dark=True)
    lab.screenshot("panel-question-dark")
    panel.get_by_role("button", name="Replace All by the 7 known usages you keep").click()
    expect(panel.get_by_role("checkbox", name="mi-adx-ingest: SqlRequest")).not_to_be_checked()
    expect(panel.get_by_role("checkbox", name="mi-adx-ingest: AzureAI")).to_be_checked()


def test_a_refusal_is_shown_in_the_panel(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    unassigned = "11111111-2222-3333-4444-555555555555"
    panel.get_by_label("Object ID of another identity").fill(unassigned)
    panel.get_by_role("button", name="Add a row").click()
    panel.get_by_role("checkbox", name="(no name): SqlRequest").check()
    panel.get_by_role("button", name="Preview").click()
    panel.get_by_role("button", name="Execute").click()
    expect(panel.get_by_role("status")).to_contain_text(f"'{unassigned}' is not assigned")
    lab.screenshot("panel-refused")


def test_fast_clicks_are_all_heard(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    lab.page.evaluate(
        "() => { for (const box of document.querySelectorAll('.kqlmi tbody tr:last-child input')) box.click() }"
    )
    expect(panel.get_by_text("to grant")).to_contain_text("1 to grant, 0 to revoke, 8 redundant, 1 without effect")


def test_a_click_after_a_restart_is_taken_back_and_said(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    lab.restart_kernel()
    box = panel.get_by_role("checkbox", name="mi-adx-ingest: SqlRequest")
    box.click()
    expect(panel.get_by_role("status")).to_contain_text("No kernel answers.")
    expect(panel.get_by_role("checkbox", name="mi-adx-ingest: SqlRequest")).not_to_be_checked()


def test_keys_typed_in_the_panel_do_not_reach_the_notebook(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    cells = lab.page.locator(".jp-Notebook .jp-Cell")
    expect(cells).to_have_count(3)
    panel.get_by_role("checkbox", name="mi-adx-ingest: SqlRequest").focus()
    for key in "abddmx":
        lab.page.keyboard.press(key)
    expect(cells).to_have_count(3)
    expect(panel.get_by_role("checkbox", name="mi-adx-ingest: SqlRequest")).to_be_focused()


def test_the_quickstart_runs_in_jupyterlab(lab: Lab) -> None:
    lab.open(nbformat.read(QUICKSTART, as_version=4))
    lab.run_all()
    cells = lab.page.locator(".jp-Notebook .jp-Cell")
    panel = lab.page.locator(".kqlmi")
    expect(panel.get_by_role("checkbox", name="mi-adx-export: AutomatedFlows")).to_be_checked()
    panel.scroll_into_view_if_needed()
    expect(cells.last).to_contain_text("Continuous export")
    lab.screenshot("quickstart")
