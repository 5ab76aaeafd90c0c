"""Tests of the test bed: cells run, widgets exchange messages with Python, and errors are detected."""

import pytest
from playwright.sync_api import expect

from .lab import Lab

pytestmark = pytest.mark.browser

WIDGET = '''
import anywidget, traitlets

class Echo(anywidget.AnyWidget):
    _esm = """
    export default {
      render({ model, el }) {
        const button = document.createElement("button")
        button.textContent = "Say it"
        button.onclick = () => { model.set("said", model.get("said") + 1); model.save_changes() }
        const answer = document.createElement("p")
        model.on("change:answer", () => { answer.textContent = model.get("answer") })
        el.append(button, answer)
      }
    }
    """
    said = traitlets.Int(0).tag(sync=True)
    answer = traitlets.Unicode().tag(sync=True)

    @traitlets.observe("said")
    def hear(self, change):
        self.answer = f"Python heard {change.new}"

echo = Echo()
echo
'''


def test_a_cell_and_a_widget_work_in_jupyterlab(lab: Lab) -> None:
    lab.open(["1 + 1", WIDGET, "echo.said"])
    lab.run_cell(0)
    lab.run_cell(1)
    expect(lab.output(0)).to_have_text("2")
    button = lab.output(1).get_by_role("button", name="Say it")
    button.click()
    expect(lab.output(1).locator("p")).to_have_text("Python heard 1")
    button.click()
    expect(lab.output(1).locator("p")).to_have_text("Python heard 2")
    lab.run_cell(2)
    expect(lab.output(2)).to_have_text("2")
    lab.set_theme(dark=True)
    assert lab.screenshot("test-bed").stat().st_size > 0


def test_a_restart_forgets_what_ran(lab: Lab) -> None:
    lab.open(["seen = 'seen' in globals(); seen"])
    lab.run_all()
    lab.run_all()
    expect(lab.output(0)).to_have_text("True")
    lab.restart_kernel()
    lab.run_all()
    expect(lab.output(0)).to_have_text("False")


def test_a_page_error_and_a_foreign_request_are_noticed(lab: Lab) -> None:
    lab.open(["1"])
    lab.page.evaluate("() => { setTimeout(() => { throw new Error('planted') }) }")
    lab.page.evaluate("() => fetch('http://127.0.0.2:9/').catch(() => {})")
    lab.page.wait_for_function("() => true")
    errors, requests = lab.page_errors.copy(), lab.foreign_requests.copy()
    lab.page_errors.clear()
    lab.foreign_requests.clear()
    assert ["planted" in error for error in errors] == [True]
    assert requests == ["http://127.0.0.2:9/"]
