"""The notebook face: it runs ``%kqlmi`` lines, adds options of the notebook to the verbs, and shows their values."""

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kqlmi.errors import CellError, printable
from kqlmi.model.audit.audit import Audit
from kqlmi.model.plan.plan import SHOWN, Plan
from kqlmi.model.plan.planfile import to_request
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.notebook.invocation import USAGE
from kqlmi.notebook.panel.open_panels import OpenPanels
from kqlmi.notebook.progress import Progress
from kqlmi.notebook.settings import KqlMI
from kqlmi.report import Report, Rows, to_html
from kqlmi.session import Applied, Enablement, Session
from kqlmi.terminal import to_terminal
from kqlmi.verbs import Context, Face, Sessions
from kqlmi.verbs.arguments import split
from kqlmi.verbs.audit import Page
from kqlmi.verbs.changes import Exported
from kqlmi.verbs.overview import PanelPlace
from kqlmi.verbs.parameters import ConnectionName
from kqlmi.verbs.plans import Offer, PlanFormat, keys, offer
from kqlmi.verbs.registry import Run

if TYPE_CHECKING:
    import pandas as pd

CELL_HELP = f"""\
{USAGE}
    Run the cell: ONE command or query, sent as typed. The result is a pandas DataFrame, stored in the variable name.
    A policy command returns one row for each identity; --raw returns the service's own row.
    check does not send the cell; it reports whether each identity that the cell uses would be allowed, and why.
    --param sends the value of a parameter that the query declares: NAME=VALUE a text, NAME the Python variable NAME."""


def _on(context: Context, /, *, on: ConnectionName = "") -> Context:
    """--on is the name of the connection. Default: the current connection."""
    return replace(context, on=on)


NOTEBOOK = Face("notebook", "%kqlmi ", _on, before=CELL_HELP)


def run(
    sessions: Sessions,
    line: str,
    settings: KqlMI,
    panels: OpenPanels | None = None,
    variables: Mapping[str, object] = MappingProxyType({}),
) -> Any:
    """Run a ``%kqlmi`` line and return its result, or None if it only prints; ``{name}`` is one of the ``variables``."""
    words = split(line, variables) or ["help"]
    with closing(Progress()) as progress:
        context = Context(
            NOTEBOOK,
            sessions,
            note=print,
            show=_Display(sessions, panels or OpenPanels(), progress),
            progress=progress,
            waited=progress.waited,
            timeout=settings.timeout,
            read_only=settings.read_only,
        )
        return NOTEBOOK.run(words, context)


def frame(rows: Rows) -> "pd.DataFrame":
    """Return rows as a frame for display; the first call imports pandas."""
    from kqlmi.notebook.frame import Frame

    return Frame.of(rows)


@dataclass(frozen=True, slots=True)
class _Display:
    """A callable that shows a value and returns the result of the cell."""

    sessions: Sessions
    panels: OpenPanels
    progress: Progress

    def __call__(self, value: object) -> Any:
        self.progress.close()  # so that the value does not begin on the line of the bar
        match value:
            case Offer():
                self._offer(value)
            case PanelPlace():
                from kqlmi.notebook.panel.panel import Panel

                return self.panels.keep(Panel(value.session, value.scope))
            case Exported() if value.file:
                value.write()
                file = printable(value.file)
                print(f"Written: {file}. To preview the effect of an edit: %kqlmi plan {file}")
            case Applied() if not value.plan.steps:
                print(value.plan)
            case Audit():
                _display(value.report())
                if value.findings:
                    print("To see the evidence of a finding and the plan that fixes it: %kqlmi audit ID")
                return frame(value.rows)
            case Rows():
                return frame(value)
            case _ if isinstance(rows := getattr(value, "rows", None), Rows):
                for note in getattr(value, "notes", ()):
                    print(note)
                return frame(rows)
            case _:
                print(value)
        return None

    def _offer(self, value: Offer) -> None:
        """Show a plan, then store it for ``apply``, which applies exactly what was shown."""
        if value.before:
            print(f"{value.before}\n")
        _display(value.report())
        plan, key = value.plan, value.key or value.plan.id
        if plan.steps:
            self.sessions.by_name[plan.cluster].plans[key] = plan
            print(f"\nNothing was sent. {self._next(plan)}To apply it: {_apply_line(key, plan)}")
            if value.folds:
                print(f"To see every command: %kqlmi plan {key[:SHOWN]} --full")
        for line in value.after:
            print(line)

    def _next(self, plan: Plan) -> str:
        """Return a request to an administrator, if the caller's roles do not seem to allow the plan."""
        if not isinstance(plan, PolicyPlan) or (denial := self.sessions.by_name[plan.cluster].denial()) is None:
            return ""
        return f"{denial.reason}\nTo ask an administrator, send this:\n\n{to_request(plan)}\n\n"


