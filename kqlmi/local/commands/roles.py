"""Security roles: granting, taking away, showing."""

from collections.abc import Callable
from dataclasses import replace

from kqlmi.local.commands.registry import Call, Rows, command
from kqlmi.local.principals import ADMIN, MONITOR, Principal, Role, parse_fqn
from kqlmi.local.state import Database, Grant

_GIVES = (
    "Role: string, PrincipalType: string, PrincipalDisplayName: string, PrincipalObjectId: string, PrincipalFQN: string, "
    "Notes: string, RoleAssignmentIdentifier: string"
)


@command(".add database {name:database} {role:role} {strings:principals}", gives=_GIVES, writes=True)
def database_principals_add(call: Call) -> Rows:
    """Give principals a role in a database."""
    return _change(call, _added)


@command(".drop database {name:database} {role:role} {strings:principals}", gives=_GIVES, writes=True)
def database_principals_drop(call: Call) -> Rows:
    """Take a role in a database away from principals."""
    return _change(call, _without)


@command(".show database {name:database} principals", gives=_GIVES)
def database_principals_show(call: Call) -> Rows:
    """Give all roles of all principals in a database."""
    database = call.allowed(MONITOR)
    return _rows(database, None)


@command(".show database {name:database} {role:role}", gives=_GIVES)
def database_role_show(call: Call) -> Rows:
    """Give the principals of one role in a database."""
    database = call.allowed(MONITOR)
    return _rows(database, call.args["role"])


@command(".show principal roles", gives="Scope: string, DisplayName: string, AADObjectID: string, Role: string")
def principal_roles_show(call: Call) -> Rows:
    """Give the caller's own roles."""
    caller = call.caller.principal
    for role in sorted(call.caller.roles):
        yield ("Cluster", caller.display_name, caller.object_id, f"AllDatabases{role.title}")
    for database in call.state.databases.values():
        for grant in database.grants:
            if not grant.entity and grant.principal.is_same(caller):
                role_name = f"Database {grant.role.title}"
                yield (f"Database {database.name}", caller.display_name, caller.object_id, role_name)


def _change(call: Call, change: Callable[[tuple[Grant, ...], Grant], tuple[Grant, ...]]) -> Rows:
    state = call.state
    role = call.args["role"]
    with state.lock:
        database = call.allowed(ADMIN)
        known = [caller.principal for caller in state.callers.values()]
        grants = database.grants
        for text in call.args["principals"]:
            grants = change(grants, Grant(role, parse_fqn(text, known, state.identities)))
        changed = state.put(replace(database, grants=grants))
        call.record("ALTER-PRINCIPALS", changed, before=_written(database), after=_written(changed))
    return _rows(changed, role)


def _added(grants: tuple[Grant, ...], grant: Grant) -> tuple[Grant, ...]:
    return (*_without(grants, grant), grant)


def _without(grants: tuple[Grant, ...], grant: Grant) -> tuple[Grant, ...]:
    return tuple(
        held
        for held in grants
        if (held.entity, held.role) != (grant.entity, grant.role) or not held.principal.is_same(grant.principal)
    )


def _written(database: Database) -> str:
    return ", ".join(f"{grant.role}: {grant.principal.fqn}" for grant in database.grants if not grant.entity)


def _rows(database: Database, role: Role | None) -> Rows:
    own = [grant for grant in database.grants if not grant.entity]
    return [_row(database, grant.role, grant.principal) for grant in own if role in (None, grant.role)]


def _row(database: Database, role: Role, principal: Principal) -> tuple[str, ...]:
    title = f"Database {database.name} {role.title}"
    return (title, principal.type_name, principal.display_name, principal.object_id, principal.fqn, "", "")
