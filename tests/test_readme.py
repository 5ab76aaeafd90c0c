"""The README says what is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kqlmi.model.usages import USAGES
from kqlmi.notebook.face import NOTEBOOK

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_every_usage_has_its_row_with_its_scope() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (cluster[\w ]*) \|$", README, re.MULTILINE))
    assert rows == {row.name: "cluster only" if row.cluster_only else "cluster or database" for row in USAGES}


def test_every_subcommand_has_its_row() -> None:
    assert re.findall(r"^\| `%kqlmi (\w+)` \|", README, re.MULTILINE) == list(NOTEBOOK.verbs)


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    ("example", "prints", "ends"),
    list(
        zip(
            EXAMPLES,
            ["1 to grant, 0 to revoke", "may not be used for ExternalDataRequest"],
            ["grants ExternalTable", "1  south  2"],
            strict=True,
        )
    ),
)
def test_the_python_examples_run(tmp_path: Path, example: str, prints: str, ends: str) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", example]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env=environment, cwd=tmp_path
    )
    assert prints in done.stdout
    assert done.stdout.rstrip().endswith(ends)
    assert done.stderr == ""
