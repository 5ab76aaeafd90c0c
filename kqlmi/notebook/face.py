"""The notebook over the verbs: how a line is run, the options that a notebook adds, and how a value is shown."""

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kqlmi.errors import CellError, printable
from kqlmi.model.audit.audit import Audit
from kqlmi.model.plan.plan import SHOWN, Plan
from kqlmi.notebook.panel.open_panels import OpenPanels
from kqlmi.notebook.progress import Progress
from kqlmi.notebook.settings import KqlMI
from kqlmi.report import Rows
from kqlmi.session import Applied, Session
from kqlmi.verbs import Context, Face, Sessions
from kqlmi.verbs.arguments import split
from kqlmi.verbs.changes import Exported
from kqlmi.verbs.overview import PanelPlace
from kqlmi.verbs.parameters import ConnectionName
from kqlmi.verbs.plans import Offer, PlanFormat, keys, offer
from kqlmi.verbs.registry import Run

if TYPE_CHECKING:
    import pandas as pd

CELL_HELP = """\
%%kqlmi [name <<] [check] [--database D] [--on N] [--raw]
    Run the cell: ONE command or query, sent as it is typed. The result is a pandas DataFrame, kept in name.
    A policy command gives one row for each identity; --raw gives the service's own row.
    check sends nothing of the cell: it tells for each identity that it uses whether that would be allowed, and why."""


def _on(context: Context, /, *, on: ConnectionName = "") -> Context:
    """--on names the connection; by default it is the one that was connected last."""
    return replace(context, on=on)


NOTEBOOK = Face("notebook", "%kqlmi ", _on, before=CELL_HELP)


def run(sessions: Sessions, line: str, settings: KqlMI, panels: OpenPanels | None = None) -> Any:
    """Run a ``%kqlmi`` line and return its result, None where it only prints."""
    words = split(line) or ["help"]
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
    """Return rows as a frame that shows itself; pandas is loaded by the first one."""
    from kqlmi.notebook.frame import Frame

    return Frame.of(rows)


@dataclass(frozen=True, slots=True)
class _Display:
    """What shows a value, and returns what becomes the result of the cell."""

    sessions: Sessions
    panels: OpenPanels
    progress: Progress

    def __call__(self, value: object) -> Any:
        self.progress.close()  # a value does not begin on the bar's line
        match value:
            case Offer():
                self._offer(value)
            case PanelPlace():
                from kqlmi.notebook.panel.panel import Panel

                return self.panels.keep(Panel(value.session, value.scope))
            case Exported() if value.file:
                value.write()
                file = printable(value.file)
                print(f"Written: {file}. To see what a change of it would do: %kqlmi plan {file}")
            case Applied() if not value.plan.steps:
                print(value.plan)
            case Audit():
                hint = "\nTo see the evidence of a finding and the plan that mends it: %kqlmi audit ID"
                print(f"{value}{hint if value.findings else ''}")
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
        """Show a plan, and then keep it for ``apply``, which runs exactly what was seen."""
        print(value)
        plan, key = value.plan, value.key or value.plan.id
        if plan.steps:
            self.sessions.by_name[plan.cluster].plans[key] = plan
            print(f"\nNothing was sent. To carry it out: {_apply_line(key, plan)}")
        for line in value.after:
            print(line)


def _apply_line(key: str, plan: Plan) -> str:
    """Return the line that applies a plan, with the options that it needs; the cluster's name is for people to type."""
    confirm = " --confirm NAME, with the name of the cluster" if plan.confirm else ""
    return f"%kqlmi apply {key[:SHOWN]}{' --revoke' if plan.revokes else ''}{confirm}"


@NOTEBOOK.shows
def _plan(context: Context, run: Run, /, *, format_: PlanFormat = "text") -> None:
    """--format is text, markdown for a pull request, kql for a script to paste, or json for kqlmi apply in a shell."""
    found: Offer = run(context)
    context.show(found if format_ == "text" else found.written(format_))


@NOTEBOOK.shows
def _apply(context: Context, run: Run, /, *, revoke: bool = False) -> None:
    """What a file wants must have been shown as it is now. --revoke must be said if the plan takes anything away."""

    def permit(session: Session, plan: Plan) -> None:
        if not plan.steps:
            return
        if not (shown := keys(session, plan)):
            context.show(offer(session, plan))
            raise CellError("What the file wants was not shown before.", hint="Look at the plan above, and apply it.")
        if plan.revokes and not revoke:
            line = _apply_line(shown[0], plan)
            raise CellError(f"Plan {shown[0][:SHOWN]} takes something away.", hint=f"If that is meant: {line}")

    done: Applied = run(replace(context, permit=permit))
    context.show(done)
    if done.repair:
        session = context.sessions.get(done.plan.cluster)
        context.show(offer(session, session.plan(done.repair), before="\nThis brings it back:"))


@NOTEBOOK.shows
def _new(context: Context, run: Run, /, *, print_: bool = False) -> Any:
    """--print prints the text in place of the next cell."""
    found = run(context)
    if isinstance(found, Rows):
        return context.show(found)
    print(found)
    if found.line:
        print(f"The same in Python:\n\n{found.text}")
    if print_ or not _set_next_cell(found.cell):
        print(f"\n{found.cell}")
    else:
        print("\nThe next cell holds it; nothing of it was run. If it does not show, say --print.")
    return None


def _set_next_cell(text: str) -> bool:
    """Put a text into the next cell, where there is a shell that has one."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "set_next_input"):
        return False
    shell.set_next_input(text, replace=False)
    return True
