"""The ManagedIdentity policy of one scope, and a snapshot of the policies of several."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from kqlmi.errors import PolicyError
from kqlmi.model import jsontext
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope, object_id, usage_name
from kqlmi.model.policy.entry import Entry, read_entry
from kqlmi.model.vocabulary import checked_usage
from kqlmi.report import Described, Report, Rows, counted

Grant = tuple[str, str]
"""An identity (a lower-case GUID, or ``system``) and the name of a usage."""

Property = tuple[str, str, str]
"""An identity, the name of an unknown property, and its value as JSON text."""


@dataclass(frozen=True, repr=False)
class Policy(Described):
    """The policy objects of one scope, in the order in which they were read.

    ``==`` compares everything that was read; compare ``grants`` to check whether two policies allow the same.
    """

    entries: tuple[Entry, ...] = ()

    @classmethod
    def empty(cls) -> Self:
        """Return the policy ``[]``, which differs from having no policy."""
        return cls()

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read a policy's JSON, in which strings may be single-quoted, or return None if there is no policy.

        Raises:
            PolicyError: The text is not a JSON array of objects with ObjectId and AllowedUsages.
        """
        if text is None or text.strip() in {"", "null"}:
            return None
        value = jsontext.load(text)
        if not isinstance(value, list):
            raise PolicyError("The ManagedIdentity policy is not a JSON array.", hint="Enclose its objects in [ and ].")
        try:
            return cls(tuple(read_entry(item, place) for place, item in enumerate(value, 1)))
        except RecursionError:
            raise PolicyError("A property of the policy is nested too deeply.") from None

    def to_json(self) -> str:
        """Return the JSON array that a command sends: ObjectId, AllowedUsages and unknown properties.

        The JSON is ASCII without backticks, so that it fits into any string literal.
        """
        return jsontext.dump([entry.payload() for entry in self.entries]).replace("`", "\\u0060")

    def report(self) -> Report:
        """Return a row for each object: the identity, its usages, and its unknown properties, if any has some."""
        columns: dict[str, Callable[[Entry], object]] = {
            "display_name": lambda entry: entry.display_name,
            "object_id": lambda entry: entry.object_id,
            "usages": lambda entry: list(entry.usages),
        }
        if self.properties:
            columns["properties"] = lambda entry: [f"{name}: {value}" for name, value in entry.extra]
        rows = Rows.of(self.entries, columns, kinds={"object_id": "id"})
        counts = f"{counted(len(self.holdings), 'identity', 'identities')}, {counted(len(self.grants), 'grant')}"
        return Report("Policy", counts, (rows,) if self.entries else ())

    def to_record(self) -> str:
        """Return the JSON array with everything that was read, for storage; ``parse`` returns an equal policy."""
        return jsontext.dump(self.records)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return everything that was read, as JSON values."""
        return [entry.payload(complete=True) for entry in self.entries]

    def marking(self, earlier: Container[str]) -> Self:
        """Return the policy with the entries of the ``earlier`` system identities marked as such."""
        new = {one for one in self.entries if one.is_system and not one.is_earlier and one.object_id in earlier}
        marked = (replace(one, is_earlier=True) if one in new else one for one in self.entries)
        return replace(self, entries=tuple(marked)) if new else self

    @property
    def earlier(self) -> frozenset[str]:
        """Return the object IDs of the entries that are marked as earlier system identities."""
        return frozenset(entry.object_id for entry in self.entries if entry.is_earlier)

    @cached_property
    def grants(self) -> frozenset[Grant]:
        """Return every (identity, usage) that the policy grants."""
        return frozenset((identity, usage) for identity, usages in self.holdings.items() for usage in usages)

    @cached_property
    def holdings(self) -> Mapping[str, frozenset[str]]:
        """Return the names of the usages that each identity is granted."""
        found: dict[str, frozenset[str]] = {}
        for entry in self.entries:
            usages, known = entry.names, found.get(entry.identity)
            found[entry.identity] = known | usages if known else usages
        return MappingProxyType(found)

    @cached_property
    def properties(self) -> frozenset[Property]:
        """Return the unknown properties of every identity."""
        return frozenset((entry.identity, name, value) for entry in self.entries for name, value in entry.extra)

    @cached_property
    def state(self) -> "State":
        """Return what drift compares: everything that was read except the four properties that the service fills in."""
        return self.grants, self.properties, frozenset(self.holdings)

    def usages(self, identity: str) -> frozenset[str]:
        """Return the names of the usages granted to an identity."""
        return self.holdings.get(self._identity(identity.strip().lower()), frozenset())

    def grant(self, identity: str, *usages: str, also: Iterable[str] = ()) -> Self:
        """Return the policy with more usages for an identity, named by its object ID or ``system``.

        Raises:
            PolicyError: The object ID is malformed, or a usage is in none of the catalogue, this policy and ``also``.
        """
        also = {*also, *(usage for _, usage in self.grants)}
        return self.merge(Policy((Entry(object_id(identity), tuple(checked_usage(usage, also) for usage in usages)),)))

    def revoke(self, identity: str, *usages: str, also: Iterable[str] = ()) -> Self:
        """Return the policy without some usages of an identity, named as for ``grant``; an object without usages is removed."""
        also = {*also, *(usage for _, usage in self.grants)}
        return self.without({self._identity(object_id(identity)): {checked_usage(usage, also) for usage in usages}})

    def without(self, grants: Mapping[str, Collection[str]]) -> Self:
        """Return the policy without the usages that ``grants`` lists for each identity, both as they appear in grants."""
        rest = [entry.without(grants[entry.identity]) if entry.identity in grants else entry for entry in self.entries]
        return replace(
            self, entries=tuple(new for new, old in zip(rest, self.entries, strict=True) if new.usages or new == old)
        )

    def holding(
        self, wanted: Mapping[str, Collection[str]], extra: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    ) -> Self:
        """Return the policy that grants each identity of ``wanted`` exactly those usages, with everything else unchanged.

        Identities are as they appear in grants; ``extra`` contains the unknown properties of new ones. Usages are added
        before others are removed, so that an object whose usages are all replaced keeps its place and its properties.
        """
        entries = list(self.entries)
        places: dict[str, int] = {entry.identity: place for place, entry in reversed(list(enumerate(entries)))}
        for identity, usages in wanted.items():
            missing = tuple(usage for usage in usages if usage not in self.holdings.get(identity, ()))
            if missing and identity in places:
                old = entries[places[identity]]
                entries[places[identity]] = replace(old, usages=old.usages + missing)
            elif missing:
                entries.append(Entry(ObjectId(identity), missing, extra=tuple(extra.get(identity, {}).items())))
        surplus = {one: self.holdings.get(one, frozenset()).difference(usages) for one, usages in wanted.items()}
        return replace(self, entries=tuple(entries)).without(surplus)

    def having(self, properties: Iterable[Property]) -> Self:
        """Return the policy with new values of unknown properties, for those identities that it contains."""
        wanted: dict[str, dict[str, str]] = {}
        for identity, name, value in properties:
            wanted.setdefault(identity, {})[name] = value
        entries = (
            replace(entry, extra=tuple({**dict(entry.extra), **wanted.pop(entry.identity, {})}.items()))
            for entry in self.entries
        )
        return replace(self, entries=tuple(entries))

    def merge(self, other: "Policy") -> Self:
        """Return this policy after ``.alter-merge`` with another, which adds identities and usages and removes nothing."""
        entries = list(self.entries)
        same = {entry.object_id: entry.identity for entry in entries}
        places: dict[ObjectId, int] = {}
        granted: dict[ObjectId, set[str]] = {}
        for place, entry in enumerate(entries):
            places.setdefault(entry.identity, place)
            granted.setdefault(entry.identity, set()).update(map(usage_name, entry.usages))
        for added in other.entries:
            holder = SYSTEM if added.identity == SYSTEM else same.get(added.object_id, added.object_id)
            known = granted.setdefault(holder, set())
            more = tuple(dict.fromkeys(usage for usage in map(usage_name, added.usages) if usage not in known))
            known.update(more)
            if holder not in places:
                places[holder] = len(entries)
                entries.append(replace(added, usages=more))
            elif more:
                old = entries[places[holder]]
                entries[places[holder]] = replace(old, usages=old.usages + more)
        return replace(self, entries=tuple(entries))

    @cached_property
    def identities(self) -> tuple[Identity, ...]:
        """Return the identities of the policy, with the descriptions that the service filled in."""
        return tuple(entry.described for entry in self.entries)

    def _identity(self, identity: str) -> str:
        return next(
            (entry.identity for entry in self.entries if identity in (entry.object_id, entry.identity)), identity
        )


@dataclass(frozen=True, repr=False)
class Snapshot:
    """The policies by scope. None means that the scope has no policy; the policy of a missing scope was not read."""

    policies: Mapping[Scope, Policy | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", MappingProxyType(dict(self.policies)))

    def __repr__(self) -> str:
        return f"<Snapshot: {counted(len(self.policies), 'scope')}>"

    def grants(self, scope: Scope) -> frozenset[Grant]:
        """Return the grants of a scope, or an empty set if it has no policy or was not read."""
        return grants_of(self.policies.get(scope))

    def granted(self, scope: Scope, identity: str, usage: str) -> bool:
        """Check whether a scope grants a usage to an identity, both as they appear in grants."""
        return (identity, usage) in self.grants(scope)

    def with_policy(self, scope: Scope, policy: Policy | None) -> Self:
        """Return the snapshot with the policy of one scope replaced."""
        return replace(self, policies={**self.policies, scope: policy})

    def marking(self, earlier: Container[str]) -> Self:
        """Return the snapshot with the entries of the ``earlier`` system identities marked as such."""
        marked = {scope: policy and policy.marking(earlier) for scope, policy in self.policies.items()}
        return replace(self, policies=marked) if any(marked[one] is not self.policies[one] for one in marked) else self

    @cached_property
    def earlier(self) -> frozenset[str]:
        """Return the object IDs of the entries that are marked as earlier system identities."""
        return frozenset().union(*(policy.earlier for policy in self.policies.values() if policy))

    def usages_of(self, scope: Scope, identity: str) -> frozenset[str]:
        """Return the usages that a scope grants to an identity, as they appear in grants."""
        policy = self.policies.get(scope)
        return policy.holdings.get(identity, frozenset()) if policy else frozenset()

    @cached_property
    def usages(self) -> frozenset[str]:
        """Return every usage that any of the policies grants."""
        found = (usages for policy in self.policies.values() if policy for usages in policy.holdings.values())
        return frozenset().union(*found)

    @cached_property
    def identities(self) -> Mapping[str, Identity]:
        """Return the identities of all policies, by object ID or ``system``, each with a description if any policy has one."""
        found: dict[str, Identity] = {}
        for policy in self.policies.values():
            for identity in policy.identities if policy else ():
                if not found.get(identity.object_id, identity).display_name or identity.object_id not in found:
                    found[identity.object_id] = identity
        return found


def marked_as(policy: Policy | None, *others: Policy | None) -> Policy | None:
    """Return a policy with the earlier system identities marked that are marked in any of the others."""
    return policy and policy.marking(frozenset().union(*(other.earlier for other in others if other)))


def as_read(policy: Policy | None) -> Policy | None:
    """Return a policy without marks of earlier system identities, as any other reader sees it."""
    if policy is None or not policy.earlier:
        return policy
    return replace(policy, entries=tuple(replace(entry, is_earlier=False) for entry in policy.entries))


State = tuple[frozenset[Grant], frozenset[Property], frozenset[str]]
"""The grants, the unknown properties and the identities of a policy."""


def grants_of(policy: Policy | None) -> frozenset[Grant]:
    """Return the grants of a policy, or an empty set if there is no policy."""
    return policy.grants if policy else frozenset()


def state_of(policy: Policy | None) -> State:
    """Return the state of a policy, or the state of an empty policy if there is none."""
    return (policy or Policy.empty()).state
