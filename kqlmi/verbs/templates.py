"""The subcommand that writes a flow into the next cell."""

from collections.abc import Callable
from functools import partial
from typing import Any

from kqlmi.errors import CellError, InputError
from kqlmi.model import templates
from kqlmi.model.templates import FORMS, Form
from kqlmi.verbs.parameters import DatabaseName, FlowName, IdentityText
from kqlmi.verbs.registry import Context, subcommand

_OPTIONS = tuple(dict.fromkeys(one.option.removeprefix("--") for form in FORMS.values() for one in form.fields))


def _about(flow: str) -> str:
    found: Form = _as_cell_error(templates.form, flow)
    return found.help


@partial(subcommand, more=_OPTIONS, about=_about)
def new(
    context: Context,
    flow: FlowName = "",
    /,
    *,
    identity: IdentityText = "",
    database: DatabaseName = "",
    print_: bool = False,
    **fields: str,
) -> Any:
    """Write the command or program of a flow into the next cell, with all its gates as a checklist.

    Without a flow: lists them. %kqlmi new FLOW --help tells the options of one. The policy is read; what cannot be seen
    from here is said to be not checked. Nothing is executed. --print prints the text in place of the next cell.
    """
    if not flow:
        return flows_frame()
    form = _as_cell_error(templates.form, flow)
    if not identity:
        raise CellError(f"{flow} needs --identity.", hint=f"Write {form.usage}")
    found = _as_cell_error(context.session.new, flow, identity=identity, database=database, **fields)
    print(found)
    if found.line:
        print(f"The same in Python:\n\n{found.text}")
    if print_ or not _set_next_cell(found.cell):
        print(f"\n{found.cell}")
    else:
        print("\nThe next cell holds it; nothing of it was run. If it does not show, say --print.")
    return None


def flows_frame() -> Any:
    """Return one row for each flow: its ID, title, usage, kind of text and options."""
    import pandas as pd

    rows = [
        (flow, form.workflow.title, form.workflow.usage, form.kind, [one.usage for one in form.fields])
        for flow, form in FORMS.items()
    ]
    return pd.DataFrame(rows, columns=["flow", "workflow", "usage", "kind", "options"])


def _as_cell_error(function: Callable[..., Any], *words: str, **options: str) -> Any:
    """Call what is told by the line; what is wrong with it is wrong with the line."""
    try:
        return function(*words, **options)
    except InputError as error:
        raise CellError(error.message, hint=error.hint) from None


def _set_next_cell(text: str) -> bool:
    """Put a text into the next cell, where there is a shell that has one."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "set_next_input"):
        return False
    shell.set_next_input(text, replace=False)
    return True
