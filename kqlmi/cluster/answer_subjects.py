"""The subject of a policy command's response: the cluster, or the database that the response names."""

from typing import Final

from kqlmi.cluster.protocol.table import Table
from kqlmi.model.entities import Scope

# The other documented policies, without underscores; their names in responses are not documented.
_OTHERS: Final = """
autodelete caching callout capacity encoding extenttagsretention ingestionbatching ingestiontime merge mirroring
multidatabaseadmins partitioning queryacceleration queryweakconsistency requestclassification restrictedviewaccess
retention rowlevelsecurity roworder sandbox sharding shardsgrouping streamingingestion update
"""


class UnknownNameWarning(UserWarning):
    """A response names its subject in an unknown form."""


def entity_name(answer: Table) -> str:
    """Return the name in the first row of a policy command's response, without its brackets and quotes."""
    return _readings(_first(answer, "EntityName"))[-1]


def _readings(name: str) -> tuple[str, ...]:
    """Return the possible readings of a name: as written, without its brackets, and then without its quotes."""
    found = [name]
    for first, last in ("[]", "''", '""'):
        inside = found[-1][1:-1]
        if inside and found[-1] == f"{first}{inside}{last}":
            found.append(inside)
    return tuple(found)


def is_about(answer: Table, scope: Scope) -> bool | None:
    """Check whether the first row of a policy command's response is about a scope; return None if that is unclear.

    In the documentation, EntityName is the database's name in brackets, and empty for the cluster.
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
