"""Tests that the tables of the verbs and the map fit into a page of 1,100 pixels."""

import pytest
from playwright.sync_api import expect

from .lab import Lab

pytestmark = pytest.mark.browser

VERBS = ["show", "access", "identities", "usages", "workflows", "audit"]
WIDER = """cell => [...cell.querySelectorAll(".jp-RenderedHTMLCommon")]
    .filter(output => output.scrollWidth > output.clientWidth || output.parentElement.scrollWidth > output.parentElement.clientWidth)
    .length"""


def test_no_table_of_a_verb_has_to_be_scrolled_sideways(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1100, "height": 900})
    lab.open(["%load_ext kqlmi\n%kqlmi connect local --no-history", *(f"%kqlmi {name}" for name in VERBS)])
    lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    lab.run_all()
    shown = lab.page.locator("table.kqlmi-rows")
    assert shown.count() == len(VERBS)
    assert [name for name, place in zip(VERBS, range(1, 9), strict=False) if lab.cell(place).evaluate(WIDER)] == []
    lab.screenshot("frames")
    lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    lab.page.set_viewport_size({"width": 1280, "height": 960})


@pytest.mark.parametrize("lab", ["jupyterlab", "notebook"], indirect=True)
def test_a_cell_of_the_map_opens_without_a_script_and_without_scrolling_sideways(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1100, "height": 900})
    lab.open(["%load_ext kqlmi\n%kqlmi connect local --no-history", "%kqlmi map"])
    if lab.front == "lab":
        lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    lab.run_all()
    grid = lab.page.get_by_role("table", name="Share of databases")
    opened = grid.locator("details").last
    expect(opened.locator("div")).to_be_hidden()
    opened.locator("summary").click()
    expect(opened.locator("div")).to_contain_text("Allowed in")
    assert grid.locator("script, a").count() == 0
    assert lab.cell(1).evaluate(WIDER) == 0
    lab.screenshot(f"map-{lab.front}")
    if lab.front == "lab":
        lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    lab.page.set_viewport_size({"width": 1280, "height": 960})
