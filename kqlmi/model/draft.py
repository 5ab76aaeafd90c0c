"""An edit in progress: ticks over a snapshot, for one scope at a time."""

from dataclasses import dataclass, replace
from typing import Self

from kqlmi.errors import InputError
from kqlmi.model.access import covered_by, without_effect
from kqlmi.model.entities import ALL, ObjectId, Scope, checked_usage, did_you_mean, object_id, usage_name
from kqlmi.model.plan import Plan, make_plan
from kqlmi.model.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS


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


@dataclass(frozen=True, slots=True)
class Draft:
    """The policies that were read, and those that are wanted; every change gives a new draft."""

    scope: Scope
    read: Snapshot
    wanted: Snapshot

    @classmethod
    def start(cls, snapshot: Snapshot, scope: Scope) -> Self:
        """Begin with what was read."""
        return cls(scope, snapshot, snapshot)

    @property
    def usages(self) -> tuple[str, ...]:
        """Give the columns: the catalogue, then the unknown usages that any of the policies holds."""
        known = tuple(usage.name for usage in USAGES)
        seen = {
            usage for scope in self.wanted.policies for _, usage in self.wanted.grants(scope) | self.read.grants(scope)
        }
        return known + tuple(sorted(seen.difference(known)))

    def cell(self, identity: str, usage: str) -> Cell:
        """Give the state of one identity × usage in the scope."""
        grant = (self.holder(identity), usage_name(usage))
        identity, usage = grant
        granted = grant in self.wanted.grants(self.scope)
        return Cell(
            granted=granted,
            covered_by=covered_by(self.wanted, self.scope, identity, usage),
            without_effect=without_effect(self.scope, usage),
            changed=granted != (grant in self.read.grants(self.scope)),
        )

    def tick(self, identity: str, *, usage: str = "", workflow: str = "") -> Self:
        """Give the draft with a grant, named by its usage or by a workflow that needs it (its ID or title)."""
        name = self._usage(usage, workflow)
        return self._set(self._policy.grant(self.holder(identity), name, also=self.usages))

    def untick(self, identity: str, *, usage: str = "", workflow: str = "") -> Self:
        """Give the draft without a grant.

        Raises:
            InputError: The usage would stay allowed through ``All`` in the same scope: use ``replace_all``.
        """
        name = self._usage(usage, workflow)
        holder = self.holder(identity)
        if (self.scope, ALL) in covered_by(self.wanted, self.scope, holder, name):
            raise InputError(
                f"{holder} may use {name} through All, so unticking {name} would change nothing.",
                hint=f"Replace All by the usages to keep: replace_all({str(holder)!r}, without={name!r}).",
            )
        return self._set(self._policy.revoke(holder, name, also=self.usages))

    def holder(self, identity: str) -> ObjectId:
        """Give an identity as grants compare it; the system identity's own GUID, where a policy tells it, is ``system``."""
        found = object_id(identity)
        same = (one.object_id for one in self.read.identities.values() if found == one.principal_id)
        return next(same, found)

    def kept_usages(self, without: str) -> tuple[str, ...]:
        """Give the known usages that ``replace_all`` grants in place of ``All``."""
        names = (usage.name for usage in USAGES)
        return tuple(name for name in names if name not in {ALL, without} and not without_effect(self.scope, name))

    def replace_all(self, identity: str, *, without: str) -> Self:
        """Give the draft in which ``All`` is replaced by every known usage but one; future usages end.

        Raises:
            InputError: The identity does not hold ``All`` in the scope.
        """
        name, identity = self._usage(without, ""), self.holder(identity)
        if (identity, ALL) not in self.wanted.grants(self.scope):
            raise InputError(f"{identity} does not hold All in the {self.scope}.", hint="There is nothing to replace.")
        policy = self._policy.revoke(identity, name, also=self.usages) if name != ALL else self._policy
        # The grants go first: an identity that holds only All would otherwise lose its object, extra properties included.
        return self._set(policy.grant(identity, *self.kept_usages(name)).revoke(identity, ALL))

    def at(self, scope: Scope) -> Self:
        """Give the draft at another scope that was read; ticks elsewhere stay."""
        return replace(self, scope=scope)

    def reading(self, snapshot: Snapshot) -> Self:
        """Give the draft with the policies of further scopes; those that it has stay as they were read."""
        new = {scope: policy for scope, policy in snapshot.policies.items() if scope not in self.read.policies}
        return replace(
            self,
            read=Snapshot({**self.read.policies, **new}),
            wanted=Snapshot({**self.wanted.policies, **new}),
        )

    def desired(self) -> Snapshot:
        """Give the wanted policies."""
        return self.wanted

    def plan(self, cluster: str = "") -> Plan:
        """Give the plan that leads from what was read to what is wanted."""
        return make_plan(self.read, self.wanted, cluster=cluster)

    @property
    def _policy(self) -> Policy:
        return self.wanted.policies.get(self.scope) or Policy.empty()

    def _set(self, policy: Policy) -> Self:
        if not policy.entries and self.read.policies.get(self.scope) is None:
            return replace(self, wanted=self.wanted.with_policy(self.scope, None))
        return replace(self, wanted=self.wanted.with_policy(self.scope, policy))

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
