"""A plan: the commands that lead from one snapshot to another, each with what stands before and after it."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from kqlmi.model import commands
from kqlmi.model.diff import Change, diff
from kqlmi.model.entities import Scope, usage_name
from kqlmi.model.policy import Entry, Policy, Snapshot

Verb = Literal["alter-merge", "alter", "delete"]
_SIGNS = {"grant": "+", "revoke": "-"}


@dataclass(frozen=True, slots=True)
class Step:
    """One command, with the policy that it must find and the policy that it must leave."""

    scope: Scope
    verb: Verb
    command: str
    before: Policy | None
    after: Policy | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a change, in the order in which they run.

    ``cluster`` names where. ``unchanged`` counts the grants that stay, in the scopes that the steps change.
    """

    cluster: str
    steps: tuple[Step, ...]
    unchanged: int

    @property
    def id(self) -> str:
        """Give a short name of exactly this plan."""
        text = "\0".join((self.cluster, *(f"{step.command}\0{step.before}" for step in self.steps)))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Give the changes of all steps."""
        return tuple(change for step in self.steps for change in step.changes)

    @property
    def revokes(self) -> bool:
        """Tell whether the plan takes anything away."""
        return any(change.kind == "revoke" for change in self.changes)

    @property
    def summary(self) -> str:
        """Give the counts on one line; grants that change nothing are counted apart."""
        effective = [change.kind for change in self.changes if change.effect == "effective"]
        parts = [f"{effective.count('grant')} to grant", f"{effective.count('revoke')} to revoke"]
        parts += [
            f"{count} {effect}"
            for effect in ("redundant", "without effect")
            if (count := sum(change.effect == effect for change in self.changes))
        ]
        return ", ".join([*parts, f"{self.unchanged} unchanged"])

    def __str__(self) -> str:
        """Give the summary, the changes and the commands, for people."""
        if not self.steps:
            return f"Nothing to do on {self.cluster}."
        lines = [f"Plan {self.id} on {self.cluster}: {self.summary}"]
        for step in self.steps:
            lines += ["", f"{step.scope}:", *(f"  {describe(change)}" for change in step.changes), "", step.command]
        return "\n".join(lines)


def describe(change: Change) -> str:
    """Give a change on one line: ``+ <identity> ExternalTable``, with its effect where it has less than a full one."""
    note = "" if change.effect == "effective" else f" ({change.effect})"
    return f"{_SIGNS[change.kind]} {change.identity} {change.usage}{note}"


def make_plan(current: Snapshot, desired: Snapshot, *, cluster: str = "") -> Plan:
    """Give the plan with the least forceful command for each scope of ``desired`` whose grants differ.

    Only grants: ``.alter-merge`` with just those, and these steps run first. A revoke: ``.alter`` with all that
    remains. No policy wanted: ``.delete``.
    """
    changes = diff(current, desired)
    steps = [
        _step(scope, current.policies[scope], after, tuple(change for change in changes if change.scope == scope))
        for scope, after in desired.policies.items()
        if current.policies[scope] != after
    ]
    wanted = sorted(filter(None, steps), key=lambda step: step.verb != "alter-merge")
    kept = sum(len(current.grants(step.scope) & desired.grants(step.scope)) for step in wanted)
    return Plan(cluster, tuple(wanted), kept)


def _step(scope: Scope, before: Policy | None, after: Policy | None, changes: tuple[Change, ...]) -> Step | None:
    if after is None:
        return Step(scope, "delete", commands.delete(scope), before, None, changes)
    if not changes:
        return None
    if any(change.kind == "revoke" for change in changes):
        return Step(scope, "alter", commands.alter(scope, after), before, after, changes)
    added = _only(after, {(change.identity, change.usage) for change in changes})
    return Step(
        scope,
        "alter-merge",
        commands.alter_merge(scope, added),
        before,
        (before or Policy.empty()).merge(added),
        changes,
    )


def _only(policy: Policy, grants: set[tuple[str, str]]) -> Policy:
    entries = (
        Entry(entry.object_id, kept, is_system=entry.is_system)
        for entry in policy.entries
        if (kept := tuple(usage for usage in entry.usages if (entry.identity, usage_name(usage)) in grants))
    )
    return Policy(tuple(entries))
