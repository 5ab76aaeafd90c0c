"""The documents of the project, and helpers that run their examples."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from kqlmi import cli

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
README: Final = "../README.md"
DOCUMENTS: Final = {**PAGES, README: (DOCS / README).read_text(encoding="utf-8")}

_FENCE: Final = re.compile(r"^(`{3,})(\w+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_FAILURE: Final = re.compile(r"^\w+Error: ", re.MULTILINE)
_STATUS: Final = re.compile(r"# exit code (\d+)")


def load(path: Path) -> ModuleType:
    """Import a file outside any package; with the lowest dependencies, the source folder is not on the path."""
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Example:
    """A block of a document, and the output that the text block directly after it shows, or None.

    ``place`` is the position of that output in the document.
    """

    language: str
    text: str
    output: str | None = None
    place: slice = field(default_factory=lambda: slice(0))

    @property
    def fails(self) -> bool:
        """Return whether its output is an error."""
        return bool(_FAILURE.search(self.output or ""))

    def shows(self, output: str) -> bool:
        """Check whether an output matches the one that the document shows, in which ``…`` matches anything."""
        if self.output is None:
            return True
        wanted = ".*".join(map(re.escape, _lines(self.output).split("…")))
        return re.fullmatch(wanted, _lines(output), re.DOTALL) is not None

    def with_output(self, document: str, output: str) -> str:
        """Return the document with the output of this example replaced."""
        return f"{document[: self.place.start]}{_lines(output)}\n{document[self.place.stop :]}"


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).rstrip()


def examples(text: str) -> Iterator[Example]:
    """Yield the blocks of a document, except those that show the output of the preceding block."""
    found = list(_FENCE.finditer(text))
    used = None
    for block, after in zip(found, [*found[1:], None], strict=False):
        if block is used:
            continue
        is_output = after is not None and after[2] == "text" and not text[block.end() : after.start()].strip()
        used = after if is_output and block[2] != "text" else None
        yield Example(block[2], block[3], used[3], slice(*used.span(3))) if used else Example(block[2], block[3])


def run_python(text: str, folder: Path) -> str:
    """Run a program in its own folder, and return its output; it must succeed and write no errors."""
    command = [sys.executable, "-c", text]
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=120, env=environment, cwd=folder, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def run_shell(text: str) -> None:
    """Run the ``kqlmi`` lines of a shell; a comment states the exit status, and ``> FILE`` redirects the output."""
    for line in text.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "kqlmi", f"No test runs {program}."
        file = Path(words[words.index(">") + 1]) if ">" in words else None
        words = words[: words.index(">")] if file else words
        wanted = _STATUS.search(line)
        with file.open("w", encoding="utf-8") if file else nullcontext(sys.stdout) as stream, redirect_stdout(stream):
            assert cli.main(words) == int(wanted[1] if wanted else 0), line


def run_toml(text: str) -> None:
    """Check a configuration file."""
    from kqlmi.session.connections.configuration import KEYS

    for one in tomllib.loads(text)["connections"].values():
        assert {key: KEYS[key] for key in one} == {key: type(value) for key, value in one.items()}


def run_yaml(text: str) -> None:
    """Write a policy file where the following examples read it."""
    Path("policy.yaml").write_text(text, encoding="utf-8")


RUN: Final[dict[str, Callable[[str], None]]] = {"shell": run_shell, "toml": run_toml, "yaml": run_yaml}
"""The functions that run examples in this process, by language, except those in Python or for a notebook."""
