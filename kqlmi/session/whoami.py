"""Who signed in, and what kqlmi can therefore do, or may not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ForbiddenError, KqlmiError, NoSuchPolicyError, ServiceError, printable
from kqlmi.model import jsontext
from kqlmi.model.azure.roles import Ability, Answer, HeldRole, abilities, changing, read_role
from kqlmi.model.entities import Scope, database_key
from kqlmi.model.kql import quoting
from kqlmi.report import Described, Line, Report, Section
from kqlmi.session.core import Core
from kqlmi.session.policies import database_scope, databases, read

_KINDS: Final = {"aadapplication": "application", "aaduser": "user", "aadgroup": "group"}


@dataclass(frozen=True, slots=True)
class WhoAmI(Described):
    """The principal that signed in, as the cluster tells it; what it does not tell is empty.

    ``roles`` is None where they may not be read. ``unread`` says what could not be read, and why.
    """

    cluster: str
    display_name: str
    object_id: str
    kind: str
    tenant: str
    roles: tuple[HeldRole, ...] | None
    abilities: tuple[Ability, ...]
    unread: tuple[str, ...] = ()

    def report(self) -> Report:
        """Return the principal with its roles, and what kqlmi can do with them."""
        name = self.display_name or "Somebody without a name"
        what = ", ".join(filter(None, [self.kind, f"object ID {self.object_id}" if self.object_id else ""]))
        roles = "not told" if self.roles is None else ", ".join(map(str, self.roles)) or "none"
        return Report(
            f"{name}{f' ({what})' if what else ''} on {self.cluster}",
            blocks=(
                Line(f"tenant  {self.tenant or 'not told'}"),
                Line(f"roles   {roles}"),
                Section("What kqlmi can do with that", tuple(Line(str(one)) for one in self.abilities)),
            ),
            notes=tuple(f"Not read: {one}" for one in self.unread),
        )


@dataclass(frozen=True, slots=True)
class Denial:
    """Why policies may not be changed; what is not ``certain`` may be tried all the same."""

    reason: str
    certain: bool


def whoami(core: Core, database: str) -> WhoAmI:
    """Return who signed in, with which roles, and what kqlmi can therefore do; what may not be read fails nothing."""
    unread: dict[str, list[str]] = {}
    visible = databases(core)
    name = database_scope(core, database).name if database else core.database or next(iter(visible), "")
    details = _details(_ask(core, "print details = current_principal_details()", "the principal", unread, name))
    own = _ask(core, ".show principal roles", "your own list of roles", unread)
    roles = None if own is None else _roles(own.records())
    first: Mapping[str, Any] = next(own.records(), {}) if own else {}
    object_id = str(details.get("ObjectId") or first.get("AADObjectID") or "")
    if name and object_id:
        listed = _ask(
            core, f".show database {quoting.name(name)} principals", f"the roles in {printable(name)}", unread
        )
        mine = [
            row
            for row in (listed.records() if listed else ())
            if str(row.get("PrincipalObjectId", "")).lower() == object_id.lower()
        ]
        roles = _merged(roles, _roles([{**row, "Scope": f"Database {name}"} for row in mine]))
    kind = str(details.get("Type") or "")
    return WhoAmI(
        core.name,
        str(details.get("DisplayName") or first.get("DisplayName") or ""),
        object_id,
        _KINDS.get(kind.lower(), kind),
        str(details.get("Authority") or ""),
        roles,
        (*_readings(core, name or ""), *abilities(roles, read_only=core.read_only)),
        tuple(f"{', '.join(what)}. {why}" for why, what in unread.items()),
    )


def denial(core: Core) -> Denial | None:
    """Return why the caller may not change policies; None where he may, or where that is not known."""
    if core.read_only:
        return Denial(f"The session on {core.name} is read-only.", certain=True)
    try:
        ability = changing(_roles(core.connection.execute(".show principal roles").records()))
    except KqlmiError:
        return None
    if ability.answer == "yes":
        return None
    if ability.answer == "not known":
        return Denial(f"Whether you may change policies is not known: {ability.why}.", certain=False)
    return Denial(
        "None of your roles is an administrator's for all databases, and changing a policy needs AllDatabasesAdmin.",
        certain=False,
    )


def _ask(core: Core, text: str, what: str, unread: dict[str, list[str]], database: str | None = None) -> Table | None:
    """Ask the cluster; what it refuses is noted under its reason."""
    try:
        return core.connection.execute(text, database or None)
    except ServiceError as error:
        unread.setdefault(error.hint if isinstance(error, ForbiddenError) else str(error), []).append(what)
        return None


def _details(table: Table | None) -> Mapping[str, Any]:
    """Return what ``current_principal_details()`` says, which comes as an object or as its text."""
    found = jsontext.read(next(iter(table.column("details")), None)) if table else None
    return found if isinstance(found, dict) else {}


def _roles(rows: Iterable[Mapping[str, Any]]) -> tuple[HeldRole, ...]:
    return tuple(read_role(str(row.get("Role", "")), str(row.get("Scope", ""))) for row in rows)


def _merged(own: tuple[HeldRole, ...] | None, more: tuple[HeldRole, ...]) -> tuple[HeldRole, ...] | None:
    """Add roles that are not listed yet; without the caller's own list, the roles are not all known."""
    if own is None:
        return None
    known = {(role.kind, database_key(role.database)) for role in own}
    return (*own, *(role for role in more if (role.kind, database_key(role.database)) not in known))


def _readings(core: Core, database: str) -> tuple[Ability, ...]:
    scopes = [Scope.cluster(), *([Scope.database(database)] if database else [])]
    refused: Mapping[Scope, KqlmiError]
    try:
        refused = read(core, scopes).refused
    except NoSuchPolicyError as error:
        refused = dict.fromkeys(scopes, error)
    return tuple(Ability(f"read the policy of the {scope}", *_reading(refused.get(scope))) for scope in scopes)


def _reading(error: KqlmiError | None) -> tuple[Answer, str]:
    if error is None:
        return "yes", ""
    if isinstance(error, NoSuchPolicyError):
        return "no", "it seems that there is no such policy here"
    return ("no", "a Kusto role is missing") if isinstance(error, ForbiddenError) else ("not known", str(error))
