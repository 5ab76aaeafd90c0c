"""Plugins that call outside services. None is supported; those that take a managed identity check it first."""

import json
from collections.abc import Iterator

from kqlmi.local import enforce
from kqlmi.local.enforce import Use
from kqlmi.local.query.expansion import Expansion, Source, plugin
from kqlmi.local.query.external_calls import Site
from kqlmi.local.state.state import Database
from kqlmi.local.values.connectionstrings import named_identities
from kqlmi.local.values.faults import KustoError, unsupported


@plugin(
    "infer_storage_schema_with_suggestions",
    "http_request",
    "http_request_post",
    "mysql_request",
    "postgresql_request",
    "azure_digital_twins_query_request",
    "sql_request",
    "cosmosdb_sql_request",
    "ai_embeddings",
    "ai_chat_completion",
    "ai_chat_completion_prompt",
    "r",
)
def outside(expansion: Expansion, site: Site, context: Database) -> Source:
    """Raise for a plugin, because its managed identity is not permitted or because it is unsupported."""
    flow = "r.external_artifacts" if site.kind == "r" else site.kind
    use = Use(flow, context.name, expansion.question.principal)
    for argument in site.arguments:
        try:
            value = str(expansion.value(site, argument, context))
        except KustoError:  # a column, or typeof(…): not a connection string
            continue
        for identity in (one for text in _texts(value) for one in named_identities(text)):
            enforce.permit(expansion.state, use, identity)
    raise unsupported(f"the plugin '{site.kind}'")


def _texts(value: str) -> Iterator[str]:
    """Yield a string, or the strings in it if it is JSON."""
    try:
        found = json.loads(value)
    except ValueError:
        yield value
        return
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
