"""The forms: for each flow its fields, and how its text is written from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.errors import InputError
from kqlmi.model.entities import did_you_mean
from kqlmi.model.templates import commands, programs, queries
from kqlmi.model.templates.fields import (
    ACCOUNT,
    CATALOG,
    CLIENT,
    COLLECTION,
    COSMOS,
    EVENTS,
    EVERY,
    FORMAT,
    GROUP,
    HOT,
    HUB,
    INGESTION,
    MODEL,
    NAME,
    QUERY,
    RESOURCE,
    SCHEMA,
    SCRIPT,
    SERVER,
    SOURCE,
    STORAGE,
    TABLE,
    TEXT,
    URI,
    WRITTEN,
    Field,
)
from kqlmi.model.templates.values import Place, Values
from kqlmi.model.workflows import WORKFLOWS, Workflow

Kind = Literal["kql", "python", "shell"]

_ROWS: Final = {row.id: row for row in WORKFLOWS}


@dataclass(frozen=True, slots=True)
class Form:
    """What one flow asks for, and how it is written.

    ``is_ingestion`` marks a command of the ingestion endpoint. ``line`` is a ``%kqlmi`` line that does the same.
    ``notes`` say what the row of the flow does not.
    """

    flow: str
    fields: tuple[Field, ...]
    write: Callable[[Values], str]
    kind: Kind = "kql"
    is_ingestion: bool = False
    line: Callable[[Values], str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def workflow(self) -> Workflow:
        """Give the flow's row of the catalogue."""
        return _ROWS[self.flow]

    @property
    def usage(self) -> str:
        """Give the line to type."""
        return " ".join(
            [f"%kqlmi new {self.flow} --identity IDENTITY [--database DATABASE]", *(one.usage for one in self.fields)]
        )

    @property
    def help(self) -> str:
        """Give the line to type, and what each option is."""
        rows = [(one.option, one.help, f" ({one.default} if not said)" if one.default else "") for one in self.fields]
        width = max(len(option) for option, _, _ in rows)
        lines = [f"    {option.ljust(width)}  {text}{default}" for option, text, default in rows]
        return "\n".join([f"{self.workflow.title}, which needs {self.workflow.usage}:", self.usage, *lines])

    def checked(self, said: Mapping[str, str], place: Place) -> dict[str, str]:
        """Give the value of each field: as it is said, as the place tells it, or its default.

        Raises:
            InputError: One is missing, does not fit, or is no field of this flow.
        """
        known = {one.name: one for one in self.fields}
        for name in said:
            if name not in known:
                option = f"--{name.replace('_', '-')}"
                hint = did_you_mean(option, [one.option for one in self.fields])
                raise InputError(f"{self.flow} takes no {option}.", hint=hint)
        values = {one: said.get(one.name) or place.fields.get(one.name) or one.default for one in self.fields}
        if missing := [one.option for one, value in values.items() if not (value or one.optional)]:
            raise InputError(f"{self.flow} needs {' and '.join(missing)}.", hint=f"Write {self.usage}")
        return {one.name: one.checked(value) for one, value in values.items() if value}


def form(flow: str) -> Form:
    """Give the form of a flow, by its ID.

    Raises:
        InputError: There is no such flow.
    """
    if flow not in FORMS:
        raise InputError(f"There is no flow {flow!r}.", hint=did_you_mean(flow, FORMS))
    return FORMS[flow]


_LINE: Final = SCHEMA.or_("line: string")
_AT_INGESTION: Final = INGESTION.maybe()
_CONNECTION: Final = (NAME, TABLE.called("the table that events go to"), RESOURCE)
_HUB: Final = (HUB, GROUP, EVENTS)
_EXTERNAL: Final = TABLE.called("the external table")
_INTO: Final = (TABLE.called("the table that rows go to"), URI, FORMAT)
_MADE: Final = NAME.called("the name of the external table")
_MODEL: Final = (MODEL, TEXT)
_ARTIFACT: Final = (URI.called("the URL of the artifact"), QUERY.or_("print x = 1").called("the rows that flow in"))
_SYSTEM_ONLY: Final = ("The documentation shows the system identity only.",)

