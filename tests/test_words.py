"""The project's texts are plain English: none of the phrases of its early days returns."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = Path(__file__)

# The plain word is behind each.
PHRASES = {
    r"carr(?:y|ies|ied|ying) (?:\w+ )?out": "apply, run, support",
    r"(?:take|takes|taken|taking|took) (?:it |that |them |a change )?back": "undo, revert",
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:is|are|was|were|be|been) said": "is passed, is specified, is reported",
    r"say --\w": "use, pass",
    r"anew": "again",
    r"nobody (?:can|has|is|was|\w+s|\w+ed)": "no one, or the one who acts",
    r"tells? (?:whether|apart)": "check whether, distinguish",
    r"told (?:from|apart)": "distinguished from",
    r"helps on": "is the next step",
    r"goes by": "uses, authenticates with",
    r"for people": "for display",
    r"in the place of": "instead of",
    r"as far as": "if, to the extent that",
    r"(?<!there )(?<!they )(?-i:(?:is|are) none)": "is not one",
    r"is to be had": "is available",
    r"stands? (?:in|at|on|behind|before|beside|there|like)": "is in, follows, precedes, exists",
    r"anything else than": "anything but",
}
OLD = {re.compile(rf"\b{phrase}\b", re.IGNORECASE): plain for phrase, plain in PHRASES.items()}
BEGINNINGS = re.compile(r"(?:Give|Tell|Say|What|How|Where|Who|Why|Whether|Which|So|Let|Have|Put)\b")


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that people read, each with its line or the number of its cell."""
    source = file.read_text("utf-8")
    if file.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, node.value
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    elif file.suffix == ".ipynb":
        yield from ((place, "".join(cell["source"])) for place, cell in enumerate(json.loads(source)["cells"]))
    else:
        yield from enumerate(source.splitlines(), 1)


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a Python file, each with the line that it begins on."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


FOLDERS = ("kqlmi", "tests", "benchmarks", "docs", "notebooks", ".github", ".ci")
SUFFIXES = {"", ".py", ".js", ".css", ".md", ".ipynb", ".toml", ".yml"}


def files(place: str) -> list[Path]:
    """Return the text files of a folder, or the one file, without this one."""
    found = [ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*"))
    return [file for file in found if file.is_file() and file.suffix in SUFFIXES and file != HERE]


@pytest.mark.parametrize("place", [*FOLDERS, *(file.name for file in ROOT.glob("*.md")), "Makefile", "pyproject.toml"])
def test_no_text_has_an_old_phrase(place: str) -> None:
    assert files(place)
    found = [
        f"{file.relative_to(ROOT)}:{line}: {match.group()!r} (write: {plain})"
        for file in files(place)
        for line, text in prose(file)
        for phrase, plain in OLD.items()
        for match in phrase.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("place", FOLDERS)
def test_no_docstring_begins_with_a_question_or_an_old_verb(place: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for file in files(place)
        if file.suffix == ".py"
        for line, text in docstrings(file)
        if BEGINNINGS.match(text)
    ]
    assert found == []
