"""Tests of the panel in Voilà, which shows a notebook's outputs without its cells."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import kqlmi
from tests.waiting import eventually

from .lab import ARTIFACTS, SECONDS, isolated
from .panels import box

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.browser


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a panel that Voilà serves."""
    pytest.importorskip("voila", reason="Voilà is not installed")
    import nbformat

    with kqlmi.local.start() as cluster:
        setup = f"import kqlmi\nsession = kqlmi.connect({cluster.url!r}, token={cluster.token!r})"
        cell = f"{setup}\nkqlmi.Panel(session, kqlmi.Scope.database('Samples'))"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, tmp_path / "panel.ipynb")
        # The first free port from here on; no operating system assigns these as ephemeral ports.
        port = 20_000 + os.getpid() % 10_000
        options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", str(tmp_path / "panel.ipynb")]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "voila", *options], env=isolated(tmp_path), stdout=log, stderr=log
            )
        try:
            running = re.compile(r"is running at:?\s+http://[^:\s]+:(\d+)")
            eventually(lambda: process.poll() is not None or running.search((tmp_path / "log").read_text()))
            found = running.search((tmp_path / "log").read_text())
            assert found, (tmp_path / "log").read_text()
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.wait(SECONDS)


def test_the_panel_works_in_voila(url: str, browser: "BrowserContext") -> None:
    page = browser.new_page()
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url))
    page.goto(url)
    panel = page.locator(".kqlmi")
    ticked = box(panel, "mi-adx-export: AutomatedFlows")
    expect(ticked).to_be_visible(timeout=SECONDS * 1000)
    ticked.check()
    expect(panel.get_by_role("status")).to_contain_text("Update policy")
    page.screenshot(path=ARTIFACTS / "voila.png")
    page.close()
    # Voilà's own page requests a font; no other request may leave this machine.
    assert [one for one in foreign if "127.0.0.1" not in one and "/npm/@fortawesome/" not in one] == []