_ALL: Final = (
    Form("external_table.storage", (_MADE, URI, _LINE, FORMAT), commands.storage_table),
    Form("external_table.delta", (_MADE, URI), commands.delta_table),
    Form(
        "external_table.sql",
        (_MADE, SERVER, CATALOG, TABLE.called("the table in SQL Server"), SCHEMA),
        commands.sql_table,
    ),
    Form("external_table.cosmosdb", (_MADE, ACCOUNT, CATALOG, COLLECTION, SCHEMA), commands.cosmos_table),
    Form(
        "export.to_external_table",
        (_EXTERNAL, QUERY),
        commands.export_to_table,
        notes=("The identity is the one that the external table names; this text names none.",),
    ),
    Form(
        "continuous_export",
        (NAME.called("the name of the export"), _EXTERNAL, SOURCE, QUERY.maybe(), EVERY),
        commands.continuous_export,
        notes=("It replaces a continuous export of the same name.",),
    ),
    Form(
        "update_policy",
        (TABLE.called("the table that rows go to"), SOURCE, QUERY.maybe()),
        commands.update_policy,
        notes=("It adds to the update policies that the table has; .alter would replace them.",),
    ),
    Form(
        "query_acceleration",
        (_EXTERNAL, HOT),
        commands.query_acceleration,
        notes=("It replaces the query acceleration policy that the table has.",),
    ),
    Form("export.to_storage", (URI, QUERY, WRITTEN), commands.export_to_storage),
    Form("ingest.into", _INTO, commands.ingest),
    Form("ingest.queued_cmd", (*_INTO, _AT_INGESTION), commands.queue, is_ingestion=True),
    Form("list_blobs", (URI, _AT_INGESTION), commands.list_blobs, is_ingestion=True),
    Form("ingest.sdk_queued", (*_INTO, INGESTION), programs.queue, kind="python", line=programs.line),
    Form(
        "ingest.lightingest",
        (*_INTO, INGESTION, CLIENT),
        programs.lightingest,
        kind="shell",
        notes=("The program lists the source itself; -ingestmi tells the cluster how to read it.",),
    ),
    Form("dataconnection.eventhub", (*_CONNECTION, *_HUB), programs.event_hub, kind="python"),
    Form("dataconnection.eventgrid", (*_CONNECTION, STORAGE, *_HUB), programs.event_grid, kind="python"),
    Form("dataconnection.cosmosdb", (*_CONNECTION, COSMOS, CATALOG, COLLECTION), programs.cosmos, kind="python"),
    Form("externaldata", (URI, _LINE, FORMAT), queries.externaldata),
    Form("inline_external_table", (URI, _LINE, FORMAT), queries.inline_table),
    Form("infer_storage_schema", (URI, FORMAT), queries.infer),
    Form("python.external_artifacts", (*_ARTIFACT, SCRIPT.or_("result = df")), queries.python),
    Form("r.external_artifacts", (*_ARTIFACT, SCRIPT.or_("result <- df")), queries.r),
    Form(
        "sql_request",
        (SERVER, CATALOG, Field("query", "text", "the query in SQL", "select 1 as x"), SCHEMA.maybe()),
        queries.sql,
    ),
    Form(
        "cosmosdb_sql_request",
        (
            ACCOUNT,
            CATALOG,
            COLLECTION,
            Field("query", "text", "the query in SQL", "SELECT c.id FROM c"),
            SCHEMA.maybe(),
        ),
        queries.cosmos,
    ),
    Form("ai_embeddings", _MODEL, queries.embeddings, notes=_SYSTEM_ONLY),
    Form("ai_chat_completion", _MODEL, queries.chat, notes=_SYSTEM_ONLY),
    Form("ai_chat_completion_prompt", _MODEL, queries.prompt, notes=_SYSTEM_ONLY),
)

FORMS: Final[Mapping[str, Form]] = {one.flow: one for one in _ALL}
"""The form of each flow of the catalogue, by its ID."""
