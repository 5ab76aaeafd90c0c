"""Tests that the modules of the page are joined into one, and that each keeps its names private."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kqlmi.notebook.panel import esm, view

PAGE = Path(view.__file__).parent / "page"


def test_every_module_of_the_page_is_in_it_once() -> None:
    found = re.findall(r"^// (\w+\.js)$", esm.joined(PAGE / "panel.js"), re.MULTILINE)
    assert sorted(found) == sorted(path.name for path in PAGE.glob("*.js"))


def test_nothing_is_left_to_import_and_one_thing_is_exported() -> None:
    lines = esm.joined(PAGE / "panel.js").splitlines()
    assert [line for line in lines if re.match(r"\s*(import|export)\b", line)] == [
        "export default { initialize, render };"
    ]


@pytest.mark.parametrize("path", sorted(PAGE.glob("*.js")), ids=lambda path: path.name)
def test_a_module_imports_what_another_exports(path: Path) -> None:
    for names, module in esm._IMPORT.findall(path.read_text(encoding="utf-8")):
        exported = esm._EXPORT.findall((PAGE / f"{module}.js").read_text(encoding="utf-8"))
        assert set(re.findall(r"\w+", names)) <= set(exported)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_modules_with_the_same_names_do_not_collide(tmp_path: Path) -> None:
    (tmp_path / "one.js").write_text("const same = 1;\nexport function one() {\n  return same;\n}\n")
    (tmp_path / "two.js").write_text(
        'import { one } from "./one.js";\n\nconst same = 2;\nexport const two = one() + same;\n'
    )
    (tmp_path / "main.js").write_text(
        'import { one } from "./one.js";\nimport { two } from "./two.js";\n\nconst same = one() * 10 + two;\nexport default same;\n'
    )
    (tmp_path / "all.mjs").write_text(esm.joined(tmp_path / "main.js"))
    script = f"import({(tmp_path / 'all.mjs').as_uri()!r}).then((all) => console.log(all.default))"
    assert subprocess.run(["node", "-e", script], check=True, capture_output=True, text=True).stdout == "13\n"
