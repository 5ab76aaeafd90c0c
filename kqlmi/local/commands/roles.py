"""Commands that grant, revoke and show security roles of databases, tables, external tables and functions."""

from dataclasses import dataclass, replace

from kqlmi.local.dispatch.registry import Call, Rows, command, shape
from kqlmi.local.dispatch.shapes import listed
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.reader import Reader
from kqlmi.local.state.state import Database, Grant
from kqlmi.local.values.faults import bad_request, not_found
from kqlmi.local.values.principals import ADMIN, MONITOR, Principal, Role, parse_fqn

_SCHEMA = (
    "Role: string, PrincipalType: string, PrincipalDisplayName: string, PrincipalObjectId: string, PrincipalFQN: string, "
    "Notes: string, RoleAssignmentIdentifier: string"
)
_OWN = "Scope: string, DisplayName: string, AADObjectID: string, Role: string"
# The name of each securable in role names, its roles, and its collection in a database.
_SECURABLES = {
    "database": ("Database", tuple(Role), ""),
    "table": ("Table", (Role.ADMINS, Role.INGESTORS), "tables"),
    "external table": ("External Table", (Role.ADMINS,), "external_tables"),
    "function": ("Function", (Role.ADMINS,), "functions"),
}


@dataclass(frozen=True)
class Securable:
    """An object in which principals have roles; ``kind`` is spelled as in the names of roles."""

    kind: str
    name: str
    roles: tuple[Role, ...]
    collection: str

    @property
    def entity(self) -> str:
        """The name used in the grants of a database, or an empty string for the database itself."""
        return f"{self.kind} {self.name}" if self.collection else ""

    def open(self, call: Call, roles: frozenset[Role]) -> Database:
        """Return its database if the caller has one of the roles there or in the entity."""
        if not self.collection:
            return call.allowed(roles, database=self.name)
        database = call.allowed(roles, self.entity)
        if self.name not in getattr(database, self.collection):
            raise not_found(self.name, self.kind.replace(" ", ""))
        return database


@shape("securable")
def securable(reader: Reader, _verb: str) -> Securable:
    """Take ``database D``, ``table T``, ``external table T`` or ``function F``."""
    for words, (kind, roles, collection) in _SECURABLES.items():
        ahead = Reader(reader.text, reader.position)
        if all(ahead.take(word) for word in words.split()):
            reader.position = ahead.position
            return Securable(kind, reader.name({"policy", "principal", "principals"}), roles, collection)
    raise reader.mismatch("'database', 'table', 'external table' or 'function'")


@shape("principals")
def _principals(reader: Reader, verb: str) -> tuple[str, ...]:
    return () if verb == "set" and reader.take("none") else listed(reader, reader.strings)


@shape("note")
def _note(reader: Reader, _verb: str) -> tuple[bool, str]:
    """Take ``[skip-results] ['a note']``."""
    skips = reader.take("skip-results")
    return skips, reader.strings() if reader.peek().kind is Kind.STRING else ""


@command(
    *(
        f".{verb} {{securable:of}} {{role:role}} {{principals:principals}} {{note:note}}"
        for verb in ("add", "drop", "set")
    ),
    schema=_SCHEMA,
    name="principals_{verb}",
    writes=True,
)
def principals_change(call: Call) -> Rows:
    """Grant a role to principals, revoke it from them, or set it for exactly these."""
    state, of, role, verb = call.state, call.args["of"], call.args["role"], call.args["verb"]
    skips, note = call.args["note"]
    if role not in of.roles:
        valid = ", ".join(of.roles)
        raise bad_request(f"role '{role}' is not valid for {of.kind.lower()} '{of.name}'; valid roles: {valid}")
    with state.lock:
        database = of.open(call, ADMIN)
        named = tuple(Grant(role, _parsed(call, text), of.entity, note) for text in call.args["principals"])
        # ``set`` first removes all principals from the role, other verbs only the named ones.
        rest = tuple(
            one
            for one in database.grants
            if (one.entity, one.role) != (of.entity, role)
            or (verb != "set" and not any(one.principal.is_same(other.principal) for other in named))
        )
        changed = state.put(replace(database, grants=rest if verb == "drop" else (*rest, *named)))
        call.record("ALTER-PRINCIPALS", changed, before=_written(database), after=_written(changed))
    return [] if skips else _rows(changed, of, role)


@command(".show {securable:of} principals", ".show {securable:of} {role:role}", schema=_SCHEMA)
def principals_show(call: Call) -> Rows:
    """Return the principals with any role, or with one."""
    return _rows(call.args["of"].open(call, MONITOR), call.args["of"], call.args.get("role"))


@command(".show principal roles", ".show cluster principal roles", schema=_OWN)
def principal_roles_show(call: Call) -> Rows:
    """Return the caller's own roles."""
    caller = call.caller.principal
    for role in sorted(call.caller.roles):
        yield ("Cluster", caller.display_name, caller.object_id, f"AllDatabases{role.title}")
    for database in call.state.world.databases.values():
        yield from _roles_in(database, caller, None)


@command(
    ".show principal {string:principal} roles", ".show {securable:of} principal {string:principal} roles", schema=_OWN
)
@command(".show {securable:of} principal roles", schema=_OWN)
def roles_of_principal_show(call: Call) -> Rows:
    """Return the roles of a principal in the databases whose permissions the caller may see; its own in all databases."""
    of: Securable | None = call.args.get("of")
    principal = _parsed(call, call.args["principal"]) if "principal" in call.args else call.caller.principal
    is_own = principal.is_same(call.caller.principal)
    for one in call.state.world.databases.values():
        if is_own or call.state.roles(call.caller, one) & MONITOR:
            yield from _roles_in(one, principal, of)


def _parsed(call: Call, text: str) -> Principal:
    return parse_fqn(text, [caller.principal for caller in call.state.callers.values()], call.state.world.identities)


def _written(database: Database) -> str:
    return ", ".join(f"{_role(database, grant)}: {grant.principal.fqn}" for grant in database.grants)


def _role(database: Database, grant: Grant) -> str:
    return f"{grant.entity or f'Database {database.name}'} {grant.role.title}"


def _rows(database: Database, of: Securable, role: Role | None) -> Rows:
    for grant in database.grants:
        if grant.entity == of.entity and role in (None, grant.role):
            who = grant.principal
            named = (who.type_name, who.display_name, who.object_id, who.fqn)
            yield (_role(database, grant), *named, grant.note, "")


def _roles_in(database: Database, principal: Principal, of: Securable | None) -> Rows:
    """Yield the roles of a principal in a database, or only in one securable."""
    wanted = f"{of.kind} {of.name}".lower() if of else ""
    for grant in database.grants:
        scope = grant.entity or f"Database {database.name}"
        if grant.principal.is_same(principal) and (scope.lower() == wanted if of else not grant.entity):
            role = _role(database, grant) if grant.entity else f"Database {grant.role.title}"
            yield (scope, principal.display_name, principal.object_id, role)
