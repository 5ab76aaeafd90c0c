"""A plan over policies: the commands that lead from one snapshot to another, each with the policy before and after it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kqlmi.errors import printable
from kqlmi.model import jsontext
from kqlmi.model.entities import ALL, Scope, known_usage
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy import commands
from kqlmi.model.policy.diff import Change
from kqlmi.model.policy.policy import Grant, Policy, Property
from kqlmi.report import Code, Line, Mark, Names, Report, Section

# Angle quotation marks cannot be in the name of a database.
_EACH: Final = Scope.database("\u2039each\u203a")
Verb = Literal["alter-merge", "alter", "delete"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command, with the policy that is expected before it and the policy that results from it."""

    scope: Scope
    verb: Verb
    command: str
    before: Policy | None
    after: Policy | None
    changes: tuple[Change, ...]

    @property
    def removes(self) -> bool:
        """Check whether the step removes a grant, an unknown property or a policy."""
        return bool(self.verb == "delete" or self.dropped or any(change.kind == "revoke" for change in self.changes))

    @property
    def template(self) -> str:
        """Return the command with a placeholder for the database; empty if it is not a command on a database."""
        own, each = (f".{self.verb} {commands.target(scope)} " for scope in (self.scope, _EACH))
        is_on_database = self.scope.name is not None and self.command.startswith(own)
        return each + self.command.removeprefix(own) if is_on_database else ""

    @property
    def dropped(self) -> frozenset[Property]:
        """Return the unknown properties that the step removes or changes, with their old values."""
        return _properties(self.before) - _properties(self.after)

    @property
    def added(self) -> frozenset[Property]:
        """Return the unknown properties that the step adds or changes, with their new values."""
        return _properties(self.after) - _properties(self.before)


@dataclass(frozen=True, slots=True, repr=False)
class PolicyPlan(Plan):
    """The steps of a change, in the order in which they run.

    ``cluster`` is the name of the session, and ``names`` contains display names by object ID. ``unchanged`` counts the
    grants that stay in the scopes that the steps change. ``undoes`` is the history entry that the plan undoes, empty for
    any other plan. ``covering`` are the grants of the cluster's policy that make changes in databases redundant, empty if
    a step changes that policy.
    """

    cluster: str
    # Without field(), the property of Plan would be the default.
    steps: tuple[Step, ...] = field()
    unchanged: int
    undoes: str = ""
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    covering: tuple[Grant, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """Return everything that the plan does, without ``names`` and ``undoes``, so that equal changes have equal IDs."""
        return {
            "cluster": self.cluster,
            "unchanged": self.unchanged,
            "covering": [list(grant) for grant in self.covering],
            "steps": [_content(step) for step in self.steps],
        }

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return the changes of all steps."""
        return tuple(change for step in self.steps for change in step.changes)

    @property
    def revokes(self) -> bool:
        """Check whether the plan removes anything: a grant, or an unknown property."""
        return any(step.dropped or any(change.kind == "revoke" for change in step.changes) for step in self.steps)

    @property
    def summary(self) -> str:
        """Return the counts on one line."""
        return summary(self.changes, self.unchanged)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for each grant of ``All``, and for each grant to all databases that could be to single ones."""
        reaches = ((self.who(one.identity), _reach(one)) for one in self.changes if one.kind == "grant")
        return tuple(dict.fromkeys(f"{who}: {' and '.join(reach)}." for who, reach in reaches if reach))

    def lines(self, step: Step) -> tuple[Line, ...]:
        """Return a line for each change of a step: grants, with their effect if it is limited, and unknown properties."""
        changes = (
            Line(
                f"{self.who(one.identity)} {one.usage}{'' if one.effect == 'effective' else f' ({one.effect})'}",
                "+" if one.kind == "grant" else "-",
            )
            for one in step.changes
        )
        signed: tuple[tuple[Mark, frozenset[Property]], ...] = (("-", step.dropped), ("+", step.added))
        properties = (
            # kqlmi writes JSON with line breaks only between values.
            Line(f"{self.who(identity)} property {name}: {' '.join(map(str.strip, value.splitlines()))}", sign)
            for sign, found in signed
            for identity, name, value in sorted(found)
        )
        return (*changes, *properties)

    def who(self, identity: str) -> str:
        """Return an identity for display: its display name, if known, and its object ID."""
        name = printable(self.names.get(identity, ""))
        return f"{name} ({identity})" if name else printable(identity)

    def report(self) -> Report:
        """Return a report of the plan with identical steps as one; the steps that remove something come first, each on its own."""
        groups = identical(self.steps)
        first = sorted(groups, key=lambda group: not group[0].removes)
        return self._described(first, () if groups == first else ("The grants run before the revokes.",))

    def full(self) -> Report:
        """Return a report of the plan with the changes and the command of each step, in the order in which the steps run."""
        return self._described([[step] for step in self.steps])

    def _described(self, groups: Iterable[Sequence[Step]], notes: tuple[str, ...] = ()) -> Report:
        if not self.steps:
            return Report(f"Nothing to do on {self.cluster}.")
        warnings = (Line(one, "warning") for one in self.warnings)
        return Report(self.title, self.summary, (*warnings, *(_section(self, steps) for steps in groups)), notes)


def identical(steps: Iterable[Step]) -> list[list[Step]]:
    """Return the steps in groups of those that are identical except for the database; one that removes something is alone."""
    groups: dict[object, list[Step]] = {}
    for place, step in enumerate(steps):
        template = "" if step.removes else step.template
        made = tuple((change.identity, change.usage, change.effect) for change in step.changes)
        # A command with the whole policy is identical only if it replaces the same one.
        replaced = "" if step.verb == "alter-merge" else jsontext.dump(step.before and step.before.records)
        groups.setdefault((template, made, step.added, replaced) if template else place, []).append(step)
    return [*groups.values()]


def is_wide(scope: Scope, usage: str) -> bool:
    """Check whether a grant could be made in single databases, but is made for all of them."""
    known = known_usage(usage)
    return scope.is_cluster and not (known is not None and known.cluster_only)


def _reach(change: Change) -> list[str]:
    """Return how far a grant reaches beyond one usage in one database."""
    every = ["All allows every usage, including future ones"] * (change.usage == ALL)
    wide = f"{printable(change.usage)} is granted in every database of the cluster, including future ones"
    return every + [wide] * is_wide(change.scope, change.usage)


def _section(plan: PolicyPlan, steps: Sequence[Step]) -> Section:
    """Return the description of identical steps."""
    first, *others = steps
    if not others:
        return Section(str(first.scope), (*plan.lines(first), Code(first.command)))
    names = Names("in", tuple(step.scope.name or "" for step in steps))
    return Section(f"{len(steps):,} databases", (*plan.lines(first), names, Code(first.template)))


def summary(changes: Iterable[Change], unchanged: int) -> str:
    """Return the counts of changes on one line; redundant changes and those without effect are counted separately."""
    kinds = Counter((change.kind if change.effect == "effective" else change.effect) for change in changes)
    parts = [f"{kinds['grant']} to grant", f"{kinds['revoke']} to revoke"]
    parts += [f"{kinds[effect]} {effect}" for effect in ("redundant", "without effect") if kinds[effect]]
    return ", ".join([*parts, f"{unchanged} unchanged"])


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
