"""What was typed: a cell or a magic line as values."""

import keyword
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kqlmi.errors import CellError
from kqlmi.model.entities import did_you_mean
from kqlmi.model.statement import Statement

ASSIGNMENT = re.compile(r"\s*(?P<name>\w+)\s*<<(?=\s|$)")
Kind = Literal["flag", "value", "values"]

CELL_OPTIONS: Final[Mapping[str, Kind]] = {"database": "value", "on": "value", "raw": "flag", "help": "flag"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A ``%%kqlmi`` cell: ``statement`` is one command or query, as it was typed; ``check`` only looks at it."""

    statement: Statement
    name: str = ""
    database: str = ""
    on: str = ""
    raw: bool = False
    help: bool = False
    check: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A line cut into its words: those that stand alone, and the options with their values."""

    positional: tuple[str, ...]
    options: Mapping[str, str | bool | tuple[str, ...]]


def parse_cell(line: str, text: str) -> Cell:
    """Read a cell: ``[name <<] [check] [--database D] [--on N] [--raw]``, and its text.

    Raises:
        CellError: The first line is wrong, or the text is not one command or query.
    """
    name = ""
    if assignment := ASSIGNMENT.match(line):
        name, line = assignment["name"], line[assignment.end() :]
        if not name.isidentifier() or keyword.iskeyword(name):
            raise CellError(f"{name!r} cannot be the name of a variable.")
    words = parse_words(split(line), CELL_OPTIONS)
    if words.positional not in ((), ("check",)):
        raise CellError(
            f"{words.positional[0]!r} has no place on the first line of a cell.",
            hint="Put the command on the line below: %%kqlmi [name <<] [check] [--database D] [--on N] [--raw].",
        )
    options = words.options
    statement = Statement.parse(text)
    if not options.get("help"):
        _refuse_all_but_one(statement)
    return Cell(
        statement,
        name,
        str(options.get("database", "")),
        str(options.get("on", "")),
        raw=bool(options.get("raw")),
        help=bool(options.get("help")),
        check=bool(words.positional),
    )


def split(line: str) -> list[str]:
    """Cut a line at blanks outside quotes; a backslash is an ordinary character."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        raise CellError("A quote is not closed on the line.") from None  # which may hold a secret


def parse_words(words: Sequence[str], options: Mapping[str, Kind]) -> Words:
    """Tell options from other words; ``options`` tells what each takes: nothing, a value, or one each time it is said."""
    positional: list[str] = []
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            positional.append(word)
        elif name not in options:
            hint = did_you_mean(f"--{name}", [f"--{option}" for option in options])
            raise CellError(f"There is no option --{name} here.", hint=hint)
        elif options[name] == "flag":
            if equals:
                raise CellError(f"--{name} takes no value.")
            found[name] = True
        else:
            value = value if equals else next(rest, "")
            if not value or (not equals and value.startswith("--")):
                raise CellError(f"--{name} needs a value.")
            found[name] = (*found.get(name, ()), value) if options[name] == "values" else value
    return Words(tuple(positional), found)


def _refuse_all_but_one(statement: Statement) -> None:
    if not statement.tokens:
        raise CellError("The cell is empty.", hint="Write one command or query below %%kqlmi, such as .show databases.")
    if second := statement.second_command:
        raise CellError(
            f"The cell holds two commands: the second begins at {second!r}.",
            hint="Give each its own cell, or put them under .execute database script <|.",
        )
