"""Run a notebook from top to bottom, print its cells and results, and save an executed copy.

    python notebooks/run.py notebooks/quickstart.ipynb build

The notebook runs in its own temporary home, so your IPython profile and Jupyter settings have no effect, and nothing
remains except the copies: FOLDER/quickstart.ipynb and FOLDER/quickstart.html.
A cell tagged ``raises-exception`` is expected to fail; the run fails if it does not.
"""

import argparse
import os
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
NO_SCRIPT = "data:,"


def expected_to_fail(cell: Any) -> bool:
    """Check whether a cell is tagged as one that raises."""
    return "raises-exception" in cell.metadata.get("tags", [])


def failed(cell: Any) -> bool:
    """Check whether a cell raised."""
    return any(output.output_type == "error" for output in cell.outputs)


def as_text(output: Any) -> str:
    """Return an output as plain text."""
    match output.output_type:
        case "stream":
            text = output.text
        case "error":
            text = "\n".join(output.traceback)
        case _:
            text = output.data.get("text/plain", "")
    return COLOURS.sub("", text).rstrip("\n")


def show_cell(*, cell: Any, **_: Any) -> None:
    """Print a cell as it starts: the text of a markdown cell, the source of any other."""
    is_code = cell.cell_type == "code"
    print(textwrap.indent(cell.source, "  > ", lambda _: True) if is_code else cell.source, end="\n\n", flush=True)


def show_result(*, cell: Any, **_: Any) -> None:
    """Print the outputs of a code cell as it ends."""
    for text in filter(None, map(as_text, cell.outputs)):
        print(text, end="\n\n", flush=True)


def run(path: Path, folder: Path) -> None:
    """Run the notebook and write the copies; exit with a message if a cell fails, or does not fail as it should."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        for name in [name for name in os.environ if name.startswith(("IPYTHON", "JUPYTER", "XDG_"))]:
            del os.environ[name]
        os.environ |= {"HOME": home, "XDG_RUNTIME_DIR": home}
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=300,
            record_timing=False,  # so that a committed copy changes only if a result does
            store_widget_state=False,  # a widget's output then falls back to its HTML and text
            extra_arguments=[
                "--IPKernelApp.log_level=ERROR",  # newer ones warn that loopback is not encrypted
                "--IPKernelApp.exec_lines=import pandas; pandas.set_option('display.width', 160)",
            ],
            resources={"metadata": {"path": home}},
            on_cell_start=show_cell,
            on_cell_executed=show_result,
        )
        try:
            client.execute()
        except CellExecutionError:
            sys.exit("The last cell above failed.")
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code" and expected_to_fail(cell) and not failed(cell):
            sys.exit(f"Cell {number} is tagged raises-exception but raised nothing.")
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / path.name)
    # The page does not need these two scripts, which it would load from other sites.
    exporter = HTMLExporter(require_js_url=NO_SCRIPT, mathjax_url=NO_SCRIPT)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    (folder / f"{path.stem}.html").write_text(page, encoding="utf-8")


def main() -> None:
    """Run the notebook given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path, help="the folder for the copies")
    options = parser.parse_args()
    run(options.notebook, options.folder)


if __name__ == "__main__":
    main()
