"""The parser of ``%%kqlmi`` cells."""

import inspect
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType
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
    param: tuple[str, ...] = ()


FIRST_LINE: Final = Syntax(
    "%%kqlmi",
    (
        inspect.Parameter("words", inspect.Parameter.VAR_POSITIONAL),
        *(p for p in inspect.signature(Cell).parameters.values() if p.kind is p.KEYWORD_ONLY),
    ),
)
"""The syntax of the first line of a cell, after an assignment."""


USAGE: Final = "%%kqlmi [name <<] [check] [--database D] [--on N] [--raw] [--param NAME[=VALUE]]…"


def parse_cell(line: str, text: str, variables: Mapping[str, object] = MappingProxyType({})) -> Cell:
    """Read a cell: its first line, as ``USAGE`` shows, and its text; the statement has the values of its parameters.

    Raises:
        CellError: The first line is not valid, or the text is not exactly one command or query.
        InputError: The query does not declare a parameter, or its type does not fit the value.
    """
    name = ""
    if assignment := ASSIGNMENT.match(line):
        name, line = assignment["name"], line[assignment.end() :]
        if not name.isidentifier() or keyword.iskeyword(name):
            raise CellError(f"{name!r} is not a valid variable name.")
    words, options = FIRST_LINE.parse(split(line, variables))
    if wrong := [word for word in words if word != "check"] or words[1:]:
        what = repr(wrong[0]) if is_near(wrong[0], ["check"]) else "A word"
        raise CellError(
            f"{what} is not allowed on the first line of a cell.",
            hint=f"Put the command on the line below: {USAGE}.",
        )
    cell = Cell(Statement.parse(text), name, bool(words), bool(options.pop("help", False)), **options)
    if cell.help:
        return cell
    _refuse_all_but_one(cell.statement)
    return replace(cell, statement=cell.statement.bound(_values(cell.param, variables))) if cell.param else cell


def _values(params: Iterable[str], variables: Mapping[str, object]) -> dict[str, object]:
    """Return the values of parameters: from ``NAME=VALUE`` the text, from ``NAME`` the value of that variable."""
    values: dict[str, object] = {}
    for number, param in enumerate(params, 1):
        name, equals, text = param.partition("=")
        if not name.isidentifier():
            raise CellError(
                f"The name of parameter {number} is not valid.", hint="Write --param NAME=VALUE, or --param NAME."
            )
        if name in values:
            raise CellError(f"The parameter {name!r} is specified more than once.", hint="Keep one --param for it.")
        if not equals and name not in variables:
            raise CellError(
                f"Parameter {number} has no value, and no variable has its name.", hint="Write --param NAME=VALUE."
            )
        values[name] = text if equals else variables[name]
    return values


def _refuse_all_but_one(statement: Statement) -> None:
    if not statement.tokens:
        raise CellError("The cell is empty.", hint="Write one command or query below %%kqlmi, such as .show databases.")
    if second := statement.second_command:
        # A script runs no query and skips .show; a script of a database runs no command of the cluster.
        runs = statement.is_write and not second.startswith(".show")
        scopes = {"cluster" if text.split()[1:2] == ["cluster"] else "database" for text in (statement.masked, second)}
        script = f", or run both with .execute {scopes.pop()} script <|" if runs and len(scopes) == 1 else ""
        raise CellError(
            f"The cell contains two commands: the second begins at {second!r}.",
            hint=f"Put each in its own cell{script}.",
        )
