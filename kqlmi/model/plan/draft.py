"""An edit in progress: ticks on a snapshot, for one scope at a time."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from kqlmi.errors import InputError
from kqlmi.model.entities import ALL, ObjectId, Scope, object_id, usage_name
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.policy_plan import PolicyPlan, summary
from kqlmi.model.policy.access import covered_by, effect, without_effect
from kqlmi.model.policy.diff import Change
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.vocabulary import checked_usage
from kqlmi.report import counted, in_brackets

Tick = tuple[Scope, str, str]
"""A cell of a scope's matrix: the scope, the identity as it appears in grants, and the usage's name."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One identity × usage of the matrix.

    ``granted`` means that the scope's own policy grants the usage. ``covered_by`` are the grants, as (scope, usage), that
    allow it without that. ``changed`` means that the draft differs from what was read.
    """

    granted: bool
    covered_by: tuple[tuple[Scope, str], ...]
    without_effect: bool
    changed: bool

    @property
    def allowed(self) -> bool:
        """Check whether the identity may be used for the usage in the scope."""
        return bool(self.covered_by) or (self.granted and not self.without_effect)

    def state(self, scope: Scope) -> str:
        """Return in words how the usage is allowed or why a grant does nothing; empty for a plain grant and an empty cell."""
        names = [
            f"the {where}" if usage != ALL else ALL if where == scope else f"{ALL} at the {where}"
            for where, usage in self.covered_by
        ]
        plain = "no effect here" if self.without_effect else "redundant" if names else ""
        parts = [plain if self.granted else "", f"through {' and '.join(names)}" if names else ""]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """Ticks on the policies that were read; every change returns a new draft.

    ``ticks`` contains only the cells that differ from what was read, each with whether it is granted, so that the cost of
    a tick does not depend on the number of identities. ``directory`` defaults to the identities of the policies.
    """

    scope: Scope
    read: Snapshot
    ticks: Mapping[Tick, bool] = field(default_factory=dict)
    directory: Directory = field(default_factory=Directory, compare=False)

    def __post_init__(self) -> None:
        if not self.directory.identities:
            object.__setattr__(self, "directory", Directory.of(self.read))

    def __repr__(self) -> str:
        return in_brackets(f"Draft of the {self.scope}: {counted(len(self.ticks), 'change')}")

    @classmethod
    def start(cls, snapshot: Snapshot, scope: Scope) -> Self:
        """Return a draft without changes."""
        return cls(scope, snapshot)

    @property
    def usages(self) -> tuple[str, ...]:
        """Return the columns: the catalogue's usages, then the unknown usages in any of the policies."""
        known = tuple(usage.name for usage in USAGES)
        seen = self.read.usages.union(usage for _, _, usage in self.ticks)
        return known + tuple(sorted(seen.difference(known)))

    def granted(self, scope: Scope, identity: str, usage: str) -> bool:
        """Check whether a scope is to grant a usage to an identity, both as they appear in grants."""
        return self.ticks.get((scope, identity, usage), self.read.granted(scope, identity, usage))

    def cell(self, identity: str, usage: str) -> Cell:
        """Return the state of one identity × usage in the scope."""
        identity, usage = self._holder(identity), usage_name(usage)
        return Cell(
            granted=self.granted(self.scope, identity, usage),
            covered_by=covered_by(self, self.scope, identity, usage),
            without_effect=without_effect(self.scope, usage),
            changed=(self.scope, identity, usage) in self.ticks,
        )

    def tick(self, identity: str, usage: str) -> Self:
        """Return the draft with a grant of a usage, or of the usage that a workflow needs."""
        return self._set(self._holder(identity), {checked_usage(usage, self.usages): True})

    def untick(self, identity: str, usage: str) -> Self:
        """Return the draft without a grant.

        Raises:
            InputError: The usage would still be allowed through ``All`` in the same scope; use ``replace_all`` instead.
        """
        name = checked_usage(usage, self.usages)
        holder = self._holder(identity)
        if (self.scope, ALL) in covered_by(self, self.scope, holder, name):
            raise InputError(
                f"{holder} is allowed {name} through All, so unticking {name} would have no effect.",
                hint=f"Replace All with the usages to keep: replace_all({str(holder)!r}, without={name!r}).",
            )
        return self._set(holder, {name: False})

    def _holder(self, identity: str) -> ObjectId:
        return self.directory.key(object_id(identity))

    def kept_usages(self, without: str) -> tuple[str, ...]:
        """Return the known usages that ``replace_all`` grants instead of ``All``."""
        names = (usage.name for usage in USAGES)
        return tuple(name for name in names if name not in {ALL, without} and not without_effect(self.scope, name))

    def replace_all(self, identity: str, *, without: str) -> Self:
        """Return the draft with ``All``, which the scope must grant to the identity, replaced by every known usage but one."""
        name, holder = checked_usage(without, self.usages), self._holder(identity)
        if not self.granted(self.scope, holder, ALL):
            raise InputError(f"{holder} is not granted All in the {self.scope}.", hint="There is nothing to replace.")
        return self._set(holder, {ALL: False, name: False, **dict.fromkeys(self.kept_usages(name), True)})

    def at(self, scope: Scope) -> Self:
        """Return the draft at another scope; ticks in other scopes stay."""
        return replace(self, scope=scope)

    def rebase(self, snapshot: Snapshot, directory: Directory | None = None) -> Self:
        """Return the draft on policies that were read again or in addition, without the ticks that they already match.

        ``directory`` is the current directory. The entries of an earlier system identity are marked as such.
        """
        known = directory or self.directory.reading(snapshot)
        read = Snapshot({**self.read.policies, **snapshot.policies}).marking(known.earlier)
        new = replace(self, read=read, ticks={}, directory=known)
        ticks = {(scope, new.directory.key(identity), usage): on for (scope, identity, usage), on in self.ticks.items()}
        return replace(new, ticks={tick: on for tick, on in ticks.items() if new.granted(*tick) != on})

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return the changes that the ticks make, in the order of the ticks."""
        return tuple(
            Change("grant" if on else "revoke", scope, identity, usage, effect(self, scope, identity, usage))
            for (scope, identity, usage), on in self.ticks.items()
        )

    @property
    def summary(self) -> str:
        """Return the counts of the changes on one line, as ``plan().summary`` does; empty if there are none."""
        if not self.ticks:
            return ""
        count = sum(len(self.read.grants(scope)) for scope in self.scopes)
        return summary(self.changes, count - sum(not on for on in self.ticks.values()))

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Return the scopes that have ticks."""
        return tuple(dict.fromkeys(scope for scope, _, _ in self.ticks))

    def desired(self) -> Snapshot:
        """Return the policies that were read, with the draft's ticks applied."""
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
        """Return the plan from the policies that were read to the desired ones; ``names`` adds to the display names read."""
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
