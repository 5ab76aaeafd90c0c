"""The IPython magic ``kqlmi``: a line is a subcommand, a cell is one command or query."""

from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from kqlmi.cluster import policies
from kqlmi.cluster.table import Table
from kqlmi.errors import PolicyError
from kqlmi.model import commands
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Snapshot
from kqlmi.notebook import subcommands
from kqlmi.notebook.invocation import Cell, parse_cell

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell


def keep_empty_body(lines: list[str]) -> list[str]:
    """Give a cell that is only its first line an empty second one, as an input transformer of IPython.

    IPython would refuse the cell by itself, without ``--help``, and without an error in the saved notebook.
    """
    alone = lines and lines[0].split(maxsplit=1)[:1] == ["%%kqlmi"] and not "".join(lines[1:])
    return [lines[0].rstrip("\n") + "\n", "\n"] if alone else lines


@magics_class
class KqlMagics(Magics):
    """The magic of one shell, with the sessions that it holds open."""

    def __init__(self, shell: "InteractiveShell") -> None:
        """Begin without a session."""
        super().__init__(shell)
        self.sessions = subcommands.Sessions()

    @no_var_expand
    @line_cell_magic
    def kqlmi(self, line: str, cell: str | None = None) -> Any:
        """Run a subcommand (``%kqlmi help``), or the command or query of a cell."""
        if cell is None:
            return subcommands.run(self.sessions, line)
        parsed = parse_cell(line, cell)
        if parsed.help:
            print(subcommands.CELL_HELP)
            return None
        return self._run(parsed)

    def _run(self, cell: Cell) -> "pd.DataFrame | None":
        session = self.sessions.get(cell.on)
        table = session.run(cell.text, cell.database)
        frame, note = (table.to_dataframe(), "") if cell.raw else _view(cell, table, cell.database or session.database)
        if cell.name and self.shell:
            self.shell.user_ns[cell.name] = frame
            return None
        if note:
            print(note)
        return frame


def _view(cell: Cell, table: Table, database: str) -> "tuple[pd.DataFrame, str]":
    """Give one row for each identity of a policy command's answer, and anything else as it came."""
    command = commands.read(cell.text)
    if command is None or command.piped or not policies.holds_policy(table):
        return table.to_dataframe(), ""
    try:
        policy = policies.policy_of(table)
    except PolicyError as error:
        # The command was carried out: what came back is shown as it is, and not called a failure.
        return table.to_dataframe(), f"The policy is shown as it came: {error}"
    scope = command.scope or Scope.database(database or str(table.column("EntityName")[0]))
    note = f"No policy: {scope}." if policy is None else "" if policy.entries else f"An empty policy: {scope}."
    return policies.to_dataframe(Snapshot({scope: policy})), note
