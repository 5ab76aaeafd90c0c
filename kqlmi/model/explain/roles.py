"""The security roles of a principal on a cluster, and what they allow kqlmi to do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import database_key

# The roles are documented, but not how `.show principal roles` spells them; so spaces, letter case and a database's name
# between the words are ignored.
_CLUSTER_ROLE: Final = re.compile(r"all\s*databases\s*(admin|viewer|monitor)s?", re.IGNORECASE)
_DATABASE_ROLE: Final = re.compile(
    r"(?:database(?:.*?\s)?)?(admin|user|unrestricted\s*viewer|viewer|ingestor|monitor)s?", re.IGNORECASE
)
_DATABASE: Final = re.compile(r"database\s+(\S.*)", re.IGNORECASE)
# A role in one of these says nothing about the database.
_ENTITY: Final = re.compile(r"(?:external\s+table|table|function|materialized[-\s]view)\s", re.IGNORECASE)
_ENOUGH: Final[Mapping[str, frozenset[str]]] = {
    "viewers": frozenset({"viewer", "user", "admin"}),
    "users": frozenset({"user", "admin"}),
    "ingestors": frozenset({"ingestor", "admin"}),
    "admins": frozenset({"admin"}),
}
"""The kinds of roles in a database that include each role."""

Answer = Literal["yes", "no", "not known"]


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role as a cluster reports it; ``kind`` is ``admin``, ``viewer``, …, or empty if the role is not recognised.

    ``database`` is empty for a role in all databases.
    """

    text: str
    where: str
    kind: str = ""
    database: str = ""

    def __str__(self) -> str:
        return f"{printable(self.text)} ({printable(self.where)}{'' if self.kind else ', not recognised'})"


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that kqlmi can or cannot do for a principal, and why."""

    what: str
    answer: Answer
    why: str = ""

    def __str__(self) -> str:
        return f"{self.answer:<9}  {self.what}{f': {self.why}' if self.why else ''}"


def read_role(text: str, where: str) -> HeldRole:
    """Return a role by its reported name and scope; an unrecognised role is kept as reported."""
    if found := _CLUSTER_ROLE.fullmatch(text.strip()):
        return HeldRole(text, where, found[1].lower())
    database, role = _DATABASE.fullmatch(where.strip()), _DATABASE_ROLE.fullmatch(text.strip())
    if database and role:
        return HeldRole(text, where, "".join(role[1].lower().split()), database[1])
    return HeldRole(text, where)


def suffices(roles: Sequence[HeldRole], needed: str, database: str, entity: str = "") -> tuple[bool | None, str]:
    """Check whether roles include one, such as ``table ingestors``, in a database, and return why.

    ``entity`` is the name of the table. The result is None if an unrecognised role may include it.
    """
    kind, _, role = needed.rpartition(" ")
    own = f"{kind} {entity} {role.removesuffix('s')}".casefold()
    for one in roles:
        everywhere = not one.database or database_key(one.database) == database_key(database)
        if (one.kind in _ENOUGH[role] and everywhere) or (entity and one.text.strip().casefold() == own):
            return True, str(one)
    unread = [printable(one.text) for one in roles if not one.kind and not _ENTITY.match(one.text.strip())]
    if unread:
        return None, f"kqlmi does not know whether {', '.join(unread)} includes it"
    listed = ", ".join(map(str, roles))
    return False, f"the reported roles are {listed}" if roles else "no role is reported"


def changing(roles: Sequence[HeldRole] | None, *, read_only: bool = False) -> Ability:
    """Check whether roles allow kqlmi to change policies; even a database's policy requires AllDatabasesAdmin."""
    if read_only:
        return Ability("change policies", "no", "the session is read-only")
    return _by_role("change policies", roles, {"admin"}, "it requires AllDatabasesAdmin")


def abilities(roles: Sequence[HeldRole] | None, *, read_only: bool = False) -> tuple[Ability, ...]:
    """Return what roles allow kqlmi to do beyond reading policies; ``roles`` is None if they are not known."""
    return (
        changing(roles, read_only=read_only),
        _by_role("see changes by others in the journal", roles, {"admin"}, "it requires AllDatabasesAdmin"),
        _by_role(
            "see queries and commands of others for the audit",
            roles,
            {"admin", "monitor"},
            "it requires AllDatabasesAdmin or AllDatabasesMonitor",
        ),
        Ability(
            "assign identities to the cluster",
            "not known",
            "it requires an Azure role, and the cluster does not report those",
        ),
    )


def _by_role(what: str, roles: Sequence[HeldRole] | None, enough: set[str], need: str) -> Ability:
    if roles is None:
        return Ability(what, "not known", f"{need}, and the roles are not known")
    if any(role.kind in enough and not role.database for role in roles):
        return Ability(what, "yes")
    if unread := [printable(role.text) for role in roles if not role.kind]:
        return Ability(what, "not known", f"{need}, and kqlmi does not know whether {', '.join(unread)} includes that")
    return Ability(what, "no", f"{need}, which is not among the reported roles")
