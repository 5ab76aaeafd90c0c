"""The catalogues of usages and workflows as rows."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.report import Mark, Rows

USAGE_TAGS: Final[Mapping[str, Mark]] = MappingProxyType({"All": "warning"})
NO_EFFECT_TAGS: Final[Mapping[str, Mark]] = MappingProxyType(
    {one.name: "warning" for one in USAGES if one.cluster_only}
)


def usage_rows() -> Rows:
    """Return a row for each usage that a policy can allow, with the workflows that it enables."""
    return Rows.of(
        USAGES,
        {
            "usage": lambda usage: usage.name,
            "summary": lambda usage: usage.summary,
            "scope": lambda usage: "cluster only" if usage.cluster_only else "cluster or database",
            "workflows": lambda usage: [row.title for row in WORKFLOWS if row.usage == usage.name],
        },
        kinds={"usage": USAGE_TAGS},
    )


def workflow_rows(*words: str) -> Rows:
    """Return a row for each workflow whose ID, title or usage contains all of the words."""
    wanted = [word.casefold() for word in words]
    return Rows.of(
        (row for row in WORKFLOWS if all(word in f"{row.id} {row.title} {row.usage}".casefold() for word in wanted)),
        {
            "workflow": lambda row: row.title,
            "usage": lambda row: row.usage,
            "sure": lambda row: row.sure,
            "scope": lambda row: "cluster only" if row.cluster_only else "cluster or database",
            "identity": lambda row: row.identity,
            "kusto_role": lambda row: row.kusto,
            "external_role": lambda row: row.external,
            "note": lambda row: row.note,
            "example": lambda row: row.example,
        },
        kinds={"usage": USAGE_TAGS, "sure": {"documented": "done", "inferred": "not checked"}, "example": "folded"},
    )
