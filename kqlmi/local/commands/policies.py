"""The four commands of the ManagedIdentity policy, at both scopes."""

from collections.abc import Callable
from dataclasses import replace

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.state import policies
from kqlmi.local.state.policies import Policy
from kqlmi.local.values import lenient_json
from kqlmi.local.values.principals import ADMIN, MONITOR, READ_SCHEMA

_GIVES = "PolicyName: string, EntityName: string, Policy: string, ChildEntities: string, EntityType: string"
_DATABASE = "database [{name:database}] policy managed_identity"


@command(".show cluster policy managed_identity", gives=_GIVES)
def cluster_policy_show(call: Call) -> Rows:
    """Give the cluster's policy."""
    call.require(MONITOR)
    yield _cluster_row(call)


@command(f".show {_DATABASE}", gives=_GIVES)
def database_policy_show(call: Call) -> Rows:
    """Give a database's policy."""
    database = call.allowed(READ_SCHEMA)
    yield _database_row(call, database.name)


@command(".alter cluster policy managed_identity {string:payload}", gives=_GIVES, writes=True)
def cluster_policy_alter(call: Call) -> Rows:
    """Replace the cluster's policy."""
    return _change_cluster(call, lambda _held: _payload(call))


@command(".alter-merge cluster policy managed_identity {string:payload}", gives=_GIVES, writes=True)
def cluster_policy_alter_merge(call: Call) -> Rows:
    """Add to the cluster's policy."""
    return _change_cluster(call, lambda held: policies.merge(held, _payload(call)))


@command(".delete cluster policy managed_identity", gives=_GIVES, writes=True)
def cluster_policy_delete(call: Call) -> Rows:
    """Remove the cluster's policy."""
    return _change_cluster(call, lambda _held: None)


@command(f".alter {_DATABASE} {{string:payload}}", gives=_GIVES, writes=True)
def database_policy_alter(call: Call) -> Rows:
    """Replace a database's policy."""
    return _change_database(call, lambda _held: _payload(call))


@command(f".alter-merge {_DATABASE} {{string:payload}}", gives=_GIVES, writes=True)
def database_policy_alter_merge(call: Call) -> Rows:
    """Add to a database's policy."""
    return _change_database(call, lambda held: policies.merge(held, _payload(call)))


@command(".delete database {name:database} policy managed_identity", gives=_GIVES, writes=True)
def database_policy_delete(call: Call) -> Rows:
    """Remove a database's policy."""
    return _change_database(call, lambda _held: None)


def _payload(call: Call) -> Policy:
    state = call.state
    return policies.parse(call.args["payload"], state.identities, state.usages)


def _change_cluster(call: Call, change: Callable[[Policy | None], Policy | None]) -> Rows:
    call.require(ADMIN)
    state = call.state
    with state.lock:
        held = state.policy
        state.policy = change(held)
        call.record(
            "ALTER-CLUSTER-POLICY",
            None,
            entity="ManagedIdentityPolicy",
            before=policies.render(held),
            after=policies.render(state.policy),
        )
        return [_cluster_row(call)]


def _change_database(call: Call, change: Callable[[Policy | None], Policy | None]) -> Rows:
    state = call.state
    with state.lock:
        call.require(ADMIN)  # a Database Admin is not enough
        database = call.allowed(ADMIN)
        changed = state.put(replace(database, policy=change(database.policy)))
        call.record(
            "ALTER-DATABASE-POLICY",
            changed,
            entity="ManagedIdentityPolicy",
            before=policies.render(database.policy),
            after=policies.render(changed.policy),
        )
        return [_database_row(call, changed.name)]


def _cluster_row(call: Call) -> tuple[str, ...]:
    state = call.state
    children = lenient_json.dumps([database.name for database in state.databases.values()])
    return ("ManagedIdentityPolicy", "", policies.render(state.policy), children, "Cluster")


def _database_row(call: Call, name: str) -> tuple[str, ...]:
    database = call.state.database(name)
    children = lenient_json.dumps(list(database.tables))
    return ("ManagedIdentityPolicy", f"[{database.name}]", policies.render(database.policy), children, "Database")
