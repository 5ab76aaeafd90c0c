"""An edit in progress: ticks over a snapshot, for one scope at a time."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from kqlmi.errors import InputError
from kqlmi.model.entities import ALL, ObjectId, Scope, checked_usage, did_you_mean, object_id, usage_name
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.policy_plan import PolicyPlan, summary
from kqlmi.model.policy.access import covered_by, effect, without_effect
from kqlmi.model.policy.diff import Change
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS

Tick = tuple[Scope, str, str]
"""A cell of a scope's matrix: the scope, the identity as grants compare it, and the usage's name."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One identity × usage of the matrix.

    ``granted`` is a plain grant in the scope itself. ``covered_by`` are the grants, as (scope, usage), that allow the
    usage without it. ``changed`` tells that the draft differs from what was read.
    """

    granted: bool
    covered_by: tuple[tuple[Scope, str], ...]
    without_effect: bool
    changed: bool

    @property
    def allowed(self) -> bool:
        """Tell whether the identity may be used for the usage in the scope."""
        return bool(self.covered_by) or (self.granted and not self.without_effect)

    def state(self, scope: Scope) -> str:
        """Return what is special about the cell in its scope, in words; a plain grant and an empty cell are not."""
        names = [
            f"the {where}" if usage != ALL else ALL if where == scope else f"{ALL} at the {where}"
            for where, usage in self.covered_by
        ]
        plain = "no effect here" if self.without_effect else "redundant" if names else ""
        parts = [plain if self.granted else "", f"through {' and '.join(names)}" if names else ""]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Draft:
    """Ticks over the policies that were read; every change gives a new draft.

    ``ticks`` holds what is wanted otherwise than read, as (scope, identity, usage): whether it is granted. So a tick costs
    the same however many identities there are. ``directory`` is who is who, by default as the policies know it.
    """

    scope: Scope
    read: Snapshot
    ticks: Mapping[Tick, bool] = field(default_factory=dict)
    directory: Directory = field(default_factory=Directory, compare=False)

    def __post_init__(self) -> None:
        if not self.directory.identities:
            object.__setattr__(self, "directory", Directory.of(self.read))

    @classmethod
    def start(cls, snapshot: Snapshot, scope: Scope) -> Self:
        """Begin with what was read."""
        return cls(scope, snapshot)

    @property
    def usages(self) -> tuple[str, ...]:
        """Give the columns: the catalogue, then the unknown usages that any of the policies holds."""
        known = tuple(usage.name for usage in USAGES)
        seen = self.read.usages.union(usage for _, _, usage in self.ticks)
        return known + tuple(sorted(seen.difference(known)))

    def granted(self, scope: Scope, identity: str, usage: str) -> bool:
        """Check whether a scope is to grant a usage to an identity, both as grants compare them."""
        return self.ticks.get((scope, identity, usage), self.read.granted(scope, identity, usage))

    def cell(self, identity: str, usage: str) -> Cell:
        """Give the state of one identity × usage in the scope."""
        identity, usage = self._holder(identity), usage_name(usage)
        return Cell(
            granted=self.granted(self.scope, identity, usage),
            covered_by=covered_by(self, self.scope, identity, usage),
            without_effect=without_effect(self.scope, usage),
            changed=(self.scope, identity, usage) in self.ticks,
        )

    def tick(self, identity: str, *, usage: str = "", workflow: str = "") -> Self:
        """Give the draft with a grant, named by its usage or by a workflow that needs it (its ID or title)."""
        name = self._usage(usage, workflow)
        return self._set(self._holder(identity), {name: True})

    def untick(self, identity: str, *, usage: str = "", workflow: str = "") -> Self:
        """Give the draft without a grant.

        Raises:
            InputError: The usage would stay allowed through ``All`` in the same scope: use ``replace_all``.
        """
        name = self._usage(usage, workflow)
        holder = self._holder(identity)
        if (self.scope, ALL) in covered_by(self, self.scope, holder, name):
            raise InputError(
                f"{holder} may use {name} through All, so unticking {name} would change nothing.",
                hint=f"Replace All by the usages to keep: replace_all({str(holder)!r}, without={name!r}).",
            )
        return self._set(holder, {name: False})

    def _holder(self, identity: str) -> ObjectId:
        return self.directory.key(object_id(identity))

    def kept_usages(self, without: str) -> tuple[str, ...]:
        """Give the known usages that ``replace_all`` grants in place of ``All``."""
        names = (usage.name for usage in USAGES)
        return tuple(name for name in names if name not in {ALL, without} and not without_effect(self.scope, name))

    def replace_all(self, identity: str, *, without: str) -> Self:
        """Return the draft in which every known usage but one replaces ``All``, which the identity must hold in the scope."""
        name, holder = self._usage(without, ""), self._holder(identity)
        if not self.granted(self.scope, holder, ALL):
            raise InputError(f"{holder} does not hold All in the {self.scope}.", hint="There is nothing to replace.")
        return self._set(holder, {ALL: False, name: False, **dict.fromkeys(self.kept_usages(name), True)})

    def at(self, scope: Scope) -> Self:
        """Give the draft at another scope that was read; ticks elsewhere stay."""
        return replace(self, scope=scope)

    def rebase(self, snapshot: Snapshot, directory: Directory | None = None) -> Self:
        """Return the draft over policies that were read anew or in addition; a tick that they meet already goes.

        ``directory`` is who is who by now. The entries of an earlier system identity are kept apart.
        """
        known = directory or self.directory.reading(snapshot)
        read = Snapshot({**self.read.policies, **snapshot.policies}).marking(known.earlier)
        new = replace(self, read=read, ticks={}, directory=known)
        ticks = {(scope, new.directory.key(identity), usage): on for (scope, identity, usage), on in self.ticks.items()}
        return replace(new, ticks={tick: on for tick, on in ticks.items() if new.granted(*tick) != on})

    @property
    def changes(self) -> tuple[Change, ...]:
        """Give the changes that the ticks make, in the order in which they were made."""
        return tuple(
            Change("grant" if on else "revoke", scope, identity, usage, effect(self, scope, identity, usage))
            for (scope, identity, usage), on in self.ticks.items()
        )

    @property
    def summary(self) -> str:
        """Give the counts of the changes on one line, as ``plan().summary`` would, and empty without any."""
        if not self.ticks:
            return ""
        count = sum(len(self.read.grants(scope)) for scope in self.scopes)
        return summary(self.changes, count - sum(not on for on in self.ticks.values()))

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Give the scopes that have ticks."""
        return tuple(dict.fromkeys(scope for scope, _, _ in self.ticks))

    def desired(self) -> Snapshot:
        """Give the wanted policies."""
        policies = dict(self.read.policies)
        for scope in self.scopes:
            read = policies[scope]
            policy = read or Policy.empty()
            ticked: dict[str, list[str]] = defaultdict(list)
            for where, identity, usage in self.ticks:
                if where == scope:
                    ticked[identity].append(usage)
            wanted = {
                identity: [
                    one for one in (*policy.holdings.get(identity, ()), *usages) if self.granted(scope, identity, one)
                ]
                for identity, usages in ticked.items()
            }
            after = policy.holding(wanted)
            policies[scope] = after if after.entries or read is not None else None
        return Snapshot(policies)

    def plan(self, cluster: str = "", names: Mapping[str, str] = MappingProxyType({})) -> PolicyPlan:
        """Give the plan that leads from what was read to what is wanted; ``names`` adds to the display names read."""
        return make_plan(self.read, self.desired(), cluster=cluster, names=names)

    def _set(self, identity: ObjectId, usages: Mapping[str, bool]) -> Self:
        if self.scope not in self.read.policies:
            raise InputError(f"The policy of the {self.scope} was not read.", hint="Read it before you change it.")
        ticks = dict(self.ticks)
        for usage, on in usages.items():
            ticks.pop((self.scope, identity, usage), None)
            if self.read.granted(self.scope, identity, usage) != on:
                ticks[self.scope, identity, usage] = on
        return replace(self, ticks=ticks)

    def _usage(self, usage: str, workflow: str) -> str:
        if bool(usage) == bool(workflow):
            raise InputError(
                "Name either a usage or a workflow.", hint="tick(identity, usage=…) or tick(identity, workflow=…)."
            )
        if usage:
            return checked_usage(usage, self.usages)
        for row in WORKFLOWS:
            if workflow.casefold() in {row.id.casefold(), row.title.casefold()}:
                return row.usage
        raise InputError(
            f"Workflow {workflow!r} is not known.", hint=did_you_mean(workflow, [row.title for row in WORKFLOWS])
        )
