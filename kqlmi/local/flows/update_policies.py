"""Commands of update policies, whose queries run when rows are ingested."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kqlmi.local import enforce
from kqlmi.local.dispatch.policy_commands import SCHEMA, policy_commands
from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.enforce import Use
from kqlmi.local.flows import table_append
from kqlmi.local.language import payloads
from kqlmi.local.language.lexer import mask_hidden
from kqlmi.local.state.entities import UpdatePolicy
from kqlmi.local.state.state import Database, with_entry
from kqlmi.local.storage import transfer
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError, bad_request
from kqlmi.local.values.principals import ADMIN, READ_SCHEMA

Policies = tuple[UpdatePolicy, ...]

_FIELDS = {
    "IsEnabled": ("is_enabled", bool, True),
    "Source": ("source", str, None),
    "SourceIsWildCard": ("is_wildcard", bool, False),
    "Query": ("query", str, None),
    "IsTransactional": ("is_transactional", bool, False),
    "PropagateIngestionProperties": ("propagates", bool, False),
    "ManagedIdentity": ("managed_identity", str, ""),
}
_BOOLEANS = {"true": True, "false": False}


@command(".show table * policy update", schema=SCHEMA)
def tables_update_policy_show(call: Call) -> Rows:
    """Return the update policies of all tables."""
    database = call.allowed(READ_SCHEMA)
    return [_row(database, name) for name in database.tables]


def parse(text: str) -> Policies:
    """Parse the payload of a command."""
    return tuple(_policy(item) for item in payloads.read_array("Update", text))


def _given(call: Call) -> Policies:
    # Documented: it permits a query that does not read the source table, which the local cluster does not refuse.
    transfer.require(call.args.get("properties", {}), {"allowunreferencedsourcetable"})
    return parse(call.args["payload"])


def render(policies: Policies) -> str:
    """Return policies as the service shows them, with hidden strings masked; ``null`` without policies."""
    shown = []
    for policy in policies:
        fields = {name: getattr(policy, kept) for name, (kept, _kind, _default) in _FIELDS.items()}
        fields |= {"Query": mask_hidden(policy.query), "ManagedIdentity": policy.managed_identity or None}
        if not policy.is_wildcard:
            del fields["SourceIsWildCard"]
        shown.append(fields)
    return lenient_json.dumps(shown) if shown else "null"


def _policy(item: Any) -> UpdatePolicy:
    if not isinstance(item, dict) or not item.keys() <= _FIELDS.keys():
        raise _refused(f"each element must be an object of {', '.join(_FIELDS)}, not {lenient_json.dumps(item)[:200]}")
    given: dict[str, Any] = {}
    for name, (kept, kind, default) in _FIELDS.items():
        value = item.get(name, default)
        given[kept] = default if value is None else value
        if kind is bool and str(value).lower() in _BOOLEANS:  # the documentation also writes it as a string
            given[kept] = _BOOLEANS[str(value).lower()]
        if not isinstance(given[kept], kind):
            wanted = "string" if kind is str else "bool"
            raise _refused(f"{name} must be a {wanted} in {lenient_json.dumps(item)[:200]}")
    return UpdatePolicy(**given)


def _refused(what: str) -> KustoError:
    return bad_request(f"Update policy: {what}")


def _show(call: Call) -> Rows:
    database = call.allowed(READ_SCHEMA)
    database.table(call.args["table"])
    return [_row(database, call.args["table"])]


def _put(call: Call, change: Callable[[Policies], Policies]) -> Rows:
    state, name = call.state, call.args["table"]
    database = call.allowed(ADMIN, f"Table {name}")
    database.table(name)
    for policy in change(database.update_policies.get(name, ())):
        _validate(call, database, name, policy)
    with state.lock:
        database = call.allowed(ADMIN, f"Table {name}")
        database.table(name)
        current = database.update_policies.get(name, ())
        policies = change(current)
        kept = with_entry(database.update_policies, name, policies or None)
        changed = state.put(replace(database, update_policies=kept))
        before, after = render(current), render(policies)
        call.record("ALTER-TABLE-POLICY", changed, entity="UpdatePolicy", before=before, after=after)
        return [_row(changed, name)]


def _validate(call: Call, database: Database, name: str, policy: UpdatePolicy) -> None:
    if policy.managed_identity:
        enforce.permit(call.state, Use("update_policy", database.name), policy.managed_identity)
    if policy.source == name:
        raise _refused(f"the table '{name}' cannot be its own source")
    sources = [one for one in database.tables if policy.takes(one) and one != name]
    if not sources and not policy.is_wildcard:
        database.table(policy.source)
    for source in sources if policy.is_enabled else ():
        # Documented: the result of the query is validated, also at creation.
        rows = database.table(source).with_rows(())
        table_append.run_policy(call, database, name, replace(policy, source=source), rows)


def _row(database: Database, name: str) -> tuple[str, ...]:
    policy = render(database.update_policies.get(name, ()))
    return ("UpdatePolicy", f"[{database.name}].[{name}]", policy, "", "Table")


policy_commands(
    "table_update_policy",
    "table {qualifier:database} {name:table} policy update",
    show=_show,
    put=_put,
    parse=_given,
    merge=lambda current, added: (*current, *added),
    empty=Policies(),
    long=True,
    options="[with {properties:properties}]",
)
