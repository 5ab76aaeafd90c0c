"""A shell with the extension loaded, and with a local cluster of its own."""

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
        """Run a cell and give its result; an error is raised."""
        result = self.shell.run_cell(text, silent=False)
        result.raise_error()
        return result.result


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    # A shell warns of a virtual environment that is not its own, as one is where make was called.
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    # Without a history file, which would stay open behind the test.
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    shell.run_line_magic("load_ext", "kqlmi")
    yield Notebook(shell)
    shell.run_line_magic("unload_ext", "kqlmi")
    # At the exit each shell would collect garbage, and hundreds of them take minutes.
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
