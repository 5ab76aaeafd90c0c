"""The signed-in principal, its roles, and what they allow kqlmi to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ForbiddenError, KqlmiError, NoSuchPolicyError, ServiceError, printable
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope, database_key
from kqlmi.model.explain.roles import Ability, Answer, HeldRole, abilities, changing, read_role
from kqlmi.model.kql import quoting
from kqlmi.report import Described, Line, Report, Section
from kqlmi.session.core import Core
from kqlmi.session.policies import database_scope, databases, read

_KINDS: Final = {"aadapplication": "application", "aaduser": "user", "aadgroup": "group"}


@dataclass(frozen=True, slots=True, repr=False)
class WhoAmI(Described):
    """The signed-in principal, as the cluster reports it. A field that it does not report is empty.

    ``roles`` is None if kqlmi is not allowed to read them. ``unread`` lists what could not be read, and why.
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
        """Return the principal, its roles, and whether kqlmi can read and change policies with them."""
        name = self.display_name or "Unnamed principal"
        what = ", ".join(filter(None, [self.kind, f"object ID {self.object_id}" if self.object_id else ""]))
        roles = "not reported" if self.roles is None else ", ".join(map(str, self.roles)) or "none"
        return Report(
            f"{name}{f' ({what})' if what else ''} on {self.cluster}",
            blocks=(
                Line(f"tenant  {self.tenant or 'not reported'}"),
                Line(f"roles   {roles}"),
                Section("What kqlmi can do with these roles", tuple(Line(str(one)) for one in self.abilities)),
            ),
            notes=tuple(f"Not read: {one}" for one in self.unread),
        )


@dataclass(frozen=True, slots=True)
class Denial:
    """The reason why the caller cannot change policies. If it is not ``certain``, a change is worth trying."""

    reason: str
    certain: bool


def whoami(core: Core, database: str) -> WhoAmI:
    """Return the signed-in principal and its roles; see ``Session.whoami``."""
    unread: dict[str, list[str]] = {}
    visible = databases(core)
    name = database_scope(core, database).name if database else core.database or next(iter(visible), "")
    known = details(_ask(core, "print details = current_principal_details()", "the principal", unread, name))
    own = _ask(core, ".show principal roles", "your own list of roles", unread)
    roles = None if own is None else held(own.records())
    first: Mapping[str, Any] = next(own.records(), {}) if own else {}
    object_id = str(known.get("ObjectId") or first.get("AADObjectID") or "")
    if name and object_id:
        listed = _ask(
            core, f".show database {quoting.name(name)} principals", f"the roles in {printable(name)}", unread
        )
        mine = [
            row
            for row in (listed.records() if listed else ())
            if str(row.get("PrincipalObjectId", "")).lower() == object_id.lower()
        ]
        roles = _merged(roles, held([{**row, "Scope": f"Database {name}"} for row in mine]))
    kind = str(known.get("Type") or "")
    return WhoAmI(
        core.name,
        str(known.get("DisplayName") or first.get("DisplayName") or ""),
        object_id,
        _KINDS.get(kind.lower(), kind),
        str(known.get("Authority") or ""),
        roles,
        (*_readings(core, name or ""), *abilities(roles, read_only=core.read_only)),
        tuple(f"{', '.join(what)}. {why}" for why, what in unread.items()),
    )


def denial(core: Core) -> Denial | None:
    """Return the reason why the caller cannot change policies, or None if there is none or the roles cannot be read."""
    if core.read_only:
        return Denial(f"The session on {core.name} is read-only.", certain=True)
    try:
        ability = changing(held(core.connection.execute(".show principal roles").records()))
    except KqlmiError:
        return None
    if ability.answer == "yes":
        return None
    if ability.answer == "not known":
        return Denial(f"kqlmi could not determine whether you may change policies: {ability.why}.", certain=False)
    return Denial(
        "Changing a policy requires AllDatabasesAdmin, and none of your roles is an administrator role for all databases.",
        certain=False,
    )


def _ask(core: Core, text: str, what: str, unread: dict[str, list[str]], database: str | None = None) -> Table | None:
    """Send a command or query. If it is refused, add ``what`` to ``unread`` under the reason and return None."""
    try:
        return core.connection.execute(text, database or None)
    except ServiceError as error:
        unread.setdefault(error.hint if isinstance(error, ForbiddenError) else str(error), []).append(what)
        return None


def details(table: Table | None) -> Mapping[str, Any]:
    """Return the fields of ``current_principal_details()``, which the cluster returns as an object or as JSON text."""
    found = jsontext.read(next(iter(table.column("details")), None)) if table else None
    return found if isinstance(found, dict) else {}


def held(rows: Iterable[Mapping[str, Any]]) -> tuple[HeldRole, ...]:
    """Return the roles in rows with the columns ``Role`` and ``Scope``."""
    return tuple(read_role(str(row.get("Role", "")), str(row.get("Scope", ""))) for row in rows)


def _merged(own: tuple[HeldRole, ...] | None, more: tuple[HeldRole, ...]) -> tuple[HeldRole, ...] | None:
    """Return the roles with those not listed yet, or None without the caller's own list, which would be incomplete."""
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
        return "no", "this cluster does not seem to support the policy"
    return ("no", "a Kusto role is missing") if isinstance(error, ForbiddenError) else ("not known", str(error))
