"""Commands that show requests and the journal, and cancel queries."""

from collections.abc import Iterable
from typing import Any, TypeVar

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.state.activity import Change, Run
from kqlmi.local.state.state import key
from kqlmi.local.values.principals import ADMIN, MONITOR, Role
from kqlmi.local.values.tables import columns

Seen = TypeVar("Seen", Run, Change)

_QUERIES = (
    "ClientActivityId: string, Text: string, Database: string, StartedOn: datetime, LastUpdatedOn: datetime, "
    "Duration: timespan, State: string, RootActivityId: guid, User: string, FailureReason: string, TotalCpu: timespan, "
    "CacheStatistics: dynamic, Application: string, MemoryPeak: long, ScannedExtentsStatistics: dynamic, "
    "Principal: string, ClientRequestProperties: dynamic, ResultSetStatistics: dynamic, WorkloadGroup: string, "
    "OverallQueryStats: dynamic"
)
_COMMANDS = (
    "ClientActivityId: string, CommandType: string, Text: string, Database: string, StartedOn: datetime, "
    "LastUpdatedOn: datetime, Duration: timespan, State: string, RootActivityId: guid, User: string, "
    "FailureReason: string, Application: string, Principal: string, TotalCpu: timespan, ResourcesUtilization: dynamic, "
    "ClientRequestProperties: dynamic, WorkloadGroup: string"
)
_BOTH = (
    "ClientActivityId: string, CommandType: string, Text: string, Database: string, StartedOn: datetime, "
    "LastUpdatedOn: datetime, Duration: timespan, State: string, FailureReason: string, RootActivityId: guid, "
    "User: string, Application: string, Principal: string, ClientRequestProperties: dynamic, TotalCpu: timespan, "
    "MemoryPeak: long, CacheStatistics: dynamic, ScannedExtentsStatistics: dynamic, ResultSetStatistics: dynamic, "
    "WorkloadGroup: string"
)


@command(".show queries", schema=_QUERIES)
def queries_show(call: Call) -> Rows:
    """Return the queries that have ended."""
    return _shown(_QUERIES, [run for run in _ended(call) if run.is_query])


@command(".show running queries", schema=_QUERIES)
def running_queries_show(call: Call) -> Rows:
    """Return the running queries."""
    runs = call.state.activity.running()
    return _shown(_QUERIES, [run for run in allowed(call, runs) if run.is_query])


@command(".show commands", schema=_COMMANDS)
def commands_show(call: Call) -> Rows:
    """Return the commands that have ended."""
    return _shown(_COMMANDS, [run for run in _ended(call) if not run.is_query])


@command(".show commands-and-queries", schema=_BOTH)
def commands_and_queries_show(call: Call) -> Rows:
    """Return the commands and the queries that have ended."""
    return _shown(_BOTH, _ended(call))


@command(
    ".show journal",
    schema="Event: string, EventTimestamp: datetime, Database: string, EntityName: string, UpdatedEntityName: string, "
    "EntityVersion: string, EntityContainerName: string, OriginalEntityState: string, UpdatedEntityState: string, "
    "ChangeCommand: string, Principal: string, RootActivityId: guid, ClientRequestId: string, User: string, "
    "OriginalEntityVersion: string",
)
def journal_show(call: Call) -> Rows:
    """Return the changes that the caller made, and those in databases that it administers."""
    return map(_journal_row, allowed(call, call.state.world.journal, ADMIN))


@command(
    ".cancel query {string:id} [with ( reason = {string:reason} )]",
    schema="ClientRequestId: string, ReasonPhrase: string, RunningQueryCanceled: bool",
)
def query_cancel(call: Call) -> Rows:
    """Cancel the running queries with a client request ID."""
    wanted, reason = call.args["id"], call.args.get("reason", "")
    # The queries of others are reported as not running.
    seen = allowed(call, call.state.activity.running(), ADMIN)
    running = [run for run in seen if run.is_query and run.client_request_id == wanted]
    for run in running:
        run.cancel(reason)
    yield (wanted, reason, bool(running))


def _ended(call: Call) -> list[Run]:
    return allowed(call, [run for run in call.state.activity.runs() if run.ended is not None])


def allowed(call: Call, found: Iterable[Seen], roles: frozenset[Role] = MONITOR) -> list[Seen]:
    """Return the requests or changes that the caller made, and those in databases where it has one of the roles."""
    caller, databases = call.caller, call.state.world.databases
    return [
        one
        for one in found
        if one.principal.is_same(caller.principal) or call.state.roles(caller, databases.get(key(one.database))) & roles
    ]


def _shown(schema: str, runs: list[Run]) -> Rows:
    names = [column.name for column in columns(schema)]
    return [tuple(map(_run(run).get, names)) for run in runs]


def _run(run: Run) -> dict[str, Any]:
    """Return the known columns of a request; the others are not measured, and are null."""
    ended = run.ended or run.started
    return {
        "ClientActivityId": run.client_request_id,
        "CommandType": run.command_type,
        "Text": run.text,
        "Database": run.database,
        "StartedOn": run.started,
        "LastUpdatedOn": ended,
        "Duration": ended - run.started,
        "State": run.state,
        "FailureReason": run.failure,
        "RootActivityId": run.activity_id,
        "User": run.user,
        "Application": run.application,
        "Principal": run.principal.fqn,
        "ClientRequestProperties": run.properties,
        "WorkloadGroup": "default",
    }


def _journal_row(change: Change) -> tuple[Any, ...]:
    entity = (change.database, change.entity, change.entity, f"v{change.version}.0", change.database)
    states = (change.before, change.after, change.command)
    who = (change.principal.fqn, change.activity_id, change.client_request_id, change.principal.display_name)
    return (change.event, change.timestamp, *entity, *states, *who, f"v{change.version - 1}.0")
