"""The verbs that write the command or program of a flow, and ingest a blob as a managed identity."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import Parameter
from typing import Annotated

from kqlmi.errors import CellError
from kqlmi.model import templates
from kqlmi.model.catalogue import USAGE_TAGS
from kqlmi.model.templates import FORMS, Field, Form, Template
from kqlmi.model.uses.blobs import FORMATS
from kqlmi.report import Rows
from kqlmi.session import Enablement, Ingestion
from kqlmi.verbs.parameters import DatabaseName, FlowName, IdentityText
from kqlmi.verbs.registry import Context, verb


def _options(words: Sequence[str], of: Callable[[Form], Iterable[Field]]) -> Iterator[Parameter]:
    """Yield the options of the flow that the first word names, or of every flow if it names none."""
    form = templates.find_form(words[0]) if words else None
    fields = of(form) if form else {one.name: one for each in FORMS.values() for one in of(each)}.values()
    for one in fields:
        values = one.choices if form and one.choices else ""
        yield Parameter(one.name, Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, values])


def _fields(words: Sequence[str]) -> Iterator[Parameter]:
    return _options(words, lambda form: form.fields)


def _asked(words: Sequence[str]) -> Iterator[Parameter]:
    return _options(words, lambda form: form.asked)


@verb(task="Use an identity", more=_fields, about=lambda flow: templates.form(flow).help)
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

    Without FLOW, the flows are listed. %kqlmi new FLOW --help explains the options of a flow. The policy is read;
    gates that kqlmi cannot check are marked as not checked. Nothing is executed.
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
            kinds={"usage": USAGE_TAGS, "options": "code"},
        )
    form = templates.form(flow)
    if not identity:
        raise CellError(f"{flow} needs --identity.", hint=f"Usage: {form.usage}")
    return context.session.new(flow, identity=identity, database=database, **fields)


@verb(task="Use an identity", more=_asked)
def enable(
    context: Context,
    workflow: FlowName,
    /,
    *,
    identity: IdentityText,
    database: DatabaseName = "",
    probe: bool = False,
    **about: str,
) -> Enablement:
    """Check every gate of a workflow for an identity, and plan what opens those that are closed.

    WORKFLOW is a title, such as "Continuous export", or an ID. --uri, or another address that the workflow has, is needed to
    check the gates on its target. Each gate is read now; a second enable reads each again. The assignment and the grant are
    planned, each with an ID for %kqlmi apply; without the right to apply them, the request to send to an administrator is
    shown. Callout rules, roles and plugins are cells and lines to run. --probe also reads --uri with the identity.
    """
    return context.session.enable(workflow, identity=identity, database=database, probe=probe, **about)


@verb(task="Use an identity")
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
    """Ingest a blob into a table with a managed identity, and wait until it succeeds or fails.

    Example: %kqlmi ingest https://… into TABLE --identity NAME. The identity is a display name, an object ID, a client ID
    or system. Nothing is sent unless a policy allows the ingestion. The URI must not contain an account key or a SAS token:
    a managed identity needs neither. --format defaults to the format of the file extension, --mapping is the name of an
    ingestion mapping, --ignore-first-record skips a header. --wait is in seconds; 0 does not wait for the outcome. The
    status queues are shared by everyone who ingests into the cluster, so messages are read but not removed.
    """
    # The message quotes none of the words: the misplaced one may be a URI with a key.
    if into.casefold() != "into":
        raise CellError("The word into is missing.", hint="Usage: %kqlmi ingest URI into TABLE --identity NAME")
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
