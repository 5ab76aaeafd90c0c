"""Commands that export the result of a query to storage or to an external table."""

from kqlmi.local import enforce
from kqlmi.local.dispatch.registry import Call, Rows, command, shape
from kqlmi.local.dispatch.shapes import one_of
from kqlmi.local.enforce import Use
from kqlmi.local.state.entities import ExternalTable
from kqlmi.local.state.state import State
from kqlmi.local.storage import transfer
from kqlmi.local.storage.formats import WRITTEN_FORMATS
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.faults import bad_request, unsupported
from kqlmi.local.values.principals import ADMIN, READ_DATA
from kqlmi.local.values.tables import Table, schema_text

_SCHEMA = "Path: string, NumRecords: long"
_WITH = "[with {properties:properties}] {rest:query}"


shape("format")(lambda reader, _verb: one_of(reader, WRITTEN_FORMATS, "a format"))
shape("compressed")(lambda reader, _verb: reader.take("compressed"))


@command(
    f".export {{async:async}} {{compressed:compressed}} to {{format:format}} {{strings:targets}} {_WITH}",
    schema=_SCHEMA,
    writes=True,
)
def export_to_storage(call: Call) -> Rows:
    """Export the result of a query to a container."""
    database = call.allowed(READ_DATA)
    given, is_compressed = call.args.get("properties", {}), call.args["compressed"]
    laid = transfer.layout(call.args["format"], given, compressed=is_compressed)
    locations = [connectionstrings.parse(text) for text in call.args["targets"]]
    use = Use("export.to_storage", database.name, call.caller.principal)
    return call.later(lambda call: transfer.write(call.state, locations, use, laid, call.queried()))


@command(f".export {{async:async}} to sql {{name:table}} {{string:target}} {_WITH}", schema=_SCHEMA, writes=True)
def export_to_sql(call: Call) -> Rows:
    """Raise: exports to SQL do not take a managed identity, and are not supported."""
    database = call.allowed(ADMIN)
    for identity in connectionstrings.named_identities(call.args["target"]):
        enforce.permit(call.state, Use("export.to_sql", database.name), identity)
    raise unsupported("exports to SQL")


@command(
    f".export {{async:async}} to table {{name:table}} {_WITH}",
    schema="ExternalTableName: string, Path: string, NumRecords: string",
    writes=True,
)
def export_to_external_table(call: Call) -> Rows:
    """Export the result of a query to the files of an external table."""
    database = call.allowed(ADMIN)
    table = database.external_table(call.args["table"])
    transfer.require(call.args.get("properties", {}), transfer.HINTS)
    use = Use("export.to_external_table", database.name, call.caller.principal)

    def work(call: Call) -> Rows:
        return [(table.name, url, str(count)) for url, count in append(call.state, table, use, call.queried())]

    return call.later(work)


def append(state: State, table: ExternalTable, use: Use, rows: Table) -> list[tuple[str, int]]:
    """Write rows to an external table with the same columns; return the URL and number of rows of each new file."""
    if table.partitions or table.kind != "Blob":
        for identity in table.identities:
            enforce.permit(state, use, identity)
        raise unsupported("exports to external tables that are partitioned or not in storage")
    if table.layout.format not in WRITTEN_FORMATS:
        raise bad_request(f"cannot export to an external table of the format {table.layout.format}")
    if table.layout.headers == "firstfile":
        raise bad_request("the local cluster can export only to tables with includeHeaders all or none")
    require_schema(table, rows)
    return transfer.write(state, table.locations, use, table.layout, rows)


def require_schema(table: ExternalTable, rows: Table) -> None:
    """Raise if rows do not have the columns of an external table."""
    if rows.columns != table.columns:
        shown = schema_text(rows.columns)
        raise bad_request(f"the query returns ({shown}), which is not the schema of the external table '{table.name}'")
