"""Fixtures: a shell with the extension loaded, and a shell with its own local cluster."""

import atexit
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import kqlmi
from kqlmi.local.cluster import LocalCluster


class Notebook:
    """A shell in which cells run as in a notebook."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    def run(self, text: str) -> Any:
        """Run a cell and return its result, or raise its error."""
        result = self.shell.run_cell(text, silent=False)
        result.raise_error()
        return result.result


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    # A shell warns about a virtual environment other than its own, which is set when make runs the tests.
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    # No history file, which would remain open after the test.
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    shell.run_line_magic("load_ext", "kqlmi")
    yield Notebook(shell)
    shell.run_line_magic("unload_ext", "kqlmi")
    # At exit, each shell would collect garbage, which takes minutes for hundreds of shells.
    atexit.unregister(shell.atexit_operations)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


@pytest.fixture
def connected(notebook: Notebook, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    notebook.run(f"%kqlmi connect {cluster.url} --auth token --name test --database Samples")
    return notebook
