"""Tests of the effects of cells beyond their output: a template fills the next cell, an interrupt cancels the query."""

import pytest
from playwright.sync_api import expect

from tests.endless import ENDLESS

from .lab import Lab
from .panels import BOTH

pytestmark = pytest.mark.browser

CONNECT = "%load_ext kqlmi\n%kqlmi connect local --database Samples --no-history"
NEW = "%kqlmi new update_policy --identity mi-adx-ingest --table StormEvents --source StormEvents --query StormEvents"


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_a_template_is_written_into_the_next_cell(lab: Lab) -> None:
    lab.open([CONNECT, NEW, "'the cell that was there'"])
    lab.run_cell(0)
    lab.run_cell(1)
    expect(lab.output(1)).to_contain_text("a policy allows AutomatedFlows in the database Samples")
    expect(lab.cell(2)).to_contain_text(".alter-merge table")
    expect(lab.cell(3)).to_contain_text("the cell that was there")
    lab.screenshot(f"template-{lab.front}")


def test_an_interrupted_cell_leaves_no_query_running(lab: Lab) -> None:
    lab.open([CONNECT, f"%%kqlmi\n{ENDLESS}", "%%kqlmi left <<\n.show running queries", "len(left)"])
    lab.run_cell(0)
    content = "jupyterapp.shell.currentWidget.content"
    lab.page.evaluate(
        f"() => {{ {content}.activeCellIndex = 1; void jupyterapp.commands.execute('notebook:run-cell') }}"
    )
    expect(lab.cell(1)).to_contain_text("[*]:")
    lab.page.wait_for_timeout(1000)
    lab.page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    expect(lab.output(1)).to_contain_text("RequestInterruptedError")
    lab.screenshot("interrupted")
    for _ in range(50):  # cancelling a query takes a moment
        lab.run_cell(2)
        lab.run_cell(3)
        if lab.output(3).inner_text().strip() == "0":
            break
    expect(lab.output(3)).to_have_text("0")
