"""The texts of the panel about cells, ticks and plans."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kqlmi.errors import printable
from kqlmi.model.entities import ALL, SYSTEM, Identity, Scope
from kqlmi.model.kql.tokenizer import tokens
from kqlmi.model.plan.draft import Draft
from kqlmi.model.plan.listing import NO_NAME
from kqlmi.model.plan.planfile import to_request
from kqlmi.model.plan.policy_plan import PolicyPlan, is_wide
from kqlmi.model.policy.access import access
from kqlmi.model.policy.diff import Change
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.session.whoami import Denial

_MOST = 12


def label(identity: Identity | None) -> str:
    """Return an identity's display name, or a substitute."""
    name = printable(identity.display_name if identity else "")
    return name or ("system" if identity and identity.object_id == SYSTEM else NO_NAME)


def denial(value: Denial) -> dict[str, Any]:
    """Return why policies may not be changed, and what to do instead."""
    todo = "Tick what is needed, press Preview, and send an administrator the request that you can copy there."
    if value.certain:  # the session was opened so
        todo = "To apply changes, connect without --read-only. Preview still shows the plan, and a request to copy."
    return {"reason": value.reason, "certain": value.certain, "todo": todo}


def tick(draft: Draft, name: str, identity: str, usage: str) -> dict[str, str]:
    """Return a status with the workflows that a tick enables, or why it has no effect; a warning if it is broad."""
    if draft.cell(identity, usage).without_effect:
        text = f"{usage} has an effect only in the cluster's policy, not in the {draft.scope}."
        return {"kind": "note", "text": text, "hint": ""}
    enabled = (
        ", ".join(row.title for row in WORKFLOWS if row.usage == usage) or "workflows that are not in the catalogue"
    )
    if usage == ALL:
        enabled = "every workflow, including future ones"
    wide = is_wide(draft.scope, usage)
    where = f", in every database, including future ones, as it is granted in the policy of the {draft.scope}"
    text = f"{name}: {printable(usage)} enables {enabled}{where if wide else ''}."
    broad = wide or usage == ALL
    hint = "Narrower: tick single usages, in the databases that need them." if broad else ""
    return {"kind": "warning" if broad else "note", "text": text, "hint": hint}


def cover(name: str, scope: Scope, usage: str, through: Iterable[tuple[Scope, str]]) -> str:
    """Return why unticking a cell would not revoke the usage."""
    grants = " and ".join(f"the policy of the {where} grants {granted}" for where, granted in through)
    return f"{name} may use {printable(usage)} in the {scope}, because {grants}."


def where(name: str, usage: str, grants: list[str]) -> str:
    """Return which grants in the policies that were read allow a usage to an identity."""
    more = len(grants) - _MOST
    rest = f"; and {more} more" if more > 0 else ""
    if not grants:
        return f"No policy that was read allows {printable(usage)} for {name}."
    return f"{name} may use {printable(usage)}, granted by the policy of: {'; '.join(grants[:_MOST])}{rest}."


def plan(value: PolicyPlan, wanted: Snapshot, unread: int) -> dict[str, Any]:
    """Return a plan for a view: its summary, its changes, and the exact commands as (kind, text) pieces.

    ``wanted`` contains the policies after the plan; ``unread`` is the number of databases that are not in it.
    """
    return {
        "id": value.id,
        "short": value.short,
        "cluster": printable(value.cluster),
        "summary": value.summary,
        "undoes": value.undoes,
        "revokes": sum(change.kind == "revoke" for change in value.changes)
        + sum(len(one.dropped) for one in value.steps),
        "warnings": list(value.warnings),
        "changes": [
            {
                "kind": change.kind,
                "scope": str(change.scope),
                "who": value.who(change.identity),
                "usage": printable(change.usage),
                "note": _note(change, wanted, unread),
            }
            for change in value.changes
        ]
        + [
            {"kind": kind, "scope": str(step.scope), "who": value.who(identity), "usage": printable(name), "note": note}
            for step in value.steps
            for kind, note, found in (("revoke", "a property", step.dropped), ("grant", "a property", step.added))
            for identity, name, _ in sorted(found)
        ],
        "steps": [
            {"scope": str(step.scope), "command": step.command, "pieces": pieces(step.command)} for step in value.steps
        ],
        "request": to_request(value),
    }


def progress(value: PolicyPlan, outcomes: Sequence[str]) -> list[dict[str, str]]:
    """Return the steps of a plan with their outcomes, which are empty for steps not run yet."""
    known = [*outcomes, *[""] * (len(value.steps) - len(outcomes))]
    return [{"scope": str(step.scope), "outcome": one} for step, one in zip(value.steps, known, strict=True)]


def change(value: Change, names: Mapping[str, str]) -> str:
    """Return a change that another user made, on one line."""
    name = printable(names.get(value.identity, "")) or NO_NAME
    sign = "+" if value.kind == "grant" else "-"
    return f"{sign} {name} ({value.identity}) {printable(value.usage)} in the {value.scope}"


def _note(change: Change, wanted: Snapshot, unread: int) -> str:
    """Return the limits of a change's effect, according to the policies that were read."""
    if change.effect != "effective":
        return change.effect if change.kind == "grant" else f"{change.effect}: what is allowed does not change"
    if change.kind == "grant":
        return ""
    if not change.scope.is_cluster:
        read = Scope.cluster() in wanted.policies
        return "" if read else "the policy of the cluster was not read: the usage may stay allowed"
    still = [
        str(scope)
        for scope in wanted.policies
        if not scope.is_cluster and access(wanted, change.identity, change.usage, scope).allowed
    ]
    notes = [f"stays allowed in the {', '.join(still)}"] if still else []
    return "; ".join(notes + ([f"{unread} databases were not read"] if unread else []))


def pieces(command: str) -> list[list[str]]:
    """Return a command split into pieces, each with its kind: ``word``, ``literal``, or an empty string."""
    found: list[list[str]] = []
    end = 0
    for token in tokens(command):
        kind = token.kind if token.kind in {"word", "literal"} else ""
        if token.start > end or not found or found[-1][0] != kind:
            found.append([kind, ""])
        found[-1][1] += command[end : token.end]
        end = token.end
    return [*found, ["", command[end:]]] if command[end:] else found
