"""A plan: the commands that lead from one snapshot to another, each with what stands before and after it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from kqlmi.errors import printable
from kqlmi.model import commands
from kqlmi.model.diff import Change, diff
from kqlmi.model.entities import Scope, usage_name
from kqlmi.model.policy import Entry, Grant, Policy, Snapshot

Verb = Literal["alter-merge", "alter", "delete"]


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

    ``cluster`` names where, ``names`` gives display names by object ID, for people. ``unchanged`` counts the grants that
    stay, in the scopes that the steps change. ``undoes`` is the history entry that the plan takes back, empty for any
    other plan.
    """

    cluster: str
    steps: tuple[Step, ...]
    unchanged: int
    undoes: str = ""
    names: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def id(self) -> str:
        """Give a short name of exactly this change: the cluster, the commands, and the policies around them."""
        states = (f"{step.command}\0{step.before}\0{step.after}" for step in self.steps)
        text = "\0".join((self.cluster, *states))
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
        """Give the counts on one line."""
        return summary(self.changes, self.unchanged)

    def describe(self, change: Change) -> str:
        """Give a change on one line: ``+ loader (<object ID>) ExternalTable``, and its effect where it is not full."""
        note = "" if change.effect == "effective" else f" ({change.effect})"
        return f"{'+' if change.kind == 'grant' else '-'} {self.who(change.identity)} {printable(change.usage)}{note}"

    def who(self, identity: str) -> str:
        """Give an identity for people: its display name, where one is known, and its object ID."""
        name = printable(self.names.get(identity, ""))
        return f"{name} ({identity})" if name else printable(identity)

    def __str__(self) -> str:
        """Give the summary, the changes and the commands, for people."""
        if not self.steps:
            return f"Nothing to do on {printable(self.cluster)}."
        lines = [f"Plan {self.id} on {printable(self.cluster)}: {self.summary}"]
        for step in self.steps:
            lines += [
                "",
                f"{step.scope}:",
                *(f"  {self.describe(change)}" for change in step.changes),
                "",
                step.command,
            ]
        return "\n".join(lines)


def summary(changes: Iterable[Change], unchanged: int) -> str:
    """Give the counts of changes on one line; those without an effect are counted apart."""
    kinds = Counter((change.kind if change.effect == "effective" else change.effect) for change in changes)
    parts = [f"{kinds['grant']} to grant", f"{kinds['revoke']} to revoke"]
    parts += [f"{kinds[effect]} {effect}" for effect in ("redundant", "without effect") if kinds[effect]]
    return ", ".join([*parts, f"{unchanged} unchanged"])


def make_plan(
    current: Snapshot,
    desired: Snapshot,
    *,
    cluster: str = "",
    exactly: bool = False,
    undoes: str = "",
    names: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Give the plan with the least forceful command for each scope of ``desired`` whose grants differ.

    Only grants: ``.alter-merge`` with just those. A revoke: ``.alter`` with all that remains. No policy wanted:
    ``.delete``. Over several scopes all grants go first, as ``.alter-merge``, so that nothing is missing in between.
    ``exactly`` makes an empty policy where there is none and one is wanted, though both grant the same. ``names`` adds
    to the display names that ``current`` knows.
    """
    changed = [scope for scope, after in desired.policies.items() if current.policies[scope] != after]
    changes = diff(current, desired)
    steps = [
        step
        for scope in changed
        for step in _steps(
            scope,
            current.policies[scope],
            desired.policies[scope],
            tuple(change for change in changes if change.scope == scope),
            apart=len(changed) > 1,
            exactly=exactly,
        )
    ]
    steps.sort(key=lambda step: step.verb != "alter-merge")
    scopes = dict.fromkeys(step.scope for step in steps)
    kept = sum(len(current.grants(scope) & desired.grants(scope)) for scope in scopes)
    described = {identity: one.display_name for identity, one in current.identities.items() if one.display_name}
    return Plan(cluster, tuple(steps), kept, undoes, {**names, **described})


def _steps(
    scope: Scope,
    before: Policy | None,
    after: Policy | None,
    changes: tuple[Change, ...],
    *,
    apart: bool,
    exactly: bool,
) -> Iterator[Step]:
    """Give the steps of one scope; ``apart`` has its grants go before its revokes, in a command of their own."""
    if after is None:
        yield Step(scope, "delete", commands.delete(scope), before, None, changes)
        return
    grants = tuple(change for change in changes if change.kind == "grant")
    revokes = tuple(change for change in changes if change.kind == "revoke")
    if revokes and grants and apart:
        merge = _merge(scope, before, after, grants)
        yield merge
        yield Step(scope, "alter", commands.alter(scope, after), merge.after, after, revokes)
    elif revokes or (exactly and before is None and not grants):
        yield Step(scope, "alter", commands.alter(scope, after), before, after, changes)
    elif grants:
        yield _merge(scope, before, after, grants)


def _merge(scope: Scope, before: Policy | None, after: Policy, grants: tuple[Change, ...]) -> Step:
    added = _only(after, {(change.identity, change.usage) for change in grants})
    merged = (before or Policy.empty()).merge(added)
    return Step(scope, "alter-merge", commands.alter_merge(scope, added), before, merged, grants)


def _only(policy: Policy, grants: set[Grant]) -> Policy:
    """Give the part of a policy that grants ``grants``, with what a new object carries besides."""
    entries = (
        Entry(entry.object_id, kept, is_system=entry.is_system, extra=entry.extra, is_earlier=entry.is_earlier)
        for entry in policy.entries
        if (kept := tuple(usage for usage in entry.usages if (entry.identity, usage_name(usage)) in grants))
    )
    return Policy(tuple(entries))
