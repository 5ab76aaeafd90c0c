"""The security roles that somebody holds on a cluster, and what they let kqlmi do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.errors import printable

# The documented roles. How `.show principal roles` spells them is not, so that spaces, letter case and the name of the
# database between the words make no difference.
_CLUSTER_ROLE: Final = re.compile(r"all\s*databases\s*(admin|viewer|monitor)s?", re.IGNORECASE)
_DATABASE_ROLE: Final = re.compile(
    r"(?:database(?:.*?\s)?)?(admin|user|unrestricted\s*viewer|viewer|ingestor|monitor)s?", re.IGNORECASE
)
_DATABASE: Final = re.compile(r"database\s+(\S.*)", re.IGNORECASE)

Answer = Literal["yes", "no", "not known"]


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role as a cluster told it; ``kind`` is ``admin``, ``viewer``, …, or empty where the role is not recognised.

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
    """What kqlmi can do for somebody, and what decides it."""

    what: str
    answer: Answer
    why: str = ""

    def __str__(self) -> str:
        return f"{self.answer:<9}  {self.what}{f': {self.why}' if self.why else ''}"


def read_role(text: str, where: str) -> HeldRole:
    """Give a role by its name and the scope that it is told with; one that cannot be read is kept as it is."""
    if found := _CLUSTER_ROLE.fullmatch(text.strip()):
        return HeldRole(text, where, found[1].lower())
    database, role = _DATABASE.fullmatch(where.strip()), _DATABASE_ROLE.fullmatch(text.strip())
    if database and role:
        return HeldRole(text, where, "".join(role[1].lower().split()), database[1])
    return HeldRole(text, where)


def changing(roles: Sequence[HeldRole] | None, *, read_only: bool = False) -> Ability:
    """Give whether roles let kqlmi change policies; that needs AllDatabasesAdmin, for a database's as well."""
    if read_only:
        return Ability("change policies", "no", "the session is read-only")
    return _by_role("change policies", roles, {"admin"}, "it needs AllDatabasesAdmin")


def abilities(roles: Sequence[HeldRole] | None, *, read_only: bool = False) -> tuple[Ability, ...]:
    """Give what roles let kqlmi do beyond reading policies; None where they are not known."""
    return (
        changing(roles, read_only=read_only),
        _by_role("see what others changed, in the journal", roles, {"admin"}, "it needs AllDatabasesAdmin"),
        _by_role(
            "see what others ran, for the audit", roles, {"admin", "monitor"}, "it needs AllDatabasesAdmin or …Monitor"
        ),
        Ability(
            "assign identities to the cluster", "not known", "a role in Azure decides, and the cluster does not tell it"
        ),
    )


def _by_role(what: str, roles: Sequence[HeldRole] | None, enough: set[str], need: str) -> Ability:
    if roles is None:
        return Ability(what, "not known", f"{need}, and the roles are not told")
    if any(role.kind in enough and not role.database for role in roles):
        return Ability(what, "yes")
    if unread := [printable(role.text) for role in roles if not role.kind]:
        return Ability(what, "not known", f"{need}, and whether that is {', '.join(unread)} is not known")
    return Ability(what, "no", f"{need}, which is none of the roles told")
