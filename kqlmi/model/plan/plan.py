"""A plan: the commands that lead from one snapshot to another, each with what stands before and after it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from kqlmi.errors import printable
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope, usage_name
from kqlmi.model.plan.planid import SHOWN, plan_id
from kqlmi.model.policy import commands
from kqlmi.model.policy.access import covered_by
from kqlmi.model.policy.diff import Change, diff
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Grant, Policy, Property, Snapshot, grants_of

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

    @property
    def dropped(self) -> frozenset[Property]:
        """Return the unknown properties that are gone, or have another value, afterwards."""
        return _properties(self.before) - _properties(self.after)

    @property
    def added(self) -> frozenset[Property]:
        """Return the unknown properties that are new, or have another value, afterwards."""
        return _properties(self.after) - _properties(self.before)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a change, in the order in which they run.

    ``cluster`` names where, ``names`` gives display names by object ID, for people. ``unchanged`` counts the grants that
    stay, in the scopes that the steps change. ``undoes`` is the history entry that the plan undoes, empty for any other
    plan. ``covering`` are the grants of the cluster's policy by which changes in databases are redundant, where no step
    changes that policy.
    """

    cluster: str
    steps: tuple[Step, ...]
    unchanged: int
    undoes: str = ""
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    covering: tuple[Grant, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """Return everything that the plan does, as JSON values.

        What is read live, such as names, is not part of it, nor is ``undoes``: the same change has the same ID each time.
        """
        return {
            "cluster": self.cluster,
            "unchanged": self.unchanged,
            "covering": [list(grant) for grant in self.covering],
            "steps": [_content(step) for step in self.steps],
        }

    @property
    def id(self) -> str:
        """Return the name of exactly this change: its whole digest."""
        return plan_id(jsontext.dump(self.content))

    @property
    def short(self) -> str:
        """Return the ID as it is shown."""
        return self.id[:SHOWN]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Give the changes of all steps."""
        return tuple(change for step in self.steps for change in step.changes)

    @property
    def revokes(self) -> bool:
        """Check whether the plan takes anything away: a grant, or a property that nobody knows."""
        return any(step.dropped or any(change.kind == "revoke" for change in step.changes) for step in self.steps)

    @property
    def summary(self) -> str:
        """Give the counts on one line."""
        return summary(self.changes, self.unchanged)

    def describe(self, change: Change) -> str:
        """Give a change on one line: ``+ loader (<object ID>) ExternalTable``, and its effect where it is not full."""
        note = "" if change.effect == "effective" else f" ({change.effect})"
        return f"{'+' if change.kind == 'grant' else '-'} {self.who(change.identity)} {printable(change.usage)}{note}"

    def lines(self, step: Step) -> list[str]:
        """Return what a step changes, a line each: the grants, then the properties that nobody knows."""
        properties = [
            # Only between values does JSON that was written here have line breaks.
            f"{sign} {self.who(identity)} property {printable(name)}: {' '.join(map(str.strip, value.splitlines()))}"
            for sign, found in (("-", step.dropped), ("+", step.added))
            for identity, name, value in sorted(found)
        ]
        return [*map(self.describe, step.changes), *properties]

    def who(self, identity: str) -> str:
        """Give an identity for people: its display name, where one is known, and its object ID."""
        name = printable(self.names.get(identity, ""))
        return f"{name} ({identity})" if name else printable(identity)

    def __str__(self) -> str:
        if not self.steps:
            return f"Nothing to do on {printable(self.cluster)}."
        lines = [f"Plan {self.short} on {printable(self.cluster)}: {self.summary}"]
        for step in self.steps:
            lines += [
                "",
                f"{step.scope}:",
                *(f"  {line}" for line in self.lines(step)),
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
    """Return the plan with the least forceful command for each scope of ``desired`` that differs.

    Only grants: ``.alter-merge`` with just those. A revoke, or an unknown property that differs: ``.alter`` with all that
    remains. No policy wanted: ``.delete``. Over several scopes all grants go first, as ``.alter-merge``, so that nothing
    is missing in between. ``exactly`` makes an empty policy where there is none and one is wanted, though both grant the
    same. ``names`` adds to the display names that ``current`` knows.
    """
    moving = [
        scope for scope, after in desired.policies.items() if _moves(current.policies[scope], after, exactly=exactly)
    ]
    changes = diff(current, desired)
    steps = [
        step
        for scope in moving
        for step in _steps(
            scope,
            current.policies[scope],
            desired.policies[scope],
            tuple(change for change in changes if change.scope == scope),
            apart=len(moving) > 1,
        )
    ]
    steps.sort(key=lambda step: step.verb != "alter-merge")
    kept = sum(len(current.grants(scope) & desired.grants(scope)) for scope in moving)
    described = {identity: one.display_name for identity, one in current.identities.items() if one.display_name}
    return Plan(cluster, tuple(steps), kept, undoes, {**names, **described}, _covering(desired, steps))


def _moves(before: Policy | None, after: Policy | None, *, exactly: bool) -> bool:
    """Check whether a command leads from one policy to another that is not the same."""
    if before is after:  # as in most databases of a panel
        return False
    if before is None or after is None:
        return bool(after is None or exactly or after.grants)
    return (before.grants, before.properties) != (after.grants, after.properties)


def _covering(desired: Snapshot, steps: Iterable[Step]) -> tuple[Grant, ...]:
    """Return the grants of the cluster's policy that make changes of ``steps`` redundant, unless a step changes it."""
    if any(step.scope.is_cluster for step in steps):
        return ()
    changes = (change for step in steps for change in step.changes if change.effect == "redundant")
    found = {
        (change.identity, usage)
        for change in changes
        for where, usage in covered_by(desired, change.scope, change.identity, change.usage)
        if where.is_cluster
    }
    return tuple(sorted(found))


def _steps(
    scope: Scope, before: Policy | None, after: Policy | None, changes: tuple[Change, ...], *, apart: bool
) -> Iterator[Step]:
    """Yield the steps of one scope; ``apart`` has its grants go before the rest, in a command of their own."""
    if after is None:
        yield Step(scope, "delete", commands.delete(scope), before, None, changes)
        return
    grants = tuple(change for change in changes if change.kind == "grant")
    merge = _merge(scope, before, after, grants)
    if grants and (grants_of(merge.after), _properties(merge.after)) == (after.grants, after.properties):
        yield merge
    elif grants and apart:
        rest = tuple(change for change in changes if change.kind == "revoke")
        yield merge
        yield Step(scope, "alter", commands.alter(scope, after), merge.after, after, rest)
    else:
        yield Step(scope, "alter", commands.alter(scope, after), before, after, changes)


def _merge(scope: Scope, before: Policy | None, after: Policy, grants: tuple[Change, ...]) -> Step:
    found, new = before or Policy.empty(), {(change.identity, change.usage) for change in grants}
    merged = found.merge(_only(after, new, found))
    # Of what it leads to, so that the same policies give the same command, however the wanted one was written.
    added = _only(merged, new, found)
    return Step(scope, "alter-merge", commands.alter_merge(scope, added), before, merged, grants)


def _only(policy: Policy, grants: set[Grant], before: Policy) -> Policy:
    """Return the part of a policy that grants ``grants``, with the properties of objects that are new."""
    entries = (
        Entry(
            entry.object_id,
            kept,
            is_system=entry.is_system,
            # What others wrote into an object that is there meanwhile must not be reverted.
            extra=() if entry.identity in before.holdings else entry.extra,
            is_earlier=entry.is_earlier,
        )
        for entry in policy.entries
        if (kept := tuple(usage for usage in entry.usages if (entry.identity, usage_name(usage)) in grants))
    )
    return Policy(tuple(entries))


def _properties(policy: Policy | None) -> frozenset[Property]:
    return policy.properties if policy else frozenset()


def _content(step: Step) -> dict[str, Any]:
    changes = [
        {"kind": change.kind, "identity": change.identity, "usage": change.usage, "effect": change.effect}
        for change in step.changes
    ]
    return {
        "scope": step.scope.name,
        "verb": step.verb,
        "command": step.command,
        "before": step.before.records if step.before else None,
        "after": step.after.records if step.after else None,
        "changes": changes,
    }
