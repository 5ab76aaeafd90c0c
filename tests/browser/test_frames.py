"""Tests that the tables of the verbs fit into a JupyterLab page of 1,100 pixels."""

import pytest

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
