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
def _externaldata(values: Values) -> str:
    return f"externaldata {values.columns()} [\n  {hidden(values.storage)}\n] with (format='{values['format']}')"


@template("inline_external_table", fields.URI, fields.LINE, fields.FORMAT)
def _inline_table(values: Values) -> str:
    return (
        f"inline_external_table {values.columns()}\n"
        f"kind=storage dataformat={values['format']}\n"
        f"({hidden(values.storage)})"
    )


@template("infer_storage_schema", fields.URI, fields.FORMAT)
def _infer(values: Values) -> str:
    return (
        "let options = dynamic({\n"
        f"  'StorageContainers': [{hidden(values.storage)}],\n"
        f"  'DataFormat': '{values['format']}'\n"
        "});\n"
        "evaluate infer_storage_schema(options)"
    )


@template("python.external_artifacts", *_ARTIFACT, fields.SCRIPT.or_("result = df"))
def _python(values: Values) -> str:
    return (
        f"{values['query']}\n"
        "| evaluate python(\n"
        "    typeof(*),\n"
        f"    {quoting.literal(values['script'])},\n"
        f"    external_artifacts=bag_pack({_artifact(values)}))"
    )


@template("r.external_artifacts", *_ARTIFACT, fields.SCRIPT.or_("result <- df"))
def _r(values: Values) -> str:
    return (
        f"{values['query']}\n"
        "| evaluate r(\n"
        "    typeof(*),\n"
        f"    {quoting.literal(values['script'])},\n"
        "    dynamic({}),\n"
        f"    bag_pack({_artifact(values)}))"
    )


@template("sql_request", fields.SERVER, fields.CATALOG, _SQL, fields.SCHEMA.maybe())
def _sql(values: Values) -> str:
    return _request("sql_request", values.sql, values)


@template(
    "cosmosdb_sql_request",
    fields.ACCOUNT,
    fields.CATALOG,
    fields.COLLECTION,
    _SQL.or_("SELECT c.id FROM c"),
    fields.SCHEMA.maybe(),
)
def _cosmos(values: Values) -> str:
    return _request("cosmosdb_sql_request", values.cosmos, values)


@template("ai_embeddings", *_MODEL, notes=_SYSTEM_ONLY)
def _embeddings(values: Values) -> str:
    return f"evaluate ai_embeddings(\n  {values.literal('text')},\n  {quoting.literal(values.storage)})"


@template("ai_chat_completion", *_MODEL, notes=_SYSTEM_ONLY)
def _chat(values: Values) -> str:
    messages = f"dynamic([{{'role': 'user', 'content': {values.literal('text')}}}])"
    return f"evaluate ai_chat_completion(\n  {messages},\n  {quoting.literal(values.storage)})"


@template("ai_chat_completion_prompt", *_MODEL, notes=_SYSTEM_ONLY)
def _prompt(values: Values) -> str:
    return f"evaluate ai_chat_completion_prompt(\n  {values.literal('text')},\n  {quoting.literal(values.storage)})"


def _artifact(values: Values) -> str:
    """Return the name that the script opens a file by, and where it is."""
    name = values["uri"].rstrip("/").rpartition("/")[2]
    return f"{quoting.literal(name)}, {quoting.literal(values.storage)}"


def _request(plugin: str, connection: str, values: Values) -> str:
    output = values.columns(": (")
    return f"evaluate {plugin}(\n  {quoting.literal(connection)},\n  {values.literal('query')}){output}"
