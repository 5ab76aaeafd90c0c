"""Tests that each notebook runs from top to bottom, and is stored with its outputs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.notebook

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)

# Private data: bearer tokens, what a token is called in JSON or a connection string, and home folders.
PRIVATE = re.compile(
    r"""Bearer\ +[\w.~+/-]{8} | eyJ[\w-]{10} | token["'=:\s]+[\w.~+/-]{16} | (AccountKey|sig)=\S
    | /(home|Users|root)/\w | \b[A-Z]:\\+Users\\""",
    re.IGNORECASE | re.VERBOSE,
)


def run(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, FOLDER / "run.py", path, folder]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=600)


def read(path: Path) -> Any:
    import nbformat  # otherwise it takes two seconds of every worker

    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def write(path: Path, source: str, *tags: str) -> Path:
    import nbformat

    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


@NOTEBOOKS
def test_the_notebook_runs_and_fails_only_where_tagged(path: Path, tmp_path: Path) -> None:
    done = run(path, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for cell in code_cells(tmp_path / path.name):
        raised = any(output.output_type == "error" for output in cell.outputs)
        assert raised == ("raises-exception" in cell.metadata.get("tags", [])), cell.source
    assert (tmp_path / f"{path.stem}.html").stat().st_size > 0


@NOTEBOOKS
def test_the_notebook_is_stored_with_its_outputs(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)
    for cell in cells:
        raised = any(output.output_type == "error" for output in cell.outputs)
        assert raised == ("raises-exception" in cell.metadata.get("tags", [])), cell.source


@NOTEBOOKS
def test_the_notebook_contains_nothing_private(path: Path) -> None:
    assert [found.group() for found in PRIVATE.finditer(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh",
        "'token': 'abcdefghijklmnop'",
        "token=abcdefghijklmnop",
        "/home/ada/x",
        "C:\\\\Users\\\\ada",
    ],
)
def test_private_text_is_recognised(text: str) -> None:
    assert PRIVATE.search(text)


def test_the_runner_shows_each_cell_and_its_result(tmp_path: Path) -> None:
    done = run(write(tmp_path / "sum.ipynb", "40 + 2"), tmp_path / "copies")
    assert done.stdout == "  > 40 + 2\n\n42\n\n"
    assert [output.data["text/plain"] for output in code_cells(tmp_path / "copies/sum.ipynb")[0].outputs] == ["42"]


def test_the_runner_fails_with_a_failing_cell(tmp_path: Path) -> None:
    done = run(write(tmp_path / "broken.ipynb", "1 / 0"), tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stdout


def test_the_runner_shows_an_expected_error_and_continues(tmp_path: Path) -> None:
    done = run(write(tmp_path / "refused.ipynb", "1 / 0", "raises-exception"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ZeroDivisionError: division by zero" in done.stdout


def test_the_runner_fails_when_an_expected_error_does_not_come(tmp_path: Path) -> None:
    done = run(write(tmp_path / "accepted.ipynb", "1", "raises-exception"), tmp_path)
    assert done.returncode == 1
    assert "raised nothing" in done.stderr
