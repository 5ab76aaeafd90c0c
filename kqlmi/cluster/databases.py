"""The databases in the response to ``.show databases``."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import InputError, ServiceError
from kqlmi.model.entities import Scope

_FOLLOWING = "readonlyfollowing"


def names(answer: Table) -> tuple[str, ...]:
    """Return the names of the databases, in the order of the response."""
    return tuple(map(str, answer.column("DatabaseName")))


def following(answer: Table) -> frozenset[Scope]:
    """Return the databases that follow a leader on another cluster, or nothing if the response has no access modes."""
    modes = answer.column("DatabaseAccessMode") if answer.has("DatabaseAccessMode") else ()
    listed = zip(names(answer), modes, strict=False)
    return frozenset(Scope.database(name) for name, mode in listed if str(mode).casefold() == _FOLLOWING)


def database_ids(connection: Connection, scopes: Iterable[Scope]) -> Mapping[Scope, str] | None:
    """Read the databases' IDs, which are empty if the cluster does not report them.

    Return None if the databases cannot be listed, and, without reading anything, if no scope is a database.
    """
    if all(scope.is_cluster for scope in scopes):
        return None
    try:
        found = _ids(connection.execute(".show databases"))
    except (InputError, ServiceError):
        return None
    if not all(found.values()):
        with suppress(InputError, ServiceError):
            found |= _ids(connection.execute(".show databases details"))
    return found


def _ids(answer: Table) -> dict[Scope, str]:
    ids = answer.column("DatabaseId") if answer.has("DatabaseId") else [""] * len(answer)
    return {Scope.database(name): str(one or "") for name, one in zip(names(answer), ids, strict=True)}
