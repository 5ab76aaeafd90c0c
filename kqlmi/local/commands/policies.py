"""The commands of the ManagedIdentity policy, for the cluster and for databases."""

from collections.abc import Callable
from dataclasses import replace

from kqlmi.local.dispatch.changes import put_policy
from kqlmi.local.dispatch.policy_commands import policy_commands
from kqlmi.local.dispatch.registry import Call, Rows
from kqlmi.local.state import policies
from kqlmi.local.state.policies import Policy
from kqlmi.local.values import lenient_json
from kqlmi.local.values.principals import ADMIN, MONITOR, READ_SCHEMA

_NAME = "ManagedIdentityPolicy"
_Change = Callable[[Policy | None], Policy | None]


def _show_cluster(call: Call) -> Rows:
    state = call.state
    children = lenient_json.dumps([database.name for database in state.world.databases.values()])
    return [(_NAME, "", policies.render(state.world.policy), children, "Cluster")]


def _put_cluster(call: Call, change: _Change) -> Rows:
    put_policy(call, "policy", change, _NAME, policies.render)
    return _show_cluster(call)


def _show_database(call: Call) -> Rows:
    database = call.allowed(READ_SCHEMA)
    children = lenient_json.dumps(list(database.tables))
    return [(_NAME, f"[{database.name}]", policies.render(database.policy), children, "Database")]


def _put_database(call: Call, change: _Change) -> Rows:
    state = call.state
    with state.lock:
        database = call.allowed(ADMIN)
        changed = state.put(replace(database, policy=change(database.policy)))
        before, after = policies.render(database.policy), policies.render(changed.policy)
        call.record("ALTER-DATABASE-POLICY", changed, entity=_NAME, before=before, after=after)
        return _show_database(call)


def _parse(call: Call) -> Policy:
    state = call.state
    return policies.parse(call.args["payload"], state.world.identities, state.world.usages)


def _merge(current: Policy | None, added: Policy | None) -> Policy:
    return policies.merge(current, added or ())


policy_commands(
    "cluster_policy",
    "cluster policy managed_identity",
    show=_show_cluster,
    put=_put_cluster,
    parse=_parse,
    merge=_merge,
    empty=None,
    needs=(MONITOR, ADMIN),
)
policy_commands(
    "database_policy",
    "database [{name:database}] policy managed_identity",
    show=_show_database,
    put=_put_database,
    parse=_parse,
    merge=_merge,
    empty=None,
    needs=(frozenset(), ADMIN),  # a Database Admin may not change it
)
