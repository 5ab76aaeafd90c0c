"""Policies, access and history as pandas DataFrames."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from kqlmi.model.explain.explanation import Verdict
from kqlmi.model.plan import listing
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.statement import Statement
from kqlmi.report import Rows

if TYPE_CHECKING:
    import pandas as pd

Item = TypeVar("Item")


def frame(
    items: Iterable[Item],
    columns: Mapping[str, Callable[[Item], object]],
    dtypes: Mapping[str, str] = MappingProxyType({}),
) -> "pd.DataFrame":
    """Return one row for each item; ``columns`` has for each column what gives an item's value."""
    return of(Rows.of(items, columns, dtypes))


def check_frame(verdicts: Iterable[Verdict], statement: Statement) -> "pd.DataFrame":
    """Return one row for each identity that a statement uses.

    Columns: ``workflow``, ``identity`` (missing where the text does not tell), ``usage``, ``scope``, ``allowed`` (missing
    where it cannot be told), ``reason``, ``also_needs`` (a list: the gates beside the policy, and what is inferred),
    ``target`` and ``line`` (of the text, from 1).
    """
    return frame(
        verdicts,
        {
            "workflow": lambda one: one.reference.workflow.title if one.reference.workflow else one.reference.flow,
            "identity": lambda one: one.reference.identity,
            "usage": lambda one: one.reference.workflow.usage if one.reference.workflow else None,
            "scope": lambda one: str(one.scope),
            "allowed": lambda one: one.access.allowed,
            "reason": lambda one: one.access.reason,
            "also_needs": lambda one: list(one.needs),
            "target": lambda one: one.reference.target,
            "line": lambda one: statement.line(one.reference.start),
        },
        {"allowed": "boolean"},
    )


def policy_frame(policies: Snapshot) -> "pd.DataFrame":
    """Return one row for each identity of each scope."""
    return of(listing.policy_rows(policies))


def access_frame(
    snapshot: Snapshot,
    identity: str,
    usage: str,
    databases: Iterable[str],
    names: Mapping[str, str] = MappingProxyType({}),
) -> "pd.DataFrame":
    """Return one row for each database, identity and usage."""
    return of(listing.access_rows(snapshot, identity, usage, databases, names))


def access_matrix(snapshot: Snapshot, identity: str, usage: str, databases: Iterable[str]) -> "pd.DataFrame":
    """Return one row for each database and identity, and a column for each usage that says how it is allowed."""
    return of(listing.access_matrix(snapshot, identity, usage, databases))


def of(rows: Rows) -> "pd.DataFrame":
    """Return rows as a frame that shows itself."""
    from kqlmi.notebook.frame import Frame

    return Frame.of(rows)
