"""The parser of ``%%kqlmi`` cells."""

import inspect
import keyword
import re
from dataclasses import KW_ONLY, dataclass
from typing import Final

from kqlmi.errors import CellError
from kqlmi.model.statement import Statement
from kqlmi.verbs.arguments import Syntax, is_near, split
from kqlmi.verbs.parameters import ConnectionName, DatabaseName

ASSIGNMENT = re.compile(r"\s*(?P<name>\w+)\s*<<(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A ``%%kqlmi`` cell: ``statement`` is one command or query, as typed; ``check`` means that it is not sent."""

    statement: Statement
    name: str = ""
    check: bool = False
    help: bool = False
    _: KW_ONLY
    database: DatabaseName = ""
    on: ConnectionName = ""
    raw: bool = False


FIRST_LINE: Final = Syntax(
    "%%kqlmi",
    (
        inspect.Parameter("words", inspect.Parameter.VAR_POSITIONAL),
        *(p for p in inspect.signature(Cell).parameters.values() if p.kind is p.KEYWORD_ONLY),
    ),
)
"""The syntax of the first line of a cell, after an assignment."""


def parse_cell(line: str, text: str) -> Cell:
    """Read a cell: ``[name <<] [check] [--database D] [--on N] [--raw]``, and its text.

    Raises:
        CellError: The first line is not valid, or the text is not exactly one command or query.
    """
    name = ""
    if assignment := ASSIGNMENT.match(line):
        name, line = assignment["name"], line[assignment.end() :]
        if not name.isidentifier() or keyword.iskeyword(name):
            raise CellError(f"{name!r} is not a valid variable name.")
    words, options = FIRST_LINE.parse(split(line))
    if wrong := [word for word in words if word != "check"] or words[1:]:
        what = repr(wrong[0]) if is_near(wrong[0], ["check"]) else "A word"
        raise CellError(
            f"{what} is not allowed on the first line of a cell.",
            hint="Put the command on the line below: %%kqlmi [name <<] [check] [--database D] [--on N] [--raw].",
        )
    cell = Cell(Statement.parse(text), name, bool(words), bool(options.pop("help", False)), **options)
    if not cell.help:
        _refuse_all_but_one(cell.statement)
    return cell


def _refuse_all_but_one(statement: Statement) -> None:
    if not statement.tokens:
        raise CellError("The cell is empty.", hint="Write one command or query below %%kqlmi, such as .show databases.")
    if second := statement.second_command:
        raise CellError(
            f"The cell contains two commands: the second begins at {second!r}.",
            hint="Put each in its own cell, or run both with .execute database script <|.",
        )