@dataclass(frozen=True, slots=True)
class _Shown:
    """A report as IPython displays it; all names are in its text as in its HTML, so what ``apply`` accepts was shown."""

    report: Report

    def __repr__(self) -> str:
        return to_terminal(self.report, sys.stdout)

    def _repr_html_(self) -> str:
        return to_html(self.report)


def _display(report: Report) -> None:
    from IPython.display import display

    display(_Shown(report))


def _apply_line(key: str, plan: Plan) -> str:
    """Return the line that applies a plan, with the options that it needs; the user has to type the cluster's name."""
    confirm = " --confirm NAME, with the name of the cluster" if plan.confirm else ""
    return f"%kqlmi apply {key[:SHOWN]}{' --revoke' if plan.revokes else ''}{confirm}"


@NOTEBOOK.shows
def _plan(context: Context, run: Run, /, *, format_: PlanFormat = "text", full: bool = False) -> None:
    """--format is text, markdown (for a pull request), kql (a script), or json (for kqlmi apply in a shell).

    --full shows each step with its command, where identical steps would be shown as one.
    """
    found: Offer = run(context)
    found = found.full() if full else found
    context.show(found if format_ == "text" else found.written(format_))


@NOTEBOOK.shows
def _apply(context: Context, run: Run, /, *, revoke: bool = False) -> None:
    """The plan of a file must have been shown, and not have changed since. --revoke is required if a plan removes access."""

    def permit(session: Session, plan: Plan) -> None:
        if not plan.steps:
            return
        if not (shown := keys(session, plan)):
            context.show(offer(session, plan))
            raise CellError("This plan has not been shown before.", hint="Review it above, and run the line below it.")
        if plan.revokes and not revoke:
            line = _apply_line(shown[0], plan)
            raise CellError(f"Plan {shown[0][:SHOWN]} removes access.", hint=f"To apply it anyway: {line}")

    done: Applied = run(replace(context, permit=permit))
    context.show(done)
    if done.repair:
        session = context.sessions.get(done.plan.cluster)
        context.show(offer(session, session.plan(done.repair), before="\nTo restore the overwritten change:"))


@NOTEBOOK.shows
def _enable(context: Context, run: Run, /) -> None:
    found: Enablement = run(context)
    _display(found.report())
    for plan in found.plans:
        context.show(offer(context.sessions.get(plan.cluster), plan))


@NOTEBOOK.shows
def _map(context: Context, run: Run, /) -> Any:
    """Without --html, the map is the result of the line; a terminal prints it as text."""
    found = run(context)
    if isinstance(found, Page):
        found.write()
        return context.show(found)
    if _is_terminal():
        _display(found.report())
    return found


def _is_terminal() -> bool:
    """Return whether the shell displays only plain text."""
    from IPython import get_ipython

    formatter = getattr(get_ipython(), "display_formatter", None)
    return formatter is not None and formatter.active_types == ["text/plain"]


@NOTEBOOK.shows
def _new(context: Context, run: Run, /, *, print_: bool = False) -> Any:
    """--print prints the text instead of writing it into the next cell."""
    found = run(context)
    if isinstance(found, Rows):
        return context.show(found)
    print(found)
    if found.line:
        print(f"The same in Python:\n\n{found.text}")
    if print_ or not _set_next_cell(found.cell):
        print(f"\n{found.cell}")
    else:
        print("\nIt is in the next cell, and was not run. If no cell appeared, use --print.")
    return None


def _set_next_cell(text: str) -> bool:
    """Write a text into the next cell, and return whether the front end supports that."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "set_next_input"):
        return False
    shell.set_next_input(text, replace=False)
    return True
