"""The verb that writes the text of a flow."""

from collections.abc import Iterator, Sequence
from inspect import Parameter
from typing import Annotated

from kqlmi.errors import CellError
from kqlmi.model import templates
from kqlmi.model.templates import FORMS, Template
from kqlmi.report import Rows
from kqlmi.verbs.parameters import DatabaseName, FlowName, IdentityText
from kqlmi.verbs.registry import Context, verb


def _fields(words: Sequence[str]) -> Iterator[Parameter]:
    """Yield the options of the flow that is the first word; where it is none, those of every flow."""
    form = FORMS.get(words[0]) if words else None
    fields = form.fields if form else {one.name: one for each in FORMS.values() for one in each.fields}.values()
    for one in fields:
        values = one.choices if form and one.choices else ""
        yield Parameter(one.name, Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, values])


@verb(more=_fields, about=lambda flow: templates.form(flow).help)
def new(
    context: Context,
    flow: FlowName = "",
    /,
    *,
    identity: IdentityText = "",
    database: DatabaseName = "",
    **fields: str,
) -> Rows | Template:
    """Write the command or program of a flow into the next cell, with all its gates as a checklist.

    Without a flow: lists them. %kqlmi new FLOW --help tells the options of one. The policy is read; what cannot be seen
    from here is said to be not checked. Nothing is executed.
    """
    if not flow:
        return flow_rows()
    form = templates.form(flow)
    if not identity:
        raise CellError(f"{flow} needs --identity.", hint=f"Write {form.usage}")
    return context.session.new(flow, identity=identity, database=database, **fields)


def flow_rows() -> Rows:
    """Return a row for each flow: its ID, title, usage, kind of text and options."""
    return Rows.of(
        FORMS.items(),
        {
            "flow": lambda one: one[0],
            "workflow": lambda one: one[1].workflow.title,
            "usage": lambda one: one[1].workflow.usage,
            "kind": lambda one: one[1].kind,
            "options": lambda one: [field.usage for field in one[1].fields],
        },
    )
