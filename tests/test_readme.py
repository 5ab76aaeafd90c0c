"""The README says what is there."""

import re
from pathlib import Path

import pytest

from kqlmi.model.usages import USAGES
from kqlmi.notebook.face import NOTEBOOK
from tests.documents import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")


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
    output = run_python(example, tmp_path)
    assert prints in output
    assert output.rstrip().endswith(ends)
