"""Tests of the progress bar: shown while much is read, removed afterwards; an interrupted cell fails with one line."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, redirect_stderr
from itertools import count
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import RequestInterruptedError
from kqlmi.local.cluster import LocalCluster
from kqlmi.notebook.progress import Progress
from tests.endless import ENDLESS

from .conftest import Notebook

MANY = 30


@pytest.fixture(scope="module")
def wide() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=[f"D{place}" for place in range(MANY)], identities=[]) as started:
        yield started


def test_a_terminal_shows_a_line_that_disappears(
    notebook: Notebook, wide: LocalCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Progress, "after", -1)
    monkeypatch.setenv("KQLMI_TOKEN", wide.token)
    notebook.run(f"%kqlmi connect {wide.url} --auth token --name wide")
    capsys.readouterr()
    notebook.run("%kqlmi show")
    written = capsys.readouterr().err
    assert "Reading policies" in written
    assert written.rpartition("\r")[0].rpartition("\r")[2].strip() == ""  # the last thing shown is blank
    monkeypatch.undo()
    notebook.run("%kqlmi show --database D1")
    assert capsys.readouterr().err == ""


def test_a_value_is_printed_where_the_bar_was(
    notebook: Notebook, wide: LocalCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Progress, "after", -1)
    monkeypatch.setenv("KQLMI_TOKEN", wide.token)
    notebook.run(f"%kqlmi connect {wide.url} --auth token --name wide")
    capsys.readouterr()
    with redirect_stderr(sys.stdout):
        notebook.run("%kqlmi audit")
    before, _, _ = capsys.readouterr().out.partition("Audit of")
    assert "Reading sources" in before
    assert before.rpartition("\r")[0].rpartition("\r")[2].strip() == ""
    assert before.endswith("\r")


def test_each_kind_of_read_has_its_bar_and_an_error_removes_it(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> None:
        with closing(Progress(count(0, 0.6).__next__)) as progress:
            for what in ("policies", "sources"):
                for done in range(1, 4):
                    progress(done, 4, what)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    written = capsys.readouterr().err
    assert "Reading policies" in written
    assert "Reading sources" in written
    assert written.rpartition("\r")[0].rpartition("\r")[2].strip() == ""


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([0, 0.2, 0.4, 0.6, 0.8], id="a second is not over"),
        pytest.param([0, 0.2, 0.4, 0.6, 60], id="the last item is slow, and nothing is left to wait for"),
    ],
)
def test_what_is_over_within_a_second_shows_no_bar(times: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Progress(iter(times).__next__)) as progress:
        for done in range(1, len(times)):
            progress(done, len(times) - 1, "policies")
    assert capsys.readouterr().err == ""


def test_two_short_reads_in_a_row_show_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Progress(count(0, 0.3).__next__)) as progress:
        for what in ("policies", "sources"):
            for done in range(1, 4):
                progress(done, 4, what)
    assert capsys.readouterr().err == ""


@pytest.mark.notebook
def test_a_saved_notebook_contains_no_bar(wide: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat  # otherwise it takes two seconds of every worker
    from nbclient import NotebookClient

    monkeypatch.setenv("KQLMI_TOKEN", wide.token)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    start = "from kqlmi.notebook.progress import Progress\nProgress.after = -1\n%load_ext kqlmi\n"
    sources = [
        f"{start}%kqlmi connect {wide.url} --auth token --name wide\nkept = %kqlmi show",
        "from ipywidgets import Widget\nlen(Widget.get_manager_state()['state'])",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(book, kernel_name="python3", timeout=60).execute()
    connected, place, note = book.cells[0].outputs
    assert connected.text.startswith("Connected to wide")
    assert note.text.startswith("No entries: ")
    assert (place.output_type, place.data) == ("display_data", {"text/plain": ""})  # where the bar was
    assert book.cells[1].outputs[0].data["text/plain"] == "0"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals go to a thread on POSIX only")
def test_an_interrupted_cell_fails_with_one_line(
    connected: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with kqlmi.connect(cluster.url, token=cluster.token, database="Samples") as other:

        def when_it_runs() -> None:
            while not len(other.run(".show running queries")):
                time.sleep(0.01)
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=when_it_runs)
        thread.start()
        capsys.readouterr()
        with pytest.raises(RequestInterruptedError):
            connected.run(f"%%kqlmi\n{ENDLESS}")
        thread.join()
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("RequestInterruptedError: Interrupted. The query no longer runs on the cluster. [kqlmi;")
    assert sys.exc_info() == (None, None, None)
