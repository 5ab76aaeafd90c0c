"""The query acceleration policy, whose identity is checked; nothing is accelerated."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from kqlmi.local import enforce
from kqlmi.local.dispatch.changes import put
from kqlmi.local.dispatch.policy_commands import SCHEMA, policy_commands
from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.enforce import Use
from kqlmi.local.language import payloads, textvalues
from kqlmi.local.state.state import Database
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError, bad_request
from kqlmi.local.values.principals import ADMIN, READ_SCHEMA
from kqlmi.local.values.tables import Column

_FIELDS = {
    "IsEnabled": bool,
    "Hot": str,
    "HotWindows": list,
    "MaxAge": str,
    "ManagedIdentity": str,
    "HotDateTimeColumn": str,
}
_put_table = partial(put, kind="external_tables", shown=lambda one: one.acceleration)
_LEAST = {"Hot": "1.00:00:00", "MaxAge": "00:01:00"}


@command(".show external table * policy query_acceleration", schema=SCHEMA)
def query_acceleration_policies_show(call: Call) -> Rows:
    """Return the query acceleration policies of the external tables."""
    database = call.allowed(READ_SCHEMA)
    return [_row(database, name) for name, table in database.external_tables.items() if table.acceleration]


def _parse(call: Call) -> dict[str, Any]:
    found = payloads.read("Query acceleration", call.args["payload"])
    if not isinstance(found, dict) or not found.keys() <= _FIELDS.keys():
        raise _refused(f"an object of {', '.join(_FIELDS)} is expected")
    given = {name: value for name, value in found.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, _FIELDS[name]):
            raise _refused(f"{name} must be a {_FIELDS[name].__name__}, not {lenient_json.dumps(value)[:100]}")
        if name in _LEAST:
            given_span, least = (textvalues.read(Column(name, "timespan"), str(one)) for one in (value, _LEAST[name]))
            if given_span is None or given_span < least:
                raise _refused(f"{name} must be {_LEAST[name]} or more")
    return given


def _merge(current: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Return a policy updated from another one, whose hot windows are added."""
    windows = [*current.get("HotWindows", ()), *added.get("HotWindows", ())]
    return {**current, **added, **({"HotWindows": windows} if windows else {})}


def _show(call: Call) -> Rows:
    database = call.allowed(READ_SCHEMA)
    return [_row(database, database.external_table(call.args["table"]).name)]


def _put(call: Call, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Rows:
    state, name = call.state, call.args["table"]
    with state.lock:
        database = call.allowed(ADMIN)
        table = database.external_table(name)
        if table.kind != "Delta":
            raise _refused(f"'{name}' is not an external delta table")
        policy = change(lenient_json.loads(table.acceleration or "{}"))
        if policy and not {"IsEnabled", "Hot"} <= policy.keys():
            raise _refused("IsEnabled and Hot are required")
        if identity := policy.get("ManagedIdentity"):
            enforce.permit(state, Use("query_acceleration", database.name), identity)
        changed = replace(table, acceleration=lenient_json.dumps(policy) if policy else "")
        return [_row(_put_table(call, database, name, changed, event="ALTER-EXTERNAL-TABLE-POLICY"), name)]


def _row(database: Database, name: str) -> tuple[str, ...]:
    policy = database.external_tables[name].acceleration or "null"
    return ("QueryAccelerationPolicy", f"[{database.name}].[{name}]", policy, "", "ExternalTable")


def _refused(what: str) -> KustoError:
    return bad_request(f"Query acceleration policy: {what}")


policy_commands(
    "query_acceleration_policy",
    "external table {name:table} policy query_acceleration",
    show=_show,
    put=_put,
    parse=_parse,
    merge=_merge,
    empty=dict[str, Any](),
)
