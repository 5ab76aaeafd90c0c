"""Plugins that call outside services: none is carried out, and those that take a managed identity ask for it first."""

import re

from kqlmi.local import enforce
from kqlmi.local.cutting import Site
from kqlmi.local.enforce import Use
from kqlmi.local.expansion import Expansion, Source
from kqlmi.local.faults import bad_request
from kqlmi.local.flows.registry import plugin
from kqlmi.local.state import Database

_STORAGE = re.compile(r";managed_identity=([^;]*)")
_SQL = re.compile(r"(?:^|;)\s*User Id\s*=\s*\"?([^;\"]*)", re.IGNORECASE)
_SQL_IDENTITY = re.compile(
    r"(?:^|;)\s*Authentication\s*=\s*\"?Active Directory Managed Identity\"?\s*(?:;|$)", re.IGNORECASE
)


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
    """Refuse a plugin: for its managed identity where it names one that may not be used, or as not carried out."""
    flow = "r.external_artifacts" if site.kind == "r" else site.kind
    use = Use(flow, context.name, expansion.question.principal)
    for argument in site.arguments:
        for identity in identities(str(expansion.value(site, argument, context))):
            enforce.permit(expansion.state, use, identity)
    raise bad_request(f"the local cluster does not carry out the plugin '{site.kind}'")


def identities(connection: str) -> list[str]:
    """Give the managed identities that a connection string, or a property bag of them, names."""
    found = _STORAGE.findall(connection)
    if _SQL_IDENTITY.search(connection):
        user = _SQL.search(connection)
        found.append(user[1].strip() if user else "system")
    return found
