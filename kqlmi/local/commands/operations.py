"""Commands that show past and running management commands, called operations, and their stored results."""

from typing import Any

from kqlmi.local.commands.requests import allowed
from kqlmi.local.dispatch.registry import Call, Rows, command, shape
from kqlmi.local.dispatch.shapes import listed
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.reader import Reader
from kqlmi.local.state.activity import Run
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.tables import Table


@shape("operation")
def _operation(reader: Reader, _verb: str) -> str:
    token = reader.peek()
    if token.kind is not Kind.GUID:
        raise reader.mismatch("the ID of an operation")
    reader.next()
    return token.text.lower()


@shape("operations")
def _operations(reader: Reader, verb: str) -> tuple[str, ...]:
    """Take an ID, or several in parentheses."""
    if reader.peek().text != "(":
        return (_operation(reader, verb),)
    return listed(reader, lambda: _operation(reader, verb))


@command(
    ".show operations [{operations:ids}]",
    schema="OperationId: guid, Operation: string, NodeId: string, StartedOn: datetime, LastUpdatedOn: datetime, "
    "Duration: timespan, State: string, Status: string, RootActivityId: guid, ShouldRetry: bool, Database: string, "
    "Principal: string, User: string, AdminEpochStartTime: datetime, VirtualCluster: string",
)
def operations_show(call: Call) -> Rows:
    """Return the latest state of the operations that the caller started or may monitor."""
    wanted = call.args.get("ids")
    return [_row(run) for run in _seen(call) if wanted is None or run.operation_id in wanted]


@command(".show operation {operation:id} details", schema="Result: dynamic")
def operation_details_show(call: Call) -> Table:
    """Return the stored result of a completed operation."""
    for run in _seen(call):
        if run.operation_id == call.args["id"] and run.state == "Completed" and run.details:
            return run.details
    raise bad_request(f"there is no completed operation {call.args['id']} with stored results")


def _seen(call: Call) -> list[Run]:
    return allowed(call, [run for run in call.state.activity.runs() if not run.is_query])


def _row(run: Run) -> tuple[Any, ...]:
    updated = run.ended or run.started
    return (
        *(run.operation_id, run.command_type, "", run.started, updated, updated - run.started, run.state),
        *(run.failure, run.activity_id, False, run.database, run.principal.fqn, run.user, None, ""),
    )
