"""The databases in the answer of ``.show databases``."""

from kqlmi.cluster.table import Table
from kqlmi.model.entities import Scope

_FOLLOWING = "readonlyfollowing"


def names(answer: Table) -> tuple[str, ...]:
    """Give the names of the databases, in the answer's order."""
    return tuple(map(str, answer.column("DatabaseName")))


def following(answer: Table) -> frozenset[Scope]:
    """Give the databases that follow a leader on another cluster, as far as the answer tells."""
    modes = answer.column("DatabaseAccessMode") if answer.has("DatabaseAccessMode") else ()
    listed = zip(names(answer), modes, strict=False)
    return frozenset(Scope.database(name) for name, mode in listed if str(mode).casefold() == _FOLLOWING)
