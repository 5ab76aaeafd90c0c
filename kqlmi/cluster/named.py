"""What the answer of a policy command says that it is about."""

from typing import Final

from kqlmi.cluster.table import Table
from kqlmi.model.entities import Scope

_QUOTED: Final = ("''", '""')
# The other documented policies, without underscores; how each is called in an answer is not documented.
_OTHERS: Final = frozenset(
    [
        "autodelete",
        "caching",
        "callout",
        "capacity",
        "encoding",
        "extenttagsretention",
        "ingestionbatching",
        "ingestiontime",
        "merge",
        "mirroring",
        "multidatabaseadmins",
        "partitioning",
        "queryacceleration",
        "queryweakconsistency",
        "requestclassification",
        "restrictedviewaccess",
        "retention",
        "rowlevelsecurity",
        "roworder",
        "sandbox",
        "sharding",
        "shardsgrouping",
        "streamingingestion",
        "update",
    ]
)


class UnknownNameWarning(UserWarning):
    """An answer names what it is about in a form that is not known."""


def entity_name(answer: Table) -> str:
    """Return the name in the first row of a policy command's answer, out of its brackets and quotes."""
    name = _first(answer, "EntityName")
    if name[:1] + name[-1:] == "[]":
        name = name[1:-1].strip()
    return name[1:-1] if name[:1] + name[-1:] in _QUOTED and len(name) > 1 else name


def is_about(answer: Table, scope: Scope) -> bool | None:
    """Return whether the first row of a policy command's answer is about a scope; None where that cannot be told.

    The documentation has the database's name in brackets as EntityName, and nothing for the cluster.
    """
    kind, policy = _first(answer, "EntityType").casefold(), _first(answer, "PolicyName").casefold()
    wanted = "cluster" if scope.is_cluster else "database"
    if kind in {"cluster", "database"} - {wanted} or policy.replace("_", "").removesuffix("policy") in _OTHERS:
        return False
    name = entity_name(answer)
    if scope.is_cluster:
        same = not name
    else:
        same = bool(name) and scope in (Scope.database(name), Scope.database(_first(answer, "EntityName")))
    return True if same and kind in {"", wanted} else None


def _first(answer: Table, column: str) -> str:
    return str(answer.column(column)[0] or "") if answer.has(column) and len(answer) else ""
