"""The queries of flows, as text."""

from typing import Final

from kqlmi.model.kql import quoting
from kqlmi.model.templates import fields
from kqlmi.model.templates.forms import template
from kqlmi.model.templates.values import Values, hidden

_MODEL: Final = (fields.MODEL, fields.TEXT)
_ARTIFACT: Final = (
    fields.URI.called("the URL of the artifact"),
    fields.QUERY.or_("print x = 1").called("the rows that flow in"),
)
_SQL: Final = fields.Field("query", "text", "the query in SQL", "select 1 as x")
_SYSTEM_ONLY: Final = ("The documentation shows the system identity only.",)


@template("externaldata", fields.URI, fields.LINE, fields.FORMAT)
def externaldata(values: Values) -> str:
    """Give a query that reads files."""
    return f"externaldata {values.columns()} [\n  {hidden(values.storage)}\n] with (format='{values['format']}')"


@template("inline_external_table", fields.URI, fields.LINE, fields.FORMAT)
def inline_table(values: Values) -> str:
    """Give a query that reads files as a table of its own."""
    return (
        f"inline_external_table {values.columns()}\n"
        f"kind=storage dataformat={values['format']}\n"
        f"({hidden(values.storage)})"
    )


@template("infer_storage_schema", fields.URI, fields.FORMAT)
def infer(values: Values) -> str:
    """Give a query that guesses the columns of files."""
    return (
        "let options = dynamic({\n"
        f"  'StorageContainers': [{hidden(values.storage)}],\n"
        f"  'DataFormat': '{values['format']}'\n"
        "});\n"
        "evaluate infer_storage_schema(options)"
    )


@template("python.external_artifacts", *_ARTIFACT, fields.SCRIPT.or_("result = df"))
def python(values: Values) -> str:
    """Give a query with a Python script that has a file at hand."""
    return (
        f"{values['query']}\n"
        "| evaluate python(\n"
        "    typeof(*),\n"
        f"    {quoting.literal(values['script'])},\n"
        f"    external_artifacts=bag_pack({_artifact(values)}))"
    )


@template("r.external_artifacts", *_ARTIFACT, fields.SCRIPT.or_("result <- df"))
def r(values: Values) -> str:
    """Give a query with an R script that has a file at hand."""
    return (
        f"{values['query']}\n"
        "| evaluate r(\n"
        "    typeof(*),\n"
        f"    {quoting.literal(values['script'])},\n"
        "    dynamic({}),\n"
        f"    bag_pack({_artifact(values)}))"
    )


@template("sql_request", fields.SERVER, fields.CATALOG, _SQL, fields.SCHEMA.maybe())
def sql(values: Values) -> str:
    """Give a query of an SQL server."""
    return _request("sql_request", values.sql, values)


@template(
    "cosmosdb_sql_request",
    fields.ACCOUNT,
    fields.CATALOG,
    fields.COLLECTION,
    _SQL.or_("SELECT c.id FROM c"),
    fields.SCHEMA.maybe(),
)
def cosmos(values: Values) -> str:
    """Give a query of an Azure Cosmos DB account."""
    return _request("cosmosdb_sql_request", values.cosmos, values)


@template("ai_embeddings", *_MODEL, notes=_SYSTEM_ONLY)
def embeddings(values: Values) -> str:
    """Give a query that embeds a text."""
    return f"evaluate ai_embeddings(\n  {values.literal('text')},\n  {quoting.literal(values.storage)})"


@template("ai_chat_completion", *_MODEL, notes=_SYSTEM_ONLY)
def chat(values: Values) -> str:
    """Give a query that continues a conversation."""
    messages = f"dynamic([{{'role': 'user', 'content': {values.literal('text')}}}])"
    return f"evaluate ai_chat_completion(\n  {messages},\n  {quoting.literal(values.storage)})"


@template("ai_chat_completion_prompt", *_MODEL, notes=_SYSTEM_ONLY)
def prompt(values: Values) -> str:
    """Give a query that answers a prompt."""
    return f"evaluate ai_chat_completion_prompt(\n  {values.literal('text')},\n  {quoting.literal(values.storage)})"


def _artifact(values: Values) -> str:
    """Give the name that the script opens a file by, and where it is."""
    name = values["uri"].rstrip("/").rpartition("/")[2]
    return f"{quoting.literal(name)}, {quoting.literal(values.storage)}"


def _request(plugin: str, connection: str, values: Values) -> str:
    output = values.columns(": (")
    return f"evaluate {plugin}(\n  {quoting.literal(connection)},\n  {values.literal('query')}){output}"
