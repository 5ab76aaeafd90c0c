"""The findings of an audit, and the facts that its rules examine."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

from kqlmi.model.entities import SYSTEM, Identity, Scope, database_key
from kqlmi.model.policy import commands
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot, grants_of
from kqlmi.model.uses.needs import Discovery, Evidence

Severity = Literal["high", "medium", "low"]
SEVERITIES: Final[tuple[Severity, ...]] = ("high", "medium", "low")

Edits = Mapping[Scope, Policy | None]
"""The desired policies of the scopes that change, as ``Session.plan`` accepts them."""

ScopedGrant = tuple[Scope, str, str]
"""A scope, an identity and a usage."""


@dataclass(frozen=True, slots=True)
class Fix:
    """The fix of a finding: ``edits``, or None with the reason in ``why_not``; ``note`` is a remark on the edits."""

    edits: Edits | None = None
    why_not: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in the policies that is wrong or wider than necessary.

    ``identity`` and ``usage`` are empty if they do not apply; ``subject`` is then what the finding is about. ``rule`` is
    filled in by the decorator of the rule.
    """

    severity: Severity
    scope: Scope
    identity: str
    usage: str
    message: str
    evidence: tuple[Evidence, ...]
    fix: Fix
    subject: str = ""
    rule: str = ""

    @property
    def id(self) -> str:
        """Return a short ID that begins with ``f`` and is the same in every audit that has the finding."""
        where = "" if self.scope.name is None else f"database {database_key(self.scope.name)}"
        parts = (self.rule, where, self.identity, self.usage, self.subject)
        text = "\0".join(parts)
        return "f" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


@dataclass(frozen=True)
class Facts:
    """The facts that rules examine: the policies that were read, the discovered use, and the assigned identities.

    ``assigned`` is None if Azure Resource Manager did not report the identities of the cluster.
    """

    policies: Snapshot
    discovery: Discovery
    assigned: tuple[Identity, ...] | None = None

    @classmethod
    def of(cls, policies: Snapshot, discovery: Discovery, assigned: Iterable[Identity] | None = None) -> "Facts":
        """Return the facts, with ``system`` for the system identity wherever its object ID is used.

        The entries of an earlier system identity are marked as such.
        """
        listed = None if assigned is None else tuple(assigned)
        known = Directory.of(policies, listed)
        principals = dict.fromkeys(known.systems, SYSTEM)
        return cls(policies.marking(known.earlier), discovery.with_principals(principals), listed)

    @cached_property
    def directory(self) -> Directory:
        """Return the directory of the policies and Azure Resource Manager."""
        return Directory.of(self.policies, self.assigned)

    @cached_property
    def live(self) -> Snapshot:
        """Return the policies without the objects of orphans, which allow nothing."""
        return Snapshot(
            {
                scope: policy and Policy(tuple(one for one in policy.entries if not self.is_orphan(one)))
                for scope, policy in self.policies.policies.items()
            }
        )

    def is_orphan(self, entry: Entry) -> bool:
        """Check whether an object's identity is known not to be assigned to the cluster."""
        return self.assigned is not None and entry.object_id not in self._assigned_ids

    @cached_property
    def grants(self) -> tuple[ScopedGrant, ...]:
        """Return every grant to an identity that is, or may be, assigned."""
        return tuple((scope, *grant) for scope in self.live.policies for grant in sorted(self.live.grants(scope)))

    @cached_property
    def _assigned_ids(self) -> frozenset[str]:
        return frozenset(key for one in self.assigned or () for key in (one.object_id, one.principal_id))

    def granted(self, scope: Scope, says: str) -> Evidence:
        """Return the policy of a scope as evidence of a grant."""
        return Evidence(commands.show(scope), says)

    def revoked(self, scope: Scope, identity: str, *usages: str) -> Policy:
        """Return the policy of a scope without some usages of an identity, and without its orphans.

        A revoke sends everything that remains with ``.alter``. The service refuses it if an orphan remains.
        """
        return (self.live.policies[scope] or Policy.empty()).revoke(identity, *usages, also=usages)

    def about(self, grant: ScopedGrant, severity: Severity, says: str, fix: Fix, *evidence: Evidence) -> Finding:
        """Return a finding about a grant; ``says`` ends its message, and ``evidence`` is added to the policy as evidence."""
        scope, identity, usage = grant
        message = f"{self.directory.name(identity)} is granted {usage} in the policy of the {scope}{says}"
        return Finding(severity, scope, identity, usage, message, (self.granted(scope, usage), *evidence), fix)

    def plan_to_revoke(self, grant: ScopedGrant) -> Fix:
        """Return the fix that revokes a grant, or the reason why no plan can."""
        scope, identity, usage = grant
        return self.plan({scope: self.revoked(scope, identity, usage)})

    def plan(self, edits: Edits, note: str = "") -> Fix:
        """Return the fix that makes edits, or the reason why no plan can."""
        for scope in edits:
            if scope in self.discovery.followers:
                return Fix(why_not=f"the {scope} follows a database of another cluster, where its policy is defined")
            if scope not in self.policies.policies:
                return Fix(why_not=f"the policy of the {scope} was not read")
        revokes = [scope for scope, after in edits.items() if not self.live.grants(scope) <= grants_of(after)]
        if any(self.live.policies[scope] != self.policies.policies[scope] for scope in revokes):
            note = f"{note} The objects of identities that are not assigned are removed too.".strip()
        return Fix(edits, note=note)


@dataclass(frozen=True, slots=True)
class Reason:
    """One grant, and why it is kept, revoked or not proven unused."""

    scope: Scope
    identity: str
    usage: str
    why: str


Check = Callable[[Facts], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the audit: its name, a sentence about what it reports, and its function."""

    name: str
    about: str
    check: Check


RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Check], Check]:
    """Register a function as a rule; the first line of its docstring states what it reports."""

    def register(check: Check) -> Check:
        def named(facts: Facts) -> Iterator[Finding]:
            return (replace(one, rule=name) for one in check(facts))

        RULES[name] = Rule(name, (check.__doc__ or "").partition("\n")[0], named)
        return check

    return register


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The acceptance of a finding for a reason, up to and including a day in ISO form.

    ``identity`` is an object ID, ``system`` or a display name; ``scope`` is written as findings show it.
    """

    rule: str
    scope: str
    identity: str
    usage: str
    reason: str
    until: str

    def fits(self, finding: Finding, known: Mapping[str, Identity]) -> bool:
        """Check whether the acceptance matches a finding in rule, scope, identity and usage."""
        one = known.get(finding.identity)
        names = {finding.identity.casefold()} | ({one.display_name.casefold()} - {""} if one else set())
        return (
            self.rule == finding.rule
            and database_key(self.scope) == database_key(str(finding.scope))
            and self.identity.casefold() in names
            and self.usage.casefold() == finding.usage.casefold()
        )


def without_duplicates(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings by severity. Equal findings become one, with the evidence of all."""
    by_id: dict[str, Finding] = {}
    for one in found:
        first = by_id.get(one.id)
        both = (*first.evidence, *one.evidence) if first else one.evidence
        by_id[one.id] = replace(first or one, evidence=tuple(dict.fromkeys(both)))
    order = {name: place for place, name in enumerate(RULES)}
    return tuple(sorted(by_id.values(), key=lambda one: (SEVERITIES.index(one.severity), order[one.rule])))
