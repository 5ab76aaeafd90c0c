"""Ingestion from storage: ``.ingest into`` reads files, and appends their rows to a table."""

import uuid

from kqlmi.local import appending, connectionstrings, ticks
from kqlmi.local.commands.registry import Call, Rows, command
from kqlmi.local.connectionstrings import Location
from kqlmi.local.enforce import Use
from kqlmi.local.entities import Layout
from kqlmi.local.faults import KustoError, bad_request
from kqlmi.local.flows import transfer
from kqlmi.local.formats import format_of
from kqlmi.local.principals import INGEST
from kqlmi.local.tables import Table

_GIVES = "ExtentId: guid, ItemLoaded: string, Duration: timespan, HasErrors: bool, OperationId: guid"
_PROPERTIES = {"format", "ignorefirstrecord"}


@command(".ingest into table {name:table} {strings:sources} [with {properties:properties}]", gives=_GIVES, writes=True)
def table_ingest_into(call: Call) -> Rows:
    """Append the rows of files to a table; nothing is appended where one of them cannot be read."""
    return _ingest(call, call.args["sources"])


@command(".ingest into table {name:table} {string:source} [with {properties:properties}]", gives=_GIVES, writes=True)
def table_ingest_into_from_one(call: Call) -> Rows:
    """Append the rows of one file to a table."""
    return _ingest(call, (call.args["source"],))


def _ingest(call: Call, sources: tuple[str, ...]) -> Rows:
    started = ticks.now()
    database = call.context()
    call.require(INGEST, database)
    name, properties = call.args["table"], call.args.get("properties", {})
    table = database.table(name)
    if unknown := sorted(properties.keys() - _PROPERTIES):
        raise bad_request(f".ingest into: the local cluster knows no property '{unknown[0]}'")
    locations = [connectionstrings.parse(text) for text in sources]
    use = Use("ingest.into", database.name, call.caller.principal)
    rows: list[tuple[object, ...]] = []
    for location in locations:
        try:
            rows += transfer.read(call.state, [location], use, _layout(location, properties), table.columns)
        except KustoError as error:
            appending.note_failure(call, name, error, source=location.url)
            raise
    extent, _ = appending.append(call, name, Table(table.columns, tuple(rows)))
    loaded = ", ".join(location.url for location in locations)
    return [(extent, loaded, ticks.now() - started, False, str(uuid.uuid4()))]


def _layout(location: Location, properties: dict[str, str]) -> Layout:
    kind = format_of(location.path, str(transfer.value(properties, "format", "")))
    skips = transfer.value(properties, "ignorefirstrecord", default=False) is True
    return Layout(kind, headers="all" if skips else "none")
