"""Policies, access and history as pandas DataFrames."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from kqlmi.model.entities import SYSTEM, Scope, checked_usage
from kqlmi.model.explain.explanation import Verdict
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.access import access, without_effect
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.statement import Statement
from kqlmi.notebook.panel import matrix

if TYPE_CHECKING:
    import pandas as pd

    from kqlmi.session import Entry

Item = TypeVar("Item")


def frame(
    items: Iterable[Item],
    columns: Mapping[str, Callable[[Item], object]],
    dtypes: Mapping[str, str] = MappingProxyType({}),
) -> "pd.DataFrame":
    """Return one row for each item; ``columns`` has for each column what gives an item's value."""
    import pandas as pd

    rows = [[value(item) for value in columns.values()] for item in items]
    return pd.DataFrame(rows, columns=[*columns]).astype(dict(dtypes))


def policy_frame(policies: Snapshot) -> "pd.DataFrame":
    """Return one row for each identity of each scope.

    Columns: ``scope``, ``display_name``, ``object_id``, ``is_system``, ``usages`` (a list of names) and
    ``without_effect`` (those of the usages that do nothing in this scope).
    """
    import pandas as pd

    rows = [
        (
            str(scope),
            entry.display_name,
            entry.object_id,
            entry.identity == SYSTEM,
            list(entry.usages),
            [usage for usage in entry.usages if without_effect(scope, usage)],
        )
        for scope, policy in policies.policies.items()
        for entry in (policy.entries if policy else ())
    ]
    names = ["scope", "display_name", "object_id", "is_system", "usages", "without_effect"]
    return pd.DataFrame(rows, columns=names).astype({"is_system": bool})


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


def access_frame(
    snapshot: Snapshot,
    identity: str,
    usage: str,
    databases: Iterable[str],
    names: Mapping[str, str] = MappingProxyType({}),
) -> "pd.DataFrame":
    """Return one row for each database, identity and usage; ``names`` has display names beyond those of the policies.

    Without an identity or a usage: those of the policies, and of them what is allowed or cannot be told.
    Columns: ``database``, ``display_name``, ``object_id``, ``usage``, ``allowed`` (missing where it cannot be told)
    and ``reason``.
    """
    import pandas as pd

    found = []
    for scope in map(Scope.database, databases):
        draft = Draft.start(snapshot, scope)
        usages = [checked_usage(usage, draft.usages)] if usage else draft.usages
        display_names = {
            **names,
            **{key: one.display_name for key, one in snapshot.identities.items() if one.display_name},
        }
        for holder in [identity] if identity else snapshot.identities:
            for name in usages:
                answer = access(snapshot, holder, name, scope)
                if answer.allowed or (identity and usage):
                    who = display_names.get(holder, "")
                    found.append((scope.name, who, holder, name, answer.allowed, answer.reason))
    columns = ["database", "display_name", "object_id", "usage", "allowed", "reason"]
    return pd.DataFrame(found, columns=columns).astype({"allowed": "boolean"})


def access_matrix(snapshot: Snapshot, identity: str, usage: str, databases: Iterable[str]) -> "pd.DataFrame":
    """Return one row for each database and identity, and a column for each usage that says how it is allowed."""
    import pandas as pd

    found = []
    usages = Draft.start(snapshot, Scope.cluster()).usages
    shown = [checked_usage(usage, usages)] if usage else list(usages)
    for scope in map(Scope.database, databases):
        draft = Draft.start(snapshot, scope)
        for holder, name, marks in matrix.marks(draft):
            # A grant to an earlier system identity allows nothing.
            dead = holder in snapshot.earlier
            cells = {one: "" if dead else mark for one, mark in zip(draft.usages, marks, strict=True)}
            if identity == holder or not (identity or dead):
                found.append((scope.name, name, holder, *(cells[usage] for usage in shown)))
    return pd.DataFrame(found, columns=["database", "display_name", "object_id", *shown])


def history_frame(entries: "Iterable[Entry]") -> "pd.DataFrame":
    """Return one row for each entry, the newest first."""
    return frame(
        reversed([*entries]),
        {
            "entry": lambda entry: entry.id,
            "time": lambda entry: entry.time,
            "outcome": lambda entry: entry.outcome,
            "source": lambda entry: entry.source,
            "scopes": lambda entry: [str(step.scope) for step in entry.steps],
            "undoes": lambda entry: entry.undoes or "",
            "principal": lambda entry: entry.principal,
            "commands": lambda entry: [step.command for step in entry.steps],
        },
    )
