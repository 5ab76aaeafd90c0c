"""The command ``.ingest into``, which appends the rows of files in storage to a table."""

from collections.abc import Iterator

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.enforce import Use
from kqlmi.local.flows import table_append
from kqlmi.local.state.entities import ExternalTable, Layout
from kqlmi.local.storage import transfer
from kqlmi.local.storage.formats import format_of
from kqlmi.local.values import connectionstrings, kusto_time
from kqlmi.local.values.connectionstrings import Location
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.principals import INGEST
from kqlmi.local.values.tables import Table

_SCHEMA = "ExtentId: guid, ItemLoaded: string, Duration: timespan, HasErrors: bool, OperationId: guid"
# Documented for every ingestion: properties without a visible effect here, and those that are not supported.
INVISIBLE = frozenset({"creationtime", "distributed", "persistdetails", "policy_ingestiontime", "tags"})
UNSUPPORTED = frozenset(
    {
        "docstring", "extend_schema", "folder", "ingestifnotexists", "ingestionmapping", "ingestionmappingreference",
        "recreate_schema", "treatgzasuncompressed", "validationpolicy", "zippattern",
    }
)  # fmt: skip
_PROPERTIES = {"format", "ignorefirstrecord", *INVISIBLE}
_INTO = ".ingest {async:async} into table {name:table}"


@command(f"{_INTO} {{strings:sources}} [with {{properties:properties}}]", schema=_SCHEMA, writes=True, long=True)
@command(
    f"{_INTO} {{string:source}} [with {{properties:properties}}]",
    schema=_SCHEMA,
    name="table_ingest_into_from_one",
    writes=True,
    long=True,
)
def table_ingest_into(call: Call) -> Rows:
    """Append the rows of files to a table; nothing is appended if one of them cannot be read."""
    name, properties = call.args["table"], call.args.get("properties", {})
    database = call.allowed(INGEST, f"Table {name}")
    table = database.table(name)
    transfer.require(properties, _PROPERTIES, others=UNSUPPORTED)
    sources = call.args["sources"] if "sources" in call.args else [call.args["source"]]
    locations = [connectionstrings.parse(text) for text in sources]
    use = Use("ingest.into", database.name, call.caller.principal)

    def work(call: Call) -> Rows:
        started = kusto_time.now()
        rows = tuple(_read(call, name, table, locations, use))
        extent, _ = table_append.append(call, name, table.with_rows(rows))
        loaded = ", ".join(location.url for location in locations)
        return [(extent, loaded, kusto_time.now() - started, False, call.run.operation_id)]

    return call.later(work)


def _read(call: Call, name: str, table: Table, locations: list[Location], use: Use) -> Iterator[tuple[object, ...]]:
    properties = call.args.get("properties", {})
    for location in locations:
        try:
            source = ExternalTable("", table.columns, _layout(location, properties), (location,))
            yield from transfer.read(call.state, source, use, run=call.run).rows
        except KustoError as error:
            table_append.note_failure(call, name, error, source=location.url)
            raise


def _layout(location: Location, properties: dict[str, str]) -> Layout:
    kind = format_of(location.path, str(transfer.value(properties, "format", "")))
    skips = transfer.value(properties, "ignorefirstrecord", default=False) is True
    return Layout(kind, headers="all" if skips else "none")
