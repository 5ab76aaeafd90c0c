"""Commands that define continuous exports and show their runs."""

from dataclasses import replace
from typing import Any

from kqlmi.local.dispatch.changes import put
from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.flows import export_runs, exports
from kqlmi.local.language.lexer import Kind, mask_hidden, tokens
from kqlmi.local.state.activity import ExportRuns
from kqlmi.local.state.entities import ContinuousExport
from kqlmi.local.state.state import Database, without
from kqlmi.local.storage import transfer
from kqlmi.local.values import kusto_time, lenient_json
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.principals import ADMIN, MONITOR, READ_SCHEMA

_SCHEMA = (
    "Name: string, ExternalTableName: string, Query: string, ForcedLatency: timespan, IntervalBetweenRuns: timespan, "
    "CursorScopedTables: string, ExportProperties: string, LastRunTime: datetime, StartCursor: string, "
    "IsDisabled: bool, LastRunResult: string, ExportedTo: datetime, IsRunning: bool"
)
_SHORTEST = kusto_time.SECOND  # a minute on a real cluster
_PROPERTIES = {"forcedlatency", "intervalbetweenruns", "managedidentity", "isdisabled", *transfer.HINTS}


@command(
    ".create-or-alter continuous-export {name:export} [over {names:over}] to table {name:table} "
    "[with {properties:properties}] {rest:query}",
    schema=_SCHEMA,
    writes=True,
)
def continuous_export_create_or_alter(call: Call) -> Rows:
    """Define a continuous export of the rows ingested from now on."""
    state = call.state
    database = call.allowed(ADMIN)
    export = _defined(call, database)
    rows = {name: database.table(name).with_rows(()) for name in export.over}
    table = database.external_table(export.external_table)
    exports.require_schema(table, export_runs.query(call.queries, database, export, rows, call.run))
    if any(location.impersonates for location in table.locations) and not export.managed_identity:
        raise bad_request(f"the external table '{table.name}' impersonates, so its export needs a managedIdentity")
    with state.lock:
        place = (database.database_id, export.name)
        existing = state.world.export_runs.get(place)
        now = {name: database.position(name) for name in export.over}
        runs = replace(existing, exported=now | dict(existing.exported)) if existing else ExportRuns(now)
        state.change(lambda w: replace(w, export_runs={**w.export_runs, place: runs}))
    return _put(call, export.name, export, "CREATE-CONTINUOUS-EXPORT")


@command(
    ".enable continuous-export {name:export}",
    ".disable continuous-export {name:export}",
    schema=_SCHEMA,
    name="continuous_export_{verb}",
    writes=True,
)
def continuous_export_switch(call: Call) -> Rows:
    """Disable a continuous export, or enable it to continue from where it stopped."""
    export = call.allowed(ADMIN).export(call.args["export"])
    export = replace(export, is_disabled=call.args["verb"] == "disable")
    return _put(call, export.name, export, "ALTER-CONTINUOUS-EXPORT")


@command(".drop continuous-export {name:export}", schema=_SCHEMA, writes=True)
def continuous_export_drop(call: Call) -> Rows:
    """Drop a continuous export and return those that remain."""
    state = call.state
    database = call.allowed(ADMIN)
    name = database.export(call.args["export"]).name
    _put(call, name, None, "DROP-CONTINUOUS-EXPORT")
    place = (database.database_id, name)
    state.change(lambda w: replace(w, export_runs=without(w.export_runs, place)))
    database = call.allowed(READ_SCHEMA)
    return [_row(call, database, export) for export in database.exports.values()]


@command(".show continuous-exports", schema=_SCHEMA, name="continuous_exports_show")
@command(".show continuous-export {name:export}", schema=_SCHEMA)
def continuous_export_show(call: Call) -> Rows:
    """Return one continuous export, or those of the current database."""
    database = call.allowed(READ_SCHEMA)
    names = [call.args["export"]] if "export" in call.args else database.exports
    return [_row(call, database, database.export(name)) for name in names]


@command(
    ".show continuous-export {name:export} exported-artifacts",
    schema="Timestamp: datetime, ExternalTableName: string, Path: string, NumRecords: long",
)
def continuous_export_artifacts_show(call: Call) -> Rows:
    """Return the files that a continuous export has written."""
    export, runs = _runs(call)
    return [(moment, export.external_table, url, count) for moment, url, count in runs.artifacts]


@command(
    ".show continuous-export {name:export} failures",
    schema="Timestamp: datetime, OperationId: string, Name: string, LastSuccessRun: datetime, FailureKind: string, "
    "Details: string",
)
def continuous_export_failures_show(call: Call) -> Rows:
    """Return the failed runs of a continuous export."""
    export, runs = _runs(call)
    return [(moment, run, export.name, last, "Failure", details) for moment, run, last, details in runs.failures]


def _defined(call: Call, database: Database) -> ContinuousExport:
    properties: dict[str, str] = call.args.get("properties", {})
    transfer.require(properties, _PROPERTIES)
    latency = transfer.value(properties, "forcedlatency", 0)
    if not isinstance(latency, int) or latency < 0:
        raise bad_request("continuous export: forcedLatency must be a non-negative timespan, such as 10m")
    interval = transfer.value(properties, "intervalbetweenruns")
    if not isinstance(interval, int) or interval < _SHORTEST:
        raise bad_request("continuous export: intervalBetweenRuns must be a timespan of one second or more, such as 5m")
    query = call.args["query"].strip()
    over = call.args.get("over") or _tables(database, query)
    if not over:
        raise bad_request("continuous export: the query names no table of the database, and 'over' is missing")
    for name in over:
        database.table(name)
    return ContinuousExport(
        call.args["export"],
        call.args["table"],
        query,
        over,
        interval,
        managed_identity=str(transfer.value(properties, "managedidentity", "")),
        is_disabled=transfer.value(properties, "isdisabled", default=False) is True,
        forced_latency=latency,
    )


def _tables(database: Database, query: str) -> tuple[str, ...]:
    """Return the tables that a query names; without ``over``, all of them are fact tables."""
    named = {token.value or token.text: None for token in tokens(query) if token.kind in {Kind.WORD, Kind.STRING}}
    return tuple(name for name in named if name in database.tables)


def _runs(call: Call) -> tuple[ContinuousExport, ExportRuns]:
    database = call.allowed(MONITOR)
    export = database.export(call.args["export"])
    return export, call.state.world.export_runs[database.database_id, export.name]


def _put(call: Call, name: str, export: ContinuousExport | None, event: str) -> Rows:
    with call.state.lock:
        database = call.allowed(ADMIN)
        changed = put(call, database, name, export, event=event, kind="exports", shown=_properties)
    call.state.exports_changed.set()
    return [_row(call, changed, export)] if export else []


def _properties(export: ContinuousExport) -> str:
    return lenient_json.dumps({"ManagedIdentity": export.managed_identity} if export.managed_identity else {})


def _row(call: Call, database: Database, export: ContinuousExport) -> tuple[Any, ...]:
    runs = call.state.world.export_runs[database.database_id, export.name]
    return (
        export.name,
        export.external_table,
        mask_hidden(export.query),
        export.forced_latency or None,
        export.interval,
        lenient_json.dumps([f"['{database.name}'].['{name}']" for name in export.over]),
        _properties(export),
        runs.last_run,
        str(runs.created),
        export.is_disabled,
        runs.last_result,
        runs.exported_to,
        runs.is_running,
    )
