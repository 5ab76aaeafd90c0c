"""The IPython magic ``kqlmi``: a line runs a subcommand, a cell runs one command or query."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from kqlmi.errors import AnswerError, KqlmiError, RequestInterruptedError, printable
from kqlmi.model.explain.explanation import verdict_rows
from kqlmi.model.plan.listing import policy_rows
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.statement import Statement
from kqlmi.notebook.face import CELL_HELP, frame, run
from kqlmi.notebook.invocation import Cell, parse_cell
from kqlmi.notebook.panel.open_panels import OpenPanels
from kqlmi.notebook.settings import KqlMI
from kqlmi.report import counted
from kqlmi.verbs import Sessions

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from kqlmi.session import Table


def keep_empty_body(lines: list[str]) -> list[str]:
    """Add an empty second line to a cell that has only one, as an input transformer of IPython.

    IPython itself would reject such a cell, even with ``--help``, and without an error in the saved notebook.
    """
    alone = lines and lines[0].split(maxsplit=1)[:1] == ["%%kqlmi"] and not "".join(lines[1:])
    return [lines[0].rstrip("\n") + "\n", "\n"] if alone else lines


# IPython does not run transformers with this attribute while a line is still being typed.
keep_empty_body.has_side_effects = True  # type: ignore[attr-defined]


@magics_class
class KqlMagics(Magics):
    """The magic of one shell, with its open sessions and panels."""

    def __init__(self, shell: "InteractiveShell") -> None:
        super().__init__(shell)
        self.settings = KqlMI(parent=shell)
        shell.configurables.append(self.settings)  # type: ignore[arg-type] # IPython accepts any Configurable
        self.sessions, self.panels = Sessions(), OpenPanels()

    def close(self) -> None:
        """Close the sessions and panels, and print what was closed."""
        names = [printable(name) for name in self.sessions.by_name]
        plans = sum(len(one.plans) for one in self.sessions.by_name.values())
        panels = self.panels.close()
        self.sessions.close()
        what = "connection" if len(names) == 1 else "connections"
        parts = [f"the {what} {', '.join(names)}"] * bool(names)
        parts += [counted(panels, "panel")] * bool(panels)
        forgotten = f" Plans that were shown and can no longer be applied: {plans}." if plans else ""
        if parts:
            print(f"Closed {' and '.join(parts)}.{forgotten}")

    @no_var_expand
    @line_cell_magic
    def kqlmi(self, line: str, cell: str | None = None) -> Any:
        """Run a subcommand (``%kqlmi help``), or the command or query of a cell."""
        statement = None if cell is None else Statement(cell)
        try:
            if statement is None:
                found = run(self.sessions, line, self.settings, self.panels, self._variables)
                return None if self._is_silenced(line) else found
            return self._run(parse_cell(line, statement, self._variables))
        except KqlmiError as error:
            # The cause is dropped: notebooks do not show it, and it may contain secrets that were typed.
            error.forget(statement.hidden if statement else ())
            raise
        except RequestInterruptedError:
            raise
        except KeyboardInterrupt:
            raise RequestInterruptedError("Interrupted.") from None

    def _is_silenced(self, line: str) -> bool:
        """Return whether a line ends in a semicolon, is the last of its cell, and its result is not assigned."""
        cells = self._variables.get("_ih")
        last = str(cells[-1] if isinstance(cells, list) and cells else "").rstrip().rpartition("\n")[2]
        return line.rstrip().endswith(";") and last == f"get_ipython().run_line_magic('kqlmi', {line!r})"

    @property
    def _variables(self) -> Mapping[str, object]:
        return self.shell.user_ns if self.shell else {}

    def _run(self, cell: Cell) -> "pd.DataFrame | None":
        if cell.help:
            print(CELL_HELP)
            return None
        session = self.sessions.get(cell.on)
        if cell.check:
            verdicts = session.check(cell.statement, cell.database)
            return self._kept(cell, frame(verdict_rows(verdicts, cell.statement)))
        table = session.send(cell.statement, cell.database)
        found, note = None, ""
        if table.others:
            self._show_tables(cell, table)
        elif not (cell.raw or self.settings.raw):
            try:
                found = session.policy_in(table, cell.statement, cell.database)
            except AnswerError as error:
                # The command has been run, so its result is shown, and this is not reported as a failure.
                note = f"The policy is shown as the service returned it: {error}"
        shown = table.to_dataframe() if found is None else frame(policy_rows(found))
        note = note or (_absence(found) if found else "")
        if note and not (cell.name and self.shell):
            print(note)
        if table.visualization:
            print(f"The {printable(table.visualization)} that render requests is not drawn; these are its rows.")
        return self._kept(cell, shown)

    def _show_tables(self, cell: Cell, first: "Table") -> None:
        """Show each table of a result under its name, except the first if the cell returns it."""
        from IPython.display import display

        count = len(first.tables)
        for number, table in enumerate(first.tables, 1):
            if cell.name or number > 1:
                print(f"{_title(table)} (table {number} of {count}):")
                display(table.to_dataframe())
        print(f"{cell.name or 'The result of this cell'} is {_title(first)}, the first of {count} tables.")

    def _kept(self, cell: Cell, frame: "pd.DataFrame") -> "pd.DataFrame | None":
        """Return a result, or store it in the variable that the cell names."""
        if cell.name and self.shell:
            self.shell.user_ns[cell.name] = frame
            return None
        return frame


def _title(table: "Table") -> str:
    return printable(table.name) or "(no name)"


def _absence(found: Snapshot) -> str:
    """Return a note that distinguishes no policy from an empty policy, as both are an empty table."""
    [(scope, policy)] = found.policies.items()
    if policy is None:
        return f"No policy: {scope}."
    return "" if policy.entries else f"An empty policy: {scope}."
