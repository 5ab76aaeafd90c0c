"""Tests that the tables of the verbs and the map fit into a page of 1,100 pixels."""

import re

import pytest
from playwright.sync_api import expect

from .lab import Lab

pytestmark = pytest.mark.browser

VERBS = ["show", "access", "identities", "usages", "workflows", "audit"]
WIDER = """cell => [...cell.querySelectorAll(".jp-RenderedHTMLCommon")]
    .filter(output => output.scrollWidth > output.clientWidth || output.parentElement.scrollWidth > output.parentElement.clientWidth)
    .length"""


def test_no_table_of_a_verb_nor_an_open_cell_of_the_map_has_to_be_scrolled_sideways(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1100, "height": 900})
    lab.open(["%load_ext kqlmi\n%kqlmi connect local --no-history", *(f"%kqlmi {name}" for name in (*VERBS, "map"))])
    lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    lab.run_all()
    shown = lab.page.locator("table.kqlmi-rows")
    assert shown.count() == len(VERBS)
    grid = lab.page.get_by_role("table", name="Share of databases")
    assert grid.locator("script, a").count() == 0
    opened = grid.locator("details").last
    expect(opened.locator("div")).to_be_hidden()
    opened.locator("summary").click()
    expect(opened.locator("div")).to_contain_text(re.compile(r"Allowed .* in \d of 4: "))
    wider = [name for place, name in enumerate((*VERBS, "map"), 1) if lab.cell(place).evaluate(WIDER)]
    assert wider == []
    lab.screenshot("frames")
    lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    lab.page.set_viewport_size({"width": 1280, "height": 960})
