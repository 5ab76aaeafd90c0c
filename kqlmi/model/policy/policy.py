"""The ManagedIdentity policy of one scope, and a snapshot of several."""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from kqlmi.errors import PolicyError
from kqlmi.model import jsontext
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope, checked_usage, object_id, usage_name
from kqlmi.model.policy.entry import Entry, read_entry

Grant = tuple[str, str]
"""An identity (a lower-case GUID, or ``system``) and a usage's name."""

Property = tuple[str, str, str]
"""An identity, the name of a property that nobody knows, and its value as JSON."""


@dataclass(frozen=True)
class Policy:
    """The policy objects of one scope, in the order that was read.

    ``==`` compares everything that was read; compare ``grants`` to learn whether two policies allow the same.
    """

    entries: tuple[Entry, ...] = ()

    @classmethod
    def empty(cls) -> Self:
        """Give the policy ``[]``, which is not the same as no policy."""
        return cls()

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read a policy's JSON, single-quoted strings included; None where there is no policy.

        Raises:
            PolicyError: The text is not a JSON array of objects with ObjectId and AllowedUsages.
        """
        if text is None or text.strip() in {"", "null"}:
            return None
        value = jsontext.load(text)
        if not isinstance(value, list):
            raise PolicyError("A ManagedIdentity policy is a JSON array.", hint="Put the objects between [ and ].")
        try:
            return cls(tuple(read_entry(item, place) for place, item in enumerate(value, 1)))
        except RecursionError:
            raise PolicyError("A property of the policy is nested too deep.") from None

    def to_json(self) -> str:
        """Give the JSON array that a command sends: ObjectId, AllowedUsages and the properties that nobody knows.

        It is ASCII and holds no backtick, so that it fits any string literal.
        """
        return jsontext.dump([entry.payload() for entry in self.entries]).replace("`", "\\u0060")

    def to_record(self) -> str:
        """Give the JSON array with everything that was read, for keeping: ``parse`` gives an equal policy."""
        return jsontext.dump(self.records)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return everything that was read, as JSON values."""
        return [entry.payload(complete=True) for entry in self.entries]

    def marking(self, earlier: Container[str]) -> Self:
        """Return the policy with the entries of ``earlier`` system identities kept apart from the one of now."""
        new = {one for one in self.entries if one.is_system and not one.is_earlier and one.object_id in earlier}
        marked = (replace(one, is_earlier=True) if one in new else one for one in self.entries)
        return replace(self, entries=tuple(marked)) if new else self

    @property
    def earlier(self) -> frozenset[str]:
        """Return the object IDs of the earlier system identities that were told apart."""
        return frozenset(entry.object_id for entry in self.entries if entry.is_earlier)

    @cached_property
    def grants(self) -> frozenset[Grant]:
        """Give every (identity, usage) that the policy grants."""
        return frozenset((identity, usage) for identity, usages in self.holdings.items() for usage in usages)

    @cached_property
    def holdings(self) -> Mapping[str, frozenset[str]]:
        """Give the names of the usages granted to each identity."""
        found: dict[str, frozenset[str]] = {}
        for entry in self.entries:
            usages, known = entry.names, found.get(entry.identity)
            found[entry.identity] = known | usages if known else usages
        return MappingProxyType(found)

    @cached_property
    def properties(self) -> frozenset[Property]:
        """Return the properties that nobody knows, of every identity."""
        return frozenset((entry.identity, name, value) for entry in self.entries for name, value in entry.extra)

    @cached_property
    def state(self) -> "State":
        """Return everything that was read but the four properties that the service fills in, as drift compares it."""
        return self.grants, self.properties, frozenset(self.holdings)

    def usages(self, identity: str) -> frozenset[str]:
        """Give the names of the usages granted to an identity."""
        return self.holdings.get(self._identity(identity.strip().lower()), frozenset())

    def grant(self, identity: str, *usages: str, also: Iterable[str] = ()) -> Self:
        """Give the policy with more usages for an identity, given by its object ID or ``system``.

        Raises:
            PolicyError: The object ID is malformed, or neither the catalogue nor this policy nor ``also`` holds a usage.
        """
        also = {*also, *(usage for _, usage in self.grants)}
        return self.merge(Policy((Entry(object_id(identity), tuple(checked_usage(usage, also) for usage in usages)),)))

    def revoke(self, identity: str, *usages: str, also: Iterable[str] = ()) -> Self:
        """Return the policy without some usages of an identity, as for ``grant``; an object that has none left goes too."""
        also = {*also, *(usage for _, usage in self.grants)}
        return self.without({self._identity(object_id(identity)): {checked_usage(usage, also) for usage in usages}})

    def without(self, grants: Mapping[str, Collection[str]]) -> Self:
        """Give the policy without the usages that ``grants`` lists for each identity, as grants compare them."""
        rest = [entry.without(grants[entry.identity]) if entry.identity in grants else entry for entry in self.entries]
        return replace(
            self, entries=tuple(new for new, old in zip(rest, self.entries, strict=True) if new.usages or new == old)
        )

    def holding(
        self, wanted: Mapping[str, Collection[str]], extra: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    ) -> Self:
        """Return the policy in which each identity of ``wanted`` holds just those usages, all else as it was.

        Identities are as grants compare them, and ``extra`` has the unknown properties of those that are new. The grants
        go first: an object that loses all that it had keeps its place and its properties.
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
        """Return the policy with other values of some unknown properties, for the identities that it has."""
        wanted: dict[str, dict[str, str]] = {}
        for identity, name, value in properties:
            wanted.setdefault(identity, {})[name] = value
        entries = (
            replace(entry, extra=tuple({**dict(entry.extra), **wanted.pop(entry.identity, {})}.items()))
            for entry in self.entries
        )
        return replace(self, entries=tuple(entries))

    def merge(self, other: "Policy") -> Self:
        """Give what ``.alter-merge`` makes of this policy: more identities and usages, and nothing removed."""
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
        """Give the identities of the policy, described as the service filled them in."""
        return tuple(entry.described for entry in self.entries)

    def _identity(self, identity: str) -> str:
        return next(
            (entry.identity for entry in self.entries if identity in (entry.object_id, entry.identity)), identity
        )


@dataclass(frozen=True)
class Snapshot:
    """The policies of the scopes that were read; None is "no policy", and a scope that is absent was not read."""

    policies: Mapping[Scope, Policy | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", MappingProxyType(dict(self.policies)))

    def grants(self, scope: Scope) -> frozenset[Grant]:
        """Give the grants of a scope; none where there is no policy or it was not read."""
        return grants_of(self.policies.get(scope))

    def granted(self, scope: Scope, identity: str, usage: str) -> bool:
        """Check whether a scope grants a usage to an identity, both as grants compare them."""
        return (identity, usage) in self.grants(scope)

    def with_policy(self, scope: Scope, policy: Policy | None) -> Self:
        """Give a snapshot in which one scope holds ``policy``."""
        return replace(self, policies={**self.policies, scope: policy})

    def marking(self, earlier: Container[str]) -> Self:
        """Return the snapshot with the entries of ``earlier`` system identities kept apart from the one of now."""
        marked = {scope: policy and policy.marking(earlier) for scope, policy in self.policies.items()}
        return replace(self, policies=marked) if any(marked[one] is not self.policies[one] for one in marked) else self

    @cached_property
    def earlier(self) -> frozenset[str]:
        """Return the object IDs of the earlier system identities that were told apart."""
        return frozenset().union(*(policy.earlier for policy in self.policies.values() if policy))

    def usages_of(self, scope: Scope, identity: str) -> frozenset[str]:
        """Give the usages that an identity, as grants compare it, holds in a scope."""
        policy = self.policies.get(scope)
        return policy.holdings.get(identity, frozenset()) if policy else frozenset()

    @cached_property
    def usages(self) -> frozenset[str]:
        """Give every usage that any of the policies grants."""
        found = (usages for policy in self.policies.values() if policy for usages in policy.holdings.values())
        return frozenset().union(*found)

    @cached_property
    def identities(self) -> Mapping[str, Identity]:
        """Give every identity of every policy, the described ones before the bare ones, by object ID or ``system``."""
        found: dict[str, Identity] = {}
        for policy in self.policies.values():
            for identity in policy.identities if policy else ():
                if not found.get(identity.object_id, identity).display_name or identity.object_id not in found:
                    found[identity.object_id] = identity
        return found


def marked_as(policy: Policy | None, *others: Policy | None) -> Policy | None:
    """Return a policy with the earlier system identities kept apart as they are in others."""
    return policy and policy.marking(frozenset().union(*(other.earlier for other in others if other)))


def as_read(policy: Policy | None) -> Policy | None:
    """Return a policy as any other reader has it: with no earlier system identity kept apart."""
    if policy is None or not policy.earlier:
        return policy
    return replace(policy, entries=tuple(replace(entry, is_earlier=False) for entry in policy.entries))


State = tuple[frozenset[Grant], frozenset[Property], frozenset[str]]
"""The grants, the unknown properties and the identities of a policy."""


def grants_of(policy: Policy | None) -> frozenset[Grant]:
    """Give the grants of a policy; none where there is no policy."""
    return policy.grants if policy else frozenset()


def state_of(policy: Policy | None) -> State:
    """Return the state of a policy; that of an empty one where there is no policy."""
    return (policy or Policy.empty()).state
