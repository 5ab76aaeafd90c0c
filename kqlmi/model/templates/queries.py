"""The queries of flows, as text."""

from kqlmi.model.kql import quoting
from kqlmi.model.templates.values import Values, hidden


def externaldata(values: Values) -> str:
    """Give a query that reads files."""
    return f"externaldata {values.columns()} [\n  {hidden(values.storage)}\n] with (format='{values['format']}')"


def inline_table(values: Values) -> str:
    """Give a query that reads files as a table of its own."""
    return (
        f"inline_external_table {values.columns()}\n"
        f"kind=storage dataformat={values['format']}\n"
        f"({hidden(values.storage)})"
    )


def infer(values: Values) -> str:
    """Give a query that guesses the columns of files."""
    return (
        "let options = dynamic({\n"
        f"  'StorageContainers': [{hidden(values.storage)}],\n"
        f"  'DataFormat': '{values['format']}'\n"
        "});\n"
        "evaluate infer_storage_schema(options)"
    )


def python(values: Values) -> str:
    """Give a query with a Python script that has a file at hand."""
    return (
        f"{values['query']}\n"
        "| evaluate python(\n"
        "    typeof(*),\n"
        f"    {quoting.literal(values['script'])},\n"
        f"    external_artifacts=bag_pack({_artifact(values)}))"
    )


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


def sql(values: Values) -> str:
    """Give a query of an SQL server."""
    return _request("sql_request", values.sql, values)


def cosmos(values: Values) -> str:
    """Give a query of an Azure Cosmos DB account."""
    return _request("cosmosdb_sql_request", values.cosmos, values)


def embeddings(values: Values) -> str:
    """Give a query that embeds a text."""
    return f"evaluate ai_embeddings(\n  {values.literal('text')},\n  {quoting.literal(values.storage)})"


def chat(values: Values) -> str:
    """Give a query that continues a conversation."""
    said = f"dynamic([{{'role': 'user', 'content': {values.literal('text')}}}])"
    return f"evaluate ai_chat_completion(\n  {said},\n  {quoting.literal(values.storage)})"


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
