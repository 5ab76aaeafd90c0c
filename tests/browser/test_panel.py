"""Tests of the panel as users operate it in JupyterLab and Notebook 7, with the outcome read through the plain SDK."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

import kqlmi
from kqlmi.local.cluster import LocalCluster

from .lab import Lab
from .panels import BOTH, box, object_id, open_panel, press, usages

pytestmark = pytest.mark.browser

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
EXPORT = "mi-adx-export: AutomatedFlows"
INGEST = "mi-adx-ingest: SqlRequest"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_a_tick_is_previewed_executed_verified_and_undone(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    exporter = object_id(cluster, "mi-adx-export")
    status = panel.get_by_role("status")
    panel.get_by_role("searchbox", name="Search identities").fill("continuous export")
    expect(panel.get_by_role("columnheader")).to_have_count(2)
    box(panel, EXPORT).check()
    expect(status).to_contain_text("Update policy")
    panel.get_by_role("searchbox", name="Search identities").fill("")
    expect(panel.get_by_role("columnheader")).to_have_count(11)
    press(panel, "Preview")
    expect(panel.locator("pre")).to_contain_text(".alter-merge database ['Samples'] policy managed_identity")
    assert usages(cluster, exporter) == ""
    lab.screenshot(f"{lab.front}-preview")
    press(panel, "Execute")
    expect(status).to_contain_text("Applied and verified on rehearsal: 1 granted")
    assert usages(cluster, exporter) == "AutomatedFlows"
    lab.screenshot(f"{lab.front}-applied")

    press(panel, "Undo")
    expect(panel.get_by_text("No use was found that would stop.")).to_be_visible()
    press(panel, "Execute")
    lab.screenshot(f"{lab.front}-confirm")
    assert usages(cluster, exporter) == "AutomatedFlows"
    press(panel, "Yes, execute 1 revoke")
    expect(status).to_contain_text("0 granted, 1 revoked")
    assert usages(cluster, exporter) == ""
    expect(box(panel, EXPORT)).not_to_be_checked()


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_another_writers_change_is_shown_before_it_is_overwritten(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    exporter = object_id(cluster, "mi-adx-export")
    box(panel, EXPORT).check()
    press(panel, "Preview")
    expect(panel.locator("pre")).to_be_visible()
    with kqlmi.connect(cluster.url, token=cluster.token) as writer:
        writer.apply(writer.grant(exporter, "AzureAI", databases=["Samples"]))
        press(panel, "Execute")
        expect(panel.get_by_role("status")).to_contain_text(re.compile("was changed by .* since this plan was made"))
        expect(panel.get_by_text(f"+ mi-adx-export ({exporter}) AzureAI in the database Samples")).to_be_visible()
        expect(box(panel, "mi-adx-export: AzureAI")).to_be_checked()
        expect(box(panel, EXPORT)).to_be_checked()
        lab.screenshot(f"{lab.front}-conflict")
        press(panel, "Preview")
        press(panel, "Execute")
        expect(panel.get_by_role("status")).to_contain_text("Applied and verified")
        assert usages(cluster, exporter) == "AzureAI, AutomatedFlows"


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_the_keyboard_alone_leads_from_the_first_tick_to_the_undo(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    exporter, keys = object_id(cluster, "mi-adx-export"), lab.page.keyboard
    panel.get_by_role("searchbox", name="Search scopes").focus()

    def tab_to(name: str) -> None:
        for _ in range(25):
            label = lab.page.evaluate(
                "() => document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
            )
            if re.search(name, label):
                return
            keys.press("Tab")
        raise AssertionError(f"TAB does not reach {name}")

    tab_to("kqlmi-local: NativeIngestion")
    for key in ["ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"]:
        keys.press(key)
    expect(box(panel, EXPORT)).to_be_focused()
    keys.press("Space")
    expect(box(panel, EXPORT)).to_be_checked()
    expect(box(panel, EXPORT)).to_be_focused()
    for key, name in [
        ("End", "mi-adx-export: All"),
        ("Home", "mi-adx-export: NativeIngestion"),
        ("Control+End", "mi-ml-artifacts: All"),
        ("Control+Home", "kqlmi-local: NativeIngestion"),
        ("PageDown", "mi-ml-artifacts: NativeIngestion"),
    ]:
        keys.press(key)
        expect(box(panel, name)).to_be_focused()
    tab_to("^Preview$")
    keys.press("Enter")
    expect(panel.get_by_role("region", name="Preview of the change")).to_be_focused()
    tab_to("^Execute$")
    keys.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("Applied and verified")
    assert usages(cluster, exporter) == "AutomatedFlows"
    panel.get_by_role("searchbox", name="Search scopes").focus()
    tab_to("^Undo$")
    keys.press("Enter")
    expect(panel.get_by_role("region", name="Preview of the change")).to_be_focused()
    tab_to("^Execute$")
    expect(panel.get_by_role("button", name="Execute")).to_be_enabled()  # the uses that would stop are known
    keys.press("Enter")
    expect(panel.get_by_text("This plan contains 1 revoke. Execute it?")).to_be_focused()
    tab_to("^Yes, execute 1 revoke$")
    keys.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("0 granted, 1 revoked")
    assert usages(cluster, exporter) == ""


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_a_click_after_a_restart_is_reverted_and_the_panel_disables_itself(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    lab.restart_kernel()
    expect(panel.get_by_role("alert")).to_contain_text("The kernel does not respond")
    expect(box(panel, INGEST)).to_be_disabled()
    expect(box(panel, INGEST)).not_to_be_checked()
    press(panel, "Check again")
    expect(panel.get_by_role("alert")).to_contain_text("The kernel does not respond")


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_a_panel_that_is_reopened_without_its_kernel_says_so(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    panel.get_by_role("searchbox", name="Search identities").fill("export")
    box(panel, EXPORT).check()
    expect(panel.get_by_text("1 to grant, 0 to revoke")).to_be_visible()
    lab.reopen()
    # The traits keep the state, so the panel is drawn as it was left, but nothing in it can be clicked.
    expect(panel.get_by_role("alert")).to_contain_text("The kernel does not respond")
    expect(panel.get_by_role("searchbox", name="Search identities")).to_have_value("export")
    expect(box(panel, EXPORT)).to_be_checked()
    expect(box(panel, EXPORT)).to_be_disabled()
    expect(panel.get_by_role("button", name="Preview", exact=True)).to_be_disabled()
    lab.screenshot(f"{lab.front}-reopened")


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_keys_typed_in_the_panel_do_not_reach_the_notebook(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    cells = lab.page.locator(".jp-Notebook .jp-Cell")
    count = cells.count()
    for control in (box(panel, INGEST), panel.get_by_label("Rows"), panel.get_by_role("listbox")):
        control.focus()
        for key in ["a", "b", "d", "d", "m", "x", "Shift+M"]:
            lab.page.keyboard.press(key)
        expect(control).to_be_focused()
    assert cells.count() == count
    assert lab.page.locator(".jp-Notebook .jp-MarkdownCell").count() == 0
    panel.get_by_label("Object ID of another identity").press_sequentially("abddmx")
    expect(panel.get_by_label("Object ID of another identity")).to_have_value("abddmx")
    assert cells.count() == count


def test_a_cell_that_all_covers_asks_and_offers_to_replace_it(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    panel.get_by_role("option", name="database Telemetry").click()
    expect(panel.get_by_role("option", name="database Telemetry")).to_have_attribute("aria-selected", "true")
    expect(box(panel, INGEST)).to_have_js_property("indeterminate", value=True)
    box(panel, INGEST).click()
    expect(panel.get_by_text("the policy of the database Telemetry grants All")).to_be_visible()
    expect(box(panel, INGEST)).to_have_js_property("indeterminate", value=True)
    lab.screenshot("question")
    press(panel, "Replace All with the 7 other known usages (future usages are no longer allowed)")
    expect(box(panel, INGEST)).not_to_be_checked()
    expect(box(panel, "mi-adx-ingest: AzureAI")).to_be_checked()


def test_a_refusal_is_shown_in_the_panel_and_the_tick_stays(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    unassigned = "11111111-2222-3333-4444-555555555555"
    panel.get_by_label("Object ID of another identity").fill("eleven")
    press(panel, "Add a row")
    expect(panel.get_by_role("status")).to_contain_text("neither a GUID")
    panel.get_by_label("Object ID of another identity").fill(unassigned)
    press(panel, "Add a row")
    box(panel, "(no name): SqlRequest").check()
    press(panel, "Preview")
    press(panel, "Execute")
    expect(panel.get_by_role("status")).to_contain_text(f"'{unassigned}' is not assigned")
    expect(box(panel, "(no name): SqlRequest")).to_be_checked()
    lab.screenshot("refused")


def test_fast_clicks_are_all_received(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    lab.page.evaluate(
        "() => { for (const box of document.querySelectorAll('.kqlmi-body .kqlmi-row:last-child input')) box.click() }"
    )
    expect(panel.locator(".kqlmi-change")).to_contain_text("1 to grant, 0 to revoke, 8 redundant, 3 unchanged")


def test_a_click_that_a_kernel_receives_too_late_stays_reverted(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster, more=["import os; os.getpid()", "panel.summary"])
    lab.run_cell(3)
    kernel = int(lab.output(3).inner_text())
    os.kill(kernel, signal.SIGSTOP)
    try:
        box(panel, INGEST).click()
        expect(panel.get_by_role("alert")).to_contain_text("The kernel does not respond")
        expect(box(panel, INGEST)).not_to_be_checked()
        lab.screenshot("no-kernel")
    finally:
        os.kill(kernel, signal.SIGCONT)
    # The kernel answers too late: the tick must not take effect after the user saw it reverted.
    expect(panel.get_by_role("status")).to_contain_text("arrived too late")
    expect(panel.get_by_role("alert")).to_be_hidden()
    expect(box(panel, INGEST)).not_to_be_checked()
    lab.run_cell(4)
    expect(lab.output(4)).to_have_text("''")
    box(panel, INGEST).check()
    expect(panel.get_by_text("1 to grant")).to_be_visible()


@pytest.mark.parametrize("how", ["double click", "key held down"])
def test_a_double_click_or_a_held_key_does_not_apply_a_revoke(lab: Lab, cluster: LocalCluster, how: str) -> None:
    panel = open_panel(lab, cluster)
    loader = object_id(cluster, "mi-adx-ingest")
    box(panel, "mi-adx-ingest: NativeIngestion").uncheck()
    press(panel, "Preview")
    execute = panel.get_by_role("button", name="Execute", exact=True)
    expect(execute).to_be_enabled()
    if how == "double click":
        execute.dblclick()
    else:
        execute.focus()
        for _ in range(5):
            lab.page.keyboard.down("Enter")
        lab.page.keyboard.up("Enter")
    lab.page.wait_for_timeout(1000)
    assert "NativeIngestion" in usages(cluster, loader)


def test_a_kernel_that_dies_while_it_works_is_noticed(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(
        lab, cluster, more=["import os; os.getpid()", "panel.working = {'action': 'execute', 'text': 'x'}"]
    )
    lab.run_cell(3)
    lab.run_cell(4)
    expect(panel.get_by_role("status")).to_have_text("x")
    os.kill(int(lab.output(3).inner_text()), signal.SIGKILL)
    expect(panel.get_by_role("alert")).to_contain_text(
        "To see its outcome, run %kqlmi connect again, then %kqlmi history", timeout=20_000
    )
    expect(box(panel, INGEST)).to_be_disabled()


def test_two_views_of_a_panel_receive_every_click(lab: Lab, cluster: LocalCluster) -> None:
    first = open_panel(lab, cluster, more=["panel"])
    lab.run_cell(3)
    second = lab.output(3).locator(".kqlmi")
    expect(second.get_by_role("gridcell")).not_to_have_count(0)
    lab.page.evaluate(
        "() => { const views = [...document.querySelectorAll('.kqlmi')];"
        " for (const column of [1, 2, 3, 4, 6])"
        "  views.forEach((view, row) =>"
        "   view.querySelectorAll('.kqlmi-body .kqlmi-row')[row + 1].children[column].querySelector('input').click()) }"
    )
    for panel in (first, second):
        expect(panel.locator(".kqlmi-change")).to_contain_text("8 to grant, 2 to revoke")
        expect(panel.get_by_role("alert")).to_be_hidden()


def test_reading_in_the_background_stops_when_it_fails_and_continues_on_request(lab: Lab) -> None:
    names = ["Samples", *(f"D{n}" for n in range(40))]
    with kqlmi.local.start(databases=names, identities=["loader"]) as cluster:
        policy = kqlmi.Policy.empty().grant(cluster.identities[0].object_id, "AzureAI")
        with kqlmi.connect(cluster.url, token=cluster.token) as session:
            session.apply(session.plan({kqlmi.Scope.database("Samples"): policy}))
        lab.open(
            [
                f"import kqlmi; s = kqlmi.connect({cluster.url!r}, token={cluster.token!r})",
                "panel = kqlmi.Panel(s, kqlmi.Scope.database('Samples')); run = s.connection.execute",
                "def fail(*_, **__): raise kqlmi.KqlmiError('The line is cut.')\ns.connection.execute = fail; panel",
                "s.connection.execute = run",
            ]
        )
        for index in range(3):
            lab.run_cell(index)
        panel = lab.output(2).locator(".kqlmi")
        expect(panel).to_contain_text("2 of 42 scopes read, stopped: The line is cut.")
        lab.run_cell(3)
        press(panel, "Continue")
        panel.get_by_role("searchbox", name="Search scopes").fill("D39")
        lab.page.keyboard.press("ArrowDown")
        lab.page.keyboard.press("End")
        expect(panel).to_contain_text("42 of 42 scopes read")
        # The arrow keys keep their position while scopes are read, and the shown scope keeps its name.
        lab.page.keyboard.press("Enter")
        expect(panel.get_by_role("grid")).to_have_attribute("aria-label", "Identities and usages, database D39")
        panel.get_by_role("searchbox", name="Search scopes").fill("")
        expect(panel.get_by_role("option", name="database D39")).to_have_attribute("aria-selected", "true")


def test_a_user_who_may_not_write_gets_a_request_to_copy(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster, token=cluster.token_for("viewer", database="Samples"))
    expect(panel.get_by_role("alert")).to_contain_text("Read-only. Changing a policy requires AllDatabasesAdmin")
    expect(panel).to_contain_text("The policy of the cluster could not be read")
    lab.screenshot("read-only")
    box(panel, INGEST).check()
    press(panel, "Preview")
    press(panel, "Copy the request")
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    assert lab.clipboard().startswith("Please run this on rehearsal; it needs AllDatabasesAdmin.\n\n+ mi-adx-ingest (")
    press(panel, "Try to execute")
    expect(panel.get_by_role("status")).to_contain_text("not authorized")
    panel.get_by_role("option", name="cluster").click()
    expect(panel).to_contain_text("Not read:")
    expect(panel).to_contain_text("Reading this policy requires AllDatabasesMonitor.")
    expect(panel.get_by_role("grid")).to_be_hidden()
    lab.screenshot("not-read")


def test_the_usages_in_effect_across_all_scopes_are_shown(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    panel.get_by_role("option", name="all scopes").click()
    cell = panel.get_by_role("button", name="mi-adx-ingest: SqlRequest (in 1 of 4 databases)")
    expect(cell).to_be_visible()
    lab.screenshot("all-scopes")
    cell.click()
    expect(panel.get_by_role("status")).to_contain_text("granted by the policy of: database Telemetry, through All.")


def test_a_workflow_is_ticked_in_the_view_by_workflow_and_explained_beside_its_usage(
    lab: Lab, cluster: LocalCluster
) -> None:
    panel = open_panel(lab, cluster, more=["panel.client_ids = {panel.identities[1][0]: 'c11e0000-0000'}"])
    panel.get_by_label("Columns by").select_option("by workflow")
    box(panel, "mi-adx-export: Continuous export").check()
    expect(box(panel, "mi-adx-export: Update policy")).to_be_checked()
    lab.screenshot("by-workflow")
    panel.get_by_label("Columns by").select_option("by usage")
    expect(box(panel, EXPORT)).to_be_checked()
    box(panel, "kqlmi-local: AutomatedFlows").focus()
    lab.page.keyboard.press("ArrowUp")
    lab.page.keyboard.press("Enter")
    expect(panel.get_by_role("dialog", name="AutomatedFlows")).to_contain_text("Query acceleration policy")
    lab.screenshot("usage-explained")
    lab.page.keyboard.press("Escape")
    expect(panel.get_by_role("dialog")).to_be_hidden()
    lab.run_cell(3)
    panel.get_by_role("searchbox", name="Search identities").fill("c11e")
    expect(panel.get_by_role("rowheader")).to_have_count(1)


def test_the_view_follows_traits_that_python_sets(lab: Lab, cluster: LocalCluster) -> None:
    lines = [
        "panel.search = 'export'",
        "panel.scope = 0",
        "panel.hidden_columns = ['AzureAI', 'ExportRequest']",
        "panel.tick(panel.identities[0][0], 'NativeIngestion')",
    ]
    panel = open_panel(lab, cluster, more=["\n".join(lines)])
    lab.run_cell(3)
    expect(panel.get_by_role("searchbox", name="Search identities")).to_have_value("export")
    expect(panel.get_by_role("option", name="cluster")).to_have_attribute("aria-selected", "true")
    expect(panel.get_by_role("columnheader", name="AzureAI")).to_have_count(0)
    expect(panel.get_by_text("1 to grant")).to_be_visible()


def test_the_quickstart_runs_in_jupyterlab(lab: Lab) -> None:
    import nbformat

    lab.open(nbformat.read(QUICKSTART, as_version=4))
    lab.run_all()
    cells = lab.page.locator(".jp-Notebook .jp-Cell")
    panel = lab.page.locator(".kqlmi")
    expect(box(panel, EXPORT)).to_be_checked()
    panel.scroll_into_view_if_needed()
    expect(cells.last).to_contain_text("Continuous export")
    lab.screenshot("quickstart")
