"""Export: the rows of a query written to storage, or to the files of an external table."""

from kqlmi.local import connectionstrings
from kqlmi.local.commands.registry import Call, Rows, command, shape
from kqlmi.local.enforce import Use
from kqlmi.local.entities import ExternalTable
from kqlmi.local.faults import bad_request
from kqlmi.local.flows import transfer
from kqlmi.local.formats import WRITTEN_FORMATS
from kqlmi.local.principals import ADMIN
from kqlmi.local.reader import Reader
from kqlmi.local.state import State
from kqlmi.local.tables import Table

_GIVES = "Path: string, NumRecords: long"
_TO_STORAGE = "to {format:format} {strings:targets} [with {properties:properties}] {rest:query}"


@shape("format")
def written_format(reader: Reader, _verb: str) -> str:
    """Take the name of a format that can be written."""
    for name in WRITTEN_FORMATS:
        if reader.take(name):
            return name
    raise reader.mismatch(f"a format ({', '.join(WRITTEN_FORMATS)})")


@command(f".export {_TO_STORAGE}", gives=_GIVES, writes=True)
def export_to_storage(call: Call) -> Rows:
    """Write the rows of a query to a container."""
    return _to_storage(call, compressed=False)


@command(f".export compressed {_TO_STORAGE}", gives=_GIVES, writes=True)
def export_compressed_to_storage(call: Call) -> Rows:
    """Write the rows of a query to a container, compressed."""
    return _to_storage(call, compressed=True)


@command(
    ".export to table {name:table} [with {properties:properties}] {rest:query}",
    gives="ExternalTableName: string, Path: string, NumRecords: string",
    writes=True,
)
def export_to_external_table(call: Call) -> Rows:
    """Write the rows of a query to the files of an external table."""
    database = call.context()
    call.require(ADMIN, database)
    table = database.external_table(call.args["table"])
    transfer.require_hints(call.args.get("properties", {}))
    rows = _queried(call)
    use = Use("export.to_external_table", database.name, call.caller.principal)
    return [(table.name, url, str(count)) for url, count in append(call.state, table, use, rows)]


def append(state: State, table: ExternalTable, use: Use, rows: Table) -> list[tuple[str, int]]:
    """Write rows to an external table, whose columns they must have; give the new files and their numbers of rows."""
    if table.layout.format not in WRITTEN_FORMATS:
        raise bad_request(f"an external table of the format {table.layout.format} cannot be exported to")
    if table.layout.headers == "firstfile":
        raise bad_request("the local cluster exports to tables with includeHeaders all or none only")
    require_schema(table, rows)
    return transfer.write(state, table.locations, use, table.layout, rows)


def require_schema(table: ExternalTable, rows: Table) -> None:
    """Refuse rows that have not the columns of an external table."""
    given, wanted = ([(column.name, column.type) for column in one] for one in (rows.columns, table.columns))
    if given != wanted:
        shown = ", ".join(f"{name}:{kind}" for name, kind in given)
        raise bad_request(f"the query gives ({shown}), which is not the schema of the external table '{table.name}'")


def _to_storage(call: Call, *, compressed: bool) -> Rows:
    database = call.context()
    laid = transfer.layout(call.args["format"], call.args.get("properties", {}), compressed=compressed)
    locations = [connectionstrings.parse(text) for text in call.args["targets"]]
    use = Use("export.to_storage", database.name, call.caller.principal)
    return transfer.write(call.state, locations, use, laid, _queried(call))


def _queried(call: Call) -> Table:
    return call.queries.run(call.args["query"], call.caller, call.context_name, run=call.run, seconds=call.seconds)
