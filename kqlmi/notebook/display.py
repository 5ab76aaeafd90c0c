"""Drafts and plans as values for a view, as text, and as escaped HTML."""

from collections.abc import Iterable
from html import escape
from typing import Any

from kqlmi.errors import printable
from kqlmi.model.access import access, covered_by
from kqlmi.model.diff import Change
from kqlmi.model.draft import Cell, Draft
from kqlmi.model.entities import ALL, SYSTEM, Scope, known_usage
from kqlmi.model.plan import Plan
from kqlmi.model.policy import Snapshot
from kqlmi.model.workflows import WORKFLOWS

_UNKNOWN = "The catalogue does not know this usage; it is kept as it is."


def columns(draft: Draft) -> list[dict[str, Any]]:
    """Give the columns of the matrix: each usage with the workflows that it opens."""
    return [_column(usage) for usage in draft.usages]


def _column(usage: str) -> dict[str, Any]:
    known = known_usage(usage)
    # All opens every workflow; to list them once more would hide the column that a search is after.
    rows = [] if usage == ALL else [row for row in WORKFLOWS if row.usage == usage]
    return {
        "usage": printable(usage),
        "summary": known.summary if known else _UNKNOWN,
        "known": known is not None,
        "cluster_only": known is not None and known.cluster_only,
        "workflows": [{"title": row.title, "sure": row.sure} for row in rows],
    }


def rows(draft: Draft, more: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Give the rows of the matrix: each identity of the policies that were read, and ``more`` of them."""
    found = draft.read.identities
    names = sorted(found, key=lambda identity: (identity != SYSTEM, found[identity].display_name.casefold(), identity))
    names += [identity for identity in more if identity not in found]
    return [
        {
            "identity": identity,
            "name": label(draft.read, identity),
            "system": identity == SYSTEM,
            "cells": [_cell(draft.cell(identity, usage), draft.scope) for usage in draft.usages],
        }
        for identity in names
    ]


def label(snapshot: Snapshot, identity: str) -> str:
    """Give an identity's display name, or what stands in for one."""
    known = snapshot.identities.get(identity)
    name = printable(known.display_name) if known else ""
    return name or ("system" if identity == SYSTEM else "(no name)")


def _cell(cell: Cell, scope: Scope) -> dict[str, Any]:
    return {
        "granted": cell.granted,
        "allowed": cell.allowed,
        "state": state(cell, scope),
        "changed": cell.changed,
    }


def state(cell: Cell, scope: Scope) -> str:
    """Say what is special about a cell; a plain grant and an empty cell are not."""
    if cell.without_effect:
        return "no effect here" if cell.granted else ""
    names = [
        f"the {where}" if usage != ALL else ALL if where == scope else f"{ALL} at the {where}"
        for where, usage in cell.covered_by
    ]
    return ("redundant, " if cell.granted else "") + f"through {' and '.join(names)}" if names else ""


def plan(value: Plan, draft: Draft) -> dict[str, Any]:
    """Give the plan of a draft for a view: its summary, its changes, and the exact commands."""
    return {
        "id": value.id,
        "cluster": printable(value.cluster),
        "summary": value.summary,
        "revokes": sum(change.kind == "revoke" for change in value.changes),
        "changes": [
            {
                "kind": change.kind,
                "scope": str(change.scope),
                "name": label(draft.read, change.identity),
                "identity": change.identity,
                "usage": printable(change.usage),
                "note": _note(change, draft),
            }
            for change in value.changes
        ],
        "commands": [step.command for step in value.steps],
    }


def _note(change: Change, draft: Draft) -> str:
    """Say what a change does not do, as far as the policies that were read tell."""
    if change.effect != "effective":
        return change.effect if change.kind == "grant" else f"{change.effect}: what it allowed does not change"
    if change.kind == "grant" or not change.scope.is_cluster:
        return ""
    still = [
        str(scope)
        for scope in draft.wanted.policies
        if not scope.is_cluster and access(draft.wanted, change.identity, change.usage, scope).allowed
    ]
    return f"stays allowed in the {', '.join(still)}" if still else ""


def tick_text(draft: Draft, identity: str, usage: str) -> str:
    """Say what a tick opens, and where it does nothing."""
    name, opened = label(draft.read, identity), ", ".join(row["title"] for row in _column(usage)["workflows"])
    if draft.cell(identity, usage).without_effect:
        return f"{usage} counts in the cluster's policy only: in the {draft.scope} it has no effect."
    if usage == ALL:
        return f"{name}: All opens every workflow, those that do not exist yet included."
    return f"{name}: {printable(usage)} opens {opened or 'what this catalogue does not know'}."


def cover_text(draft: Draft, identity: str, usage: str) -> str:
    """Say why unticking a cell would not take the usage away."""
    through = covered_by(draft.wanted, draft.scope, identity, usage)
    who = f"{label(draft.read, identity)} may use {printable(usage)} in the {draft.scope}"
    return (
        f"{who}, because " + " and ".join(f"the policy of the {where} grants {name}" for where, name in through) + "."
    )


def mark(cell: dict[str, Any]) -> str:
    """Give a cell of the matrix as a word or two; nothing where nothing is allowed or granted."""
    return cell["state"] or ("granted" if cell["granted"] else "")


def _grid(draft: Draft) -> list[list[str]]:
    head = ["identity", "object ID", *map(printable, draft.usages)]
    body = [[row["name"], row["identity"], *map(mark, row["cells"])] for row in rows(draft)]
    return [head, *body]


def draft_text(draft: Draft, cluster: str) -> str:
    """Give the matrix as a text table, for where no widget can show."""
    grid = _grid(draft)
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
    return "\n".join([f"kqlmi panel: {printable(cluster)}, {draft.scope}", *lines])


def draft_html(draft: Draft, cluster: str) -> str:
    """Give the matrix as an escaped HTML table, for where no widget can show."""
    head, *body = _grid(draft)
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    caption = escape(f"{printable(cluster)}, {draft.scope}")
    return f"<table><caption>{caption}</caption><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
