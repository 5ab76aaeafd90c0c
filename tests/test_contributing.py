"""Tests that the recipes of CONTRIBUTING.md work: each diff applies to the current package, and has the described effect."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import kqlmi
from tests.documents import ROOT

DIFFS = re.findall(
    r"^```diff\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)

SCRIPT = """
import kqlmi
from kqlmi.model.audit.rules import RULES
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.verbs import VERBS

assert NOTEBOOK.verbs["scopes"].summary == "Count the scopes that have a policy."
assert RULES["system identity"].about == "A grant to the system identity."
assert "The plugin of the future" in str(VERBS["workflows"].run(None, "future"))
with kqlmi.local.start(databases=["Samples"], identities=["system"]) as cluster:
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        assert session.run(".show weather").column("Weather") == ["fair"]
        session.apply(session.grant("system", "FutureFlow", cluster=True))
        assert session.access("system", "futureflow").allowed
        assert "system identity" in {one.rule for one in session.audit().findings}
"""


@pytest.mark.slow
def test_each_recipe_is_the_diff_of_one_file(tmp_path: Path) -> None:
    package = Path(str(kqlmi.__file__)).parent
    shutil.copytree(package, tmp_path / "kqlmi")  # with the cached bytecode, which is valid for equal files
    assert len(DIFFS) == 5
    for diff in DIFFS:
        assert diff.count("\n+++ ") == 1
        # Otherwise git would use a surrounding checkout, if there is one.
        environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
        command = ["git", "apply", "--unidiff-zero", "-"]
        subprocess.run(command, input=diff, text=True, encoding="utf-8", check=True, cwd=tmp_path, env=environment)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "KQLMI_STATE": str(tmp_path / "state")}
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, cwd=tmp_path, env=environment)


def test_each_command_is_a_target_of_make() -> None:
    text, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "Makefile"))
    targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
    assert len(targets) == 3
    assert [one for one in targets if not re.search(rf"^{one}:", makefile, re.MULTILINE)] == []


def test_each_configuration_of_the_forge_can_be_read_and_refers_to_existing_files() -> None:
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) == 5
    read = {file.name: YAML(typ="safe").load(file) for file in files}
    assert read["ci.yml"]["jobs"]["all"]["steps"][-1]["run"] == ".ci/run"
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_no_document_links_to_an_address_that_does_not_exist() -> None:
    files = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.*")]
    found = {
        one for file in files for one in re.findall(r"https?://[\w.-]+|[\w.]+@[\w-]+\.\w+", file.read_text("utf-8"))
    }
    assert found == {"https://kqlmisamples.blob.core.windows.net"}  # the local cluster's container
