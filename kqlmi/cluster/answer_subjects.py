"""What the answer of a policy command says that it is about."""

from typing import Final

from kqlmi.cluster.protocol.table import Table
from kqlmi.model.entities import Scope

# The other documented policies, without underscores; how each is called in an answer is not documented.
_OTHERS: Final = """
autodelete caching callout capacity encoding extenttagsretention ingestionbatching ingestiontime merge mirroring
multidatabaseadmins partitioning queryacceleration queryweakconsistency requestclassification restrictedviewaccess
retention rowlevelsecurity roworder sandbox sharding shardsgrouping streamingingestion update
"""


class UnknownNameWarning(UserWarning):
    """An answer names what it is about in a form that is not known."""


def entity_name(answer: Table) -> str:
    """Return the name in the first row of a policy command's answer, out of its brackets and quotes."""
    return _readings(_first(answer, "EntityName"))[-1]


def _readings(name: str) -> tuple[str, ...]:
    """Return what a name may stand for: itself, and what is in its brackets, and what is in the quotes there."""
    found = [name]
    for first, last in ("[]", "''", '""'):
        inside = found[-1][1:-1]
        if inside and found[-1] == f"{first}{inside}{last}":
            found.append(inside)
    return tuple(found)


def is_about(answer: Table, scope: Scope) -> bool | None:
    """Return whether the first row of a policy command's answer is about a scope; None where that cannot be told.

    The documentation has the database's name in brackets as EntityName, and nothing for the cluster.
    """
    kind, policy = _first(answer, "EntityType").casefold(), _first(answer, "PolicyName").casefold()
    wanted = "cluster" if scope.is_cluster else "database"
    if kind in {"cluster", "database"} - {wanted} or policy.replace("_", "").removesuffix("policy") in _OTHERS.split():
        return False
    names = _readings(_first(answer, "EntityName"))
    same = names == ("",) if scope.is_cluster else scope in {Scope.database(name) for name in names if name}
    return True if same and kind in {"", wanted} else None


def _first(answer: Table, column: str) -> str:
    return str(answer.column(column)[0] or "") if answer.has(column) and len(answer) else ""
