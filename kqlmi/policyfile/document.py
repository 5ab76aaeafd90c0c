"""What a policy file says, and what it wants of a cluster that stands as it does."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kqlmi.errors import InputError, PolicyError
from kqlmi.model.audit.findings import Acceptance
from kqlmi.model.entities import ObjectId, Scope, did_you_mean, object_id, usage_name
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.vocabulary import checked_usage
from kqlmi.policyfile.nodes import Node, PolicyFileError, Slot

Properties = Mapping[str, str]
"""The properties of a policy object that nobody knows, as JSON text by name."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one identity holds in a scope; ``properties`` is None where the file leaves them alone."""

    slot: Slot
    usages: Slot
    properties: Properties | None = None
    properties_slot: Slot | None = None

    @property
    def key(self) -> Node:
        """Return the identity as the file names it."""
        return self.slot.key


@dataclass(frozen=True, slots=True)
class Section:
    """What a file says of one scope; ``rows`` is None for "no policy"."""

    slot: Slot
    rows: tuple[Row, ...] | None


@dataclass(frozen=True, slots=True)
class Desired:
    """The policies that a file wants, in the scopes that it governs, and the scopes that it leaves alone."""

    snapshot: Snapshot
    unmanaged: tuple[Scope, ...]


@dataclass(frozen=True)
class PolicyFile:
    """A policy file that was read.

    ``complete`` governs whole scopes, ``partial`` the identities that it lists in them. ``names`` are the file's own, by
    case-folded name. ``clears_unlisted`` wants no policy in the databases that it does not list. ``accepted`` are the
    findings of an audit that somebody accepts.
    """

    mode: Literal["complete", "partial"]
    clears_unlisted: bool
    names: Mapping[str, ObjectId]
    unknown_usages: frozenset[str]
    sections: Mapping[Scope, Section]
    fields: Mapping[str, Slot] = field(repr=False)
    accepted: tuple[Acceptance, ...] = ()

    def scopes(self, databases: Iterable[str]) -> tuple[Scope, ...]:
        """Return the scopes that the file governs, in the cluster's spelling: those whose policies ``desired`` needs.

        Args:
            databases: Every database of the cluster.

        Raises:
            PolicyFileError: The file lists a database that is not one of them.
        """
        existing = {scope: scope for scope in [Scope.cluster(), *map(Scope.database, databases)]}
        for scope, section in self.sections.items():
            if scope not in existing:
                names = [str(other.name) for other in existing if not other.is_cluster]
                hint = did_you_mean(str(scope.name), names) if names else "The cluster has no database."
                raise section.slot.key.error(f"there is no database {scope.name!r}.", hint)
        unlisted = [scope for scope in existing if scope not in self.sections and not scope.is_cluster]
        return (*(existing[scope] for scope in self.sections), *(unlisted if self.clears_unlisted else ()))

    def desired(self, current: Snapshot, databases: Iterable[str]) -> Desired:
        """Return what the file wants, made from what the scopes hold now, so that whatever it does not govern stays.

        To reach it whole, "no policy" and ``{}`` kept apart, plan with ``make_plan(…, exactly=True)``.

        Raises:
            PolicyFileError: A database does not exist or was not read, an identity's name is unknown or ambiguous, a
                usage is unknown, or properties differ, which no plan can change.
        """
        existing = tuple(databases)
        governed = self.scopes(existing)
        policies = {scope: self.wanted(scope, current) for scope in governed}
        others = (Scope.cluster(), *map(Scope.database, existing)) if self.mode == "complete" else ()
        return Desired(Snapshot(policies), tuple(scope for scope in others if scope not in policies))

    def wanted(self, scope: Scope, current: Snapshot) -> Policy | None:
        """Return what the file wants in one scope that it governs; None is no policy. Raises as ``desired`` does."""
        section = self.sections.get(scope)
        if scope not in current.policies:
            raise PolicyFileError(
                f"the policy of the {scope} was not read.",
                hint="Try again.",
                line=section.slot.key.line if section else None,
            )
        if section is None or section.rows is None:
            return None
        policy = current.policies[scope]
        rows = self.holders(scope, current)
        now = policy or Policy.empty()
        also = self.unknown_usages | {usage for _, usage in now.grants}
        usages: dict[str, tuple[str, ...]] = {identity: _checked(row, also) for identity, row in rows.items()}
        current_properties = properties_of(now)
        for identity, row in rows.items():
            if row.properties is not None and row.properties != current_properties.get(identity, row.properties):
                raise row.slot.value.error(
                    f"the properties of {row.key.text!r} differ from those in the {scope}, and no plan can change them.",
                    "Export takes those of the cluster; without properties: they are left alone.",
                )
        if self.mode == "complete":
            usages = dict.fromkeys(now.holdings, ()) | usages
        after = now.holding(usages, {identity: row.properties or {} for identity, row in rows.items()})
        return None if policy is None and self.mode == "partial" and not after.entries else after

    def holders(self, scope: Scope, current: Snapshot) -> dict[ObjectId, Row]:
        """Return the rows of a scope by the identity that each means, in a cluster that stands like ``current``."""
        section, policy = self.sections[scope], current.policies.get(scope)
        entries = policy.entries if policy else ()
        # The system identity's own object ID means the system identity, as Policy has it, unless it stands for itself here.
        meant = {one.principal_id: one.object_id for one in current.identities.values()}
        meant |= {entry.object_id: entry.identity for entry in entries}
        meant |= {entry.identity: entry.identity for entry in entries}
        found: dict[ObjectId, Row] = {}
        directory = Directory.of(current)
        for row in section.rows or ():
            identity = self._identity(row.key, directory)
            first = found.setdefault(meant.get(identity, identity), row)
            if first is not row:
                raise row.key.twice(first.key, f"the {scope}")
        return found

    def _identity(self, key: Node, directory: Directory) -> ObjectId:
        if found := self.names.get(key.text.casefold()) or as_object_id(key.text):
            if client := directory.client_of(found):
                raise key.error(f"{key.text!r} is the client ID of {client}.", "Give its object ID.")
            return found
        try:
            return directory.resolve(key.text).object_id
        except InputError as error:
            hint = f"{error.hint} Or add the name to identities: with its object ID."
            raise key.error(error.message, hint) from error


def as_object_id(text: str) -> ObjectId | None:
    """Return a text as an object ID, or None where it is a name."""
    try:
        return object_id(text)
    except PolicyError:
        return None


def _checked(row: Row, also: Collection[str]) -> tuple[str, ...]:
    found = list[str]()
    try:
        # A comprehension would not leave the item that is at fault.
        for item in row.usages.value.items:
            found.append(checked_usage(item.text, also))
    except PolicyError as error:
        hint = f"{error.hint} Or, if the service knows it, add it to unknown-usages: at the top."
        raise item.error(error.message, hint) from error
    return tuple(found)


def usages_of(policy: Policy) -> dict[ObjectId, tuple[str, ...]]:
    """Return the usages of each identity, in the order that was read."""
    found: dict[ObjectId, tuple[str, ...]] = {}
    for entry in policy.entries:
        found[entry.identity] = tuple(dict.fromkeys((*found.get(entry.identity, ()), *map(usage_name, entry.usages))))
    return found


def properties_of(policy: Policy) -> dict[ObjectId, Properties]:
    """Return the unknown properties of each identity; of several objects for it, the first that has a property."""
    found: dict[ObjectId, Properties] = {}
    for entry in policy.entries:
        found[entry.identity] = dict(entry.extra) | dict(found.get(entry.identity, {}))
    return found
