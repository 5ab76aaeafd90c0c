"""The entities of a policy: scopes, usages by name, and identities."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NewType, Self, TypeVar

from kqlmi.errors import InputError, PolicyError, printable
from kqlmi.model.usages import USAGES, Usage
from kqlmi.report import Names

Key = TypeVar("Key")
ObjectId = NewType("ObjectId", str)
"""A principal's object ID as a lower-case GUID, or ``system``."""

SYSTEM: Final = ObjectId("system")
ALL: Final = "All"

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BY_NAME = {usage.name.casefold(): usage for usage in USAGES}


def object_id(text: str) -> ObjectId:
    """Return ``text`` as an object ID, in lower case.

    Raises:
        PolicyError: The string is neither a GUID nor ``system``.
    """
    value = text.strip().lower()
    if value == SYSTEM or is_guid(value):
        return ObjectId(value)
    raise PolicyError(
        f"ObjectId {text!r} is neither a GUID nor the word system.",
        hint="Use the identity's object (principal) ID, for example 11111111-2222-3333-4444-555555555555.",
    )


def is_guid(text: str) -> bool:
    """Check whether ``text`` is a lower-case GUID."""
    return bool(_GUID.fullmatch(text))


def known_usage(name: str) -> Usage | None:
    """Return the catalogue's row for a usage name in any letter case, or None."""
    return _BY_NAME.get(name.strip().casefold())


def usage_name(name: str) -> str:
    """Return the name by which a usage is compared: in the catalogue's spelling, or unchanged if unknown."""
    known = known_usage(name)
    return known.name if known else name.strip()


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return a hint with the choice nearest to ``word``, or with all choices."""
    by_case = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), by_case, n=1) or [
        choice for choice in by_case if all(part in choice for part in word.casefold().split())
    ]
    return f"Did you mean {by_case[near[0]]}?" if near else f"Known: {', '.join(by_case.values())}."


def database_key(name: str) -> str:
    """Return the key that all spellings of a database name share.

    The service ignores case in database names; how it folds letters beyond that is not published. So only letters that are
    each other's upper and lower case are equal: ``Ä`` and ``ä``, but neither ``ß`` and ``SS`` nor the Kelvin sign and
    ``k``. Two databases are never mistaken for one; at worst a spelling is not recognised.
    """
    if name.isascii():
        return name.lower()
    return "".join(letter.lower() if letter.lower().upper() == letter else letter for letter in name)


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a policy: the cluster, or one database.

    Database names compare by ``database_key`` and keep their spelling.
    """

    name: str | None = field(default=None, compare=False)
    _key: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the key by which scopes compare; the cluster's is empty."""
        if self.name == "":
            raise InputError("A database name cannot be empty.", hint="Use Scope.cluster() for the cluster.")
        object.__setattr__(self, "_key", database_key(self.name or ""))

    @classmethod
    def cluster(cls) -> Self:
        """Return the cluster's scope."""
        return cls()

    @classmethod
    def database(cls, name: str) -> Self:
        """Return a database's scope.

        Raises:
            InputError: The name is empty.
        """
        return cls(str(name))

    @property
    def is_cluster(self) -> bool:
        """Check whether this is the cluster's scope."""
        return self.name is None

    def __str__(self) -> str:
        """Return the scope for display: ``cluster``, or ``database Samples``."""
        return "cluster" if self.name is None else f"database {printable(self.name)}"


@dataclass(frozen=True, slots=True)
class Identity:
    """A managed identity as the service describes it; unknown fields are empty.

    ``object_id`` is the ID that grants compare: ``system`` for the system identity, whose GUID is in ``principal_id``.
    ``resource_id`` is set for a user-assigned identity if Azure Resource Manager reported it.
    """

    object_id: ObjectId
    display_name: str = ""
    client_id: str = ""
    tenant_id: str = ""
    is_system: bool = False
    principal_id: str = ""
    resource_id: str = ""

    @property
    def principal(self) -> str:
        """Return the identity's GUID in Entra ID, or an empty string for a system identity whose GUID is not known."""
        return self.principal_id or (self.object_id if is_guid(self.object_id) else "")

    def __str__(self) -> str:
        return f"{printable(self.display_name)} ({self.object_id})" if self.display_name else self.object_id


def by_place(found: Iterable[tuple[Key, Scope]]) -> Iterator[tuple[Key, str, str]]:
    """Yield each key once with its place, a scope or a number of databases; then the names of several, in parentheses."""
    groups: dict[tuple[Key, bool], dict[Scope, None]] = {}
    for key, scope in found:
        groups.setdefault((key, scope.is_cluster), {})[scope] = None
    for (key, _), scopes in groups.items():
        if len(scopes) == 1:
            yield key, f"the {next(iter(scopes))}", ""
        else:
            names = Names("", tuple(scope.name or "" for scope in scopes))
            yield key, f"{len(scopes):,} databases", f" ({names.listed})"
