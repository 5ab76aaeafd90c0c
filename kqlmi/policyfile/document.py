"""The content of a policy file, and the policies that it specifies, given the current policies of a cluster."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from kqlmi.errors import InputError, PolicyError
from kqlmi.model.audit.findings import Acceptance
from kqlmi.model.entities import ObjectId, Scope, did_you_mean, object_id, usage_name
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.vocabulary import checked_usage
from kqlmi.policyfile.nodes import Node, PolicyFileError, Slot

Properties = Mapping[str, str]
"""The unknown properties of a policy object, as JSON text by name."""


@dataclass(frozen=True, slots=True)
class Row:
    """The usages of one identity in a scope. ``properties`` is None if the file does not govern them."""

    slot: Slot
    usages: Slot
    properties: Properties | None = None
    properties_slot: Slot | None = None

    @property
    def key(self) -> Node:
        """Return the node that names the identity."""
        return self.slot.key


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a file about one scope. ``rows`` is None for "no policy"."""

    slot: Slot
    rows: tuple[Row, ...] | None


@dataclass(frozen=True, slots=True)
class Desired:
    """The policies that a file specifies for the scopes that it governs, and the scopes that it does not govern."""

    snapshot: Snapshot
    unmanaged: tuple[Scope, ...]


@dataclass(frozen=True)
class PolicyFile:
    """A policy file that was read.

    Mode ``complete`` governs whole scopes, ``partial`` only the identities that are listed in them. ``names`` maps the
    names that the file defines, case-folded, to object IDs. With ``clears_unlisted``, databases that are not listed are
    to have no policy. ``accepted`` are the accepted audit findings.
    """

    mode: Literal["complete", "partial"]
    clears_unlisted: bool
    names: Mapping[str, ObjectId]
    unknown_usages: frozenset[str]
    sections: Mapping[Scope, Section]
    fields: Mapping[str, Slot] = field(repr=False)
    accepted: tuple[Acceptance, ...] = ()

    def scopes(self, databases: Iterable[str]) -> tuple[Scope, ...]:
        """Return the scopes that the file governs, spelled as on the cluster. ``desired`` needs their policies.

        Args:
            databases: Every database of the cluster.

        Raises:
            PolicyFileError: The file lists a database that does not exist.
        """
        existing = {scope: scope for scope in [Scope.cluster(), *map(Scope.database, databases)]}
        for scope, section in self.sections.items():
            if scope not in existing:
                names = [str(other.name) for other in existing if not other.is_cluster]
                hint = did_you_mean(str(scope.name), names) if names else "The cluster has no databases."
                raise section.slot.key.error(f"database {scope.name!r} does not exist.", hint)
        unlisted = [scope for scope in existing if scope not in self.sections and not scope.is_cluster]
        return (*(existing[scope] for scope in self.sections), *(unlisted if self.clears_unlisted else ()))

    def desired(self, current: Snapshot, databases: Iterable[str]) -> Desired:
        """Return the policies that the file specifies. Parts of the current policies that it does not govern stay.

        Plan them with ``make_plan(…, exactly=True)``, which distinguishes "no policy" from ``{}``.

        Raises:
            PolicyFileError: A database does not exist or was not read, the name of an identity is unknown or ambiguous, a
                usage is unknown, or properties differ (no plan can change them).
        """
        existing = tuple(databases)
        governed, resolved = self.scopes(existing), self.resolved(Directory.of(current))
        policies = {scope: resolved.wanted(scope, current) for scope in governed}
        others = (Scope.cluster(), *map(Scope.database, existing)) if self.mode == "complete" else ()
        return Desired(Snapshot(policies), tuple(scope for scope in others if scope not in policies))

    def wanted(self, scope: Scope, current: Snapshot) -> Policy | None:
        """Return the policy that the file, which must be ``resolved``, specifies for a scope that it governs, or None.

        Raises:
            PolicyFileError: As for ``desired``.
        """
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
                    "Export again to use the cluster's properties, or remove properties: to leave them unchanged.",
                )
        if self.mode == "complete":
            usages = dict.fromkeys(now.holdings, ()) | usages
        after = now.holding(usages, {identity: row.properties or {} for identity, row in rows.items()})
        return None if policy is None and self.mode == "partial" and not after.entries else after

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Return the names of identities that the file itself does not define."""
        return tuple(text for text in self._keys if text.casefold() not in self.names and not as_object_id(text))

    def resolved(self, directory: Directory) -> Self:
        """Return the file with all identities that it lists resolved by a directory.

        Raises:
            PolicyFileError: A name is unknown or ambiguous, or an object ID is a client ID.
        """
        found = {text.casefold(): self._identity(key, directory) for text, key in self._keys.items()}
        return replace(self, names={**self.names, **found})

    @property
    def _keys(self) -> dict[str, Node]:
        """Return where the file lists each identity first."""
        rows = [row.key for section in self.sections.values() for row in section.rows or ()]
        return {key.text: key for key in reversed(rows)}

    def holders(self, scope: Scope, current: Snapshot) -> dict[ObjectId, Row]:
        """Return the rows of a scope by identity; the file must be ``resolved``."""
        section, policy = self.sections[scope], current.policies.get(scope)
        entries = policy.entries if policy else ()
        # The system identity's object ID means ``system``, as in Policy, unless an entry here has it as its identity.
        meant = {one.principal_id: one.object_id for one in current.identities.values()}
        meant |= {entry.object_id: entry.identity for entry in entries}
        meant |= {entry.identity: entry.identity for entry in entries}
        found: dict[ObjectId, Row] = {}
        for row in section.rows or ():
            identity = self.names[row.key.text.casefold()]
            first = found.setdefault(meant.get(identity, identity), row)
            if first is not row:
                raise row.key.twice(first.key, f"the {scope}")
        return found

    def _identity(self, key: Node, directory: Directory) -> ObjectId:
        if found := self.names.get(key.text.casefold()) or as_object_id(key.text):
            if client := directory.client_of(found):
                raise key.error(f"{key.text!r} is the client ID of {client}.", "Use its object ID.")
            return found
        try:
            return directory.resolve(key.text).object_id
        except InputError as error:
            hint = f"{error.hint} Or add the name to identities: with its object ID."
            raise key.error(error.message, hint) from error


def as_object_id(text: str) -> ObjectId | None:
    """Return ``text`` as an object ID, or None if it is a name."""
    try:
        return object_id(text)
    except PolicyError:
        return None


def _checked(row: Row, also: Collection[str]) -> tuple[str, ...]:
    found = list[str]()
    try:
        # A comprehension would not keep the item that failed.
        for item in row.usages.value.items:
            found.append(checked_usage(item.text, also))
    except PolicyError as error:
        hint = f"{error.hint} Or, if the service supports it, add it to unknown-usages: at the top."
        raise item.error(error.message, hint) from error
    return tuple(found)


def usages_of(policy: Policy) -> dict[ObjectId, tuple[str, ...]]:
    """Return the usages of each identity, in the order in which they were read."""
    found: dict[ObjectId, tuple[str, ...]] = {}
    for entry in policy.entries:
        found[entry.identity] = tuple(dict.fromkeys((*found.get(entry.identity, ()), *map(usage_name, entry.usages))))
    return found


def properties_of(policy: Policy) -> dict[ObjectId, Properties]:
    """Return the unknown properties of each identity. If its entries differ, the first entry takes precedence."""
    found: dict[ObjectId, Properties] = {}
    for entry in policy.entries:
        found[entry.identity] = dict(entry.extra) | dict(found.get(entry.identity, {}))
    return found
