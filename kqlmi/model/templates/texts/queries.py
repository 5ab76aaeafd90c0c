"""The queries of flows."""

from typing import Final

from kqlmi.model.templates import fields
from kqlmi.model.templates.forms import kql

_FILES: Final = (fields.URI, fields.LINE, fields.FORMAT)
_MODEL: Final = (fields.MODEL, fields.TEXT)
_ARTIFACT: Final = (
    fields.URI.called("the URL of the artifact"),
    fields.QUERY.or_("print x = 1").called("the query for the plugin's input"),
)
_SQL: Final = fields.Field("query", "text", "the SQL query", "select 1 as x")
_SYSTEM_ONLY: Final = ("The documentation shows the system identity only.",)

_INFER: Final = (
    "let options = dynamic({{\n"
    "  'StorageContainers': [h{storage}],\n"
    "  'DataFormat': '{format}'\n"
    "}});\n"
    "evaluate infer_storage_schema(options)"
)

kql(
    "externaldata",
    "externaldata {schema} [\n  h{storage}\n] with (format='{format}')",
    *_FILES,
    probe="externaldata (line: string) [h{storage}] with (format='{format}') | take 1",
)
kql(
    "inline_external_table",
    "inline_external_table {schema}\nkind=storage dataformat={format}\n(h{storage})",
    *_FILES,
    probe="inline_external_table (line: string) kind=storage dataformat={format} (h{storage}) | take 1",
)
kql("infer_storage_schema", _INFER, fields.URI, fields.FORMAT, probe=_INFER)
kql(
    "python.external_artifacts",
    "{query}\n"
    "| evaluate python(\n"
    "    typeof(*),\n"
    "    {script},\n"
    "    external_artifacts=bag_pack({artifact}, {storage}))",
    *(*_ARTIFACT, fields.SCRIPT.or_("result = df")),
)
kql(
    "r.external_artifacts",
    "{query}\n| evaluate r(\n    typeof(*),\n    {script},\n    dynamic({{}}),\n    bag_pack({artifact}, {storage}))",
    *(*_ARTIFACT, fields.SCRIPT.or_("result <- df")),
)
kql(
    "sql_request",
    "evaluate sql_request(\n  {sql},\n  {query}){output}",
    *(fields.SERVER, fields.CATALOG, _SQL, fields.SCHEMA.maybe()),
)
kql(
    "cosmosdb_sql_request",
    "evaluate cosmosdb_sql_request(\n  {cosmos},\n  {query}){output}",
    *(fields.ACCOUNT, fields.CATALOG, fields.COLLECTION, _SQL.or_("SELECT c.id FROM c"), fields.SCHEMA.maybe()),
)
kql("ai_embeddings", "evaluate ai_embeddings(\n  {text},\n  {storage})", *_MODEL, notes=_SYSTEM_ONLY)
kql(
    "ai_chat_completion",
    "evaluate ai_chat_completion(\n  dynamic([{{'role': 'user', 'content': {text}}}]),\n  {storage})",
    *_MODEL,
    notes=_SYSTEM_ONLY,
)
kql(
    "ai_chat_completion_prompt",
    "evaluate ai_chat_completion_prompt(\n  {text},\n  {storage})",
    *_MODEL,
    notes=_SYSTEM_ONLY,
)
