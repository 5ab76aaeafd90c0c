"""The verbs that write the text of a flow, and ingest a blob as a managed identity."""

from collections.abc import Iterator, Sequence
from inspect import Parameter
from typing import Annotated

from kqlmi.errors import CellError
from kqlmi.model import templates
from kqlmi.model.templates import FORMS, Template
from kqlmi.model.uses.blobs import FORMATS
from kqlmi.report import Rows
from kqlmi.session import Ingestion
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
        return Rows.of(
            FORMS.values(),
            {
                "flow": lambda one: one.flow,
                "workflow": lambda one: one.workflow.title,
                "usage": lambda one: one.workflow.usage,
                "kind": lambda one: one.kind,
                "options": lambda one: [field.usage for field in one.fields],
            },
        )
    form = templates.form(flow)
    if not identity:
        raise CellError(f"{flow} needs --identity.", hint=f"Write {form.usage}")
    return context.session.new(flow, identity=identity, database=database, **fields)


@verb()
def ingest(
    context: Context,
    uri: str,
    into: Annotated[str, ("into",)],
    table: str,
    /,
    *,
    identity: IdentityText = "",
    database: DatabaseName = "",
    format_: Annotated[str, FORMATS] = "",
    mapping: str = "",
    ignore_first_record: bool = False,
    wait: int = 600,
) -> Ingestion:
    """Ingest a blob into a table as a managed identity, and follow it to success or failure.

    %kqlmi ingest https://… into TABLE --identity NAME. The identity is a display name, an object ID, a client ID or
    system. Whether a policy allows it is checked first, and where none does, nothing is sent. The URI holds no key and
    no SAS: a managed identity needs neither. --format is told by the file's ending where it is not said, --mapping names
    an ingestion mapping, --ignore-first-record skips a header. --wait is in seconds, 0 does not follow. The status
    queues belong to everybody who ingests, so nothing is taken out of them.
    """
    # None of the words is repeated: the one in the wrong place may be a URI with a key.
    if into.casefold() != "into":
        raise CellError("The word into is missing.", hint="Write %kqlmi ingest URI into TABLE --identity NAME")
    return context.session.ingest(
        uri,
        table,
        identity=identity,
        database=database,
        format=format_,
        mapping=mapping,
        ignore_first_record=ignore_first_record,
        wait=wait,
        tell=context.note,
        progress=lambda seconds: context.waited(seconds, wait),
    )
