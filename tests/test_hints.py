"""Every line and option that the package tells its users to type exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqlmi.cli import SHELL
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.notebook.invocation import FIRST_LINE
from kqlmi.verbs import Face

PACKAGE = Path(__file__).parents[1] / "kqlmi"
FACES = (NOTEBOOK, SHELL)
# A line of kqlmi in a text ends with the sentence.
LINE = re.compile(r"(?<!%)%kqlmi (?P<words>(?:(?!%kqlmi|[.,;:] )[^\n`])+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
# Other files have neither a line nor an option; parsing them too would take seconds of every worker.
RELEVANT = re.compile(r"%kqlmi |prompt\}|--[a-z]")


def texts() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each string literal, with VALUE in each place of an f-string."""
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text("utf-8")
        if not RELEVANT.search(source):
            continue
        tree = ast.parse(source)
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(one.value) if isinstance(one, ast.Constant) else _written(one) for one in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                text = node.value
            else:
                continue
            yield f"{file.relative_to(PACKAGE)}:{node.lineno}", text
    for file in sorted(PACKAGE.rglob("*.js")):
        yield str(file.relative_to(PACKAGE)), file.read_text("utf-8")


def _written(value: ast.expr) -> str:
    return "%kqlmi " if ast.unparse(value).strip("{}").endswith("prompt") else "VALUE"


TEXTS = [*texts()]
LINES = sorted({(place, found["words"]) for place, text in TEXTS for found in LINE.finditer(text)})
# The Azure CLI and style sheets have such words too.
OTHERS = re.compile(r"--(?:assignee|role|scope|method|url|body|jp|kqlmi)\b")
OPTIONS = sorted({(place, one) for place, text in TEXTS for one in OPTION.findall(text) if not OTHERS.match(one)})


def options(face: Face) -> set[str]:
    """Return the options of all verbs of a face."""
    return {option for verb in face.verbs.values() for option in face.syntax(verb).options}


def test_there_are_lines_and_options_to_look_at() -> None:
    assert len(LINES) > 40
    assert len({option for _, option in OPTIONS}) > 30


@pytest.mark.parametrize(("place", "words"), LINES)
def test_each_line_begins_with_a_verb_and_has_options_of_it(place: str, words: str) -> None:
    name, *rest = re.split(r"[\s,.;:)]+", words.strip())
    if name in {"…", "VALUE", "lines", "line", "--help", "VERB"}:
        return
    verb = NOTEBOOK.verbs.get(name) or SHELL.verbs.get(name)
    assert verb, f"{place}: there is no verb {name!r}"
    known = {option for face in FACES for option in face.syntax(verb, rest[:1]).options}
    assert set(OPTION.findall(words)) <= known, place


def test_each_option_belongs_to_a_verb_or_a_cell() -> None:
    known = options(NOTEBOOK) | options(SHELL) | set(FIRST_LINE.options) | {"--version"}
    assert [one for one in OPTIONS if one[1] not in known] == []
