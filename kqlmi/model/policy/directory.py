"""The directory of the managed identities named by policies, Azure Resource Manager or the user."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from kqlmi.errors import InputError, printable
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, did_you_mean, is_guid
from kqlmi.model.policy.policy import Snapshot

_NO_LETTER: Final = re.compile(r"[^a-z]")
_LIKE_SYSTEM: Final = re.compile(r"system(?:assigned)?(?:managed)?(?:identity)?")


@dataclass(frozen=True)
class Directory:
    """The known identities, by object ID or ``system``.

    ``assigned`` contains the identities that Azure Resource Manager lists for the cluster, or is None if it was not
    queried or did not respond. ``systems`` are the object IDs of the system identity in policies and in Azure.
    ``earlier`` are the object IDs of former system identities of the cluster; such an identity never returns.
    """

    identities: Mapping[str, Identity] = field(default_factory=dict)
    assigned: frozenset[str] | None = None
    systems: frozenset[str] = frozenset()
    earlier: frozenset[str] = frozenset()

    @classmethod
    def of(cls, policies: Snapshot, assigned: Iterable[Identity] | None = None) -> Self:
        """Return the directory of some policies and, if Azure Resource Manager was queried, of the assigned identities."""
        found = cls().reading(policies)
        return found if assigned is None else found.assigning(assigned)

    def reading(self, policies: Snapshot) -> Self:
        """Return the directory with the identities of some policies."""
        found = [one for policy in policies.policies.values() if policy for one in policy.identities]
        systems = {one.principal_id for one in found if one.object_id == SYSTEM} - {"", *self.earlier}
        new = replace(self.learning(found), systems=self.systems | systems)
        if (listed := systems.intersection(self.assigned or ())) and self.assigned:
            # It was listed by its object ID before a policy identified that as the system identity's.
            known = {key: one for key, one in new.identities.items() if key not in listed}
            for key in listed:
                known[SYSTEM] = _merged(known[SYSTEM], _as(SYSTEM, new.identities[key]))
            assigned = self.assigned - listed | {SYSTEM}
            return replace(new, identities=MappingProxyType(known), assigned=assigned)
        return new

    def learning(self, found: Iterable[Identity]) -> Self:
        """Return the directory with more identities, with or without a description."""
        known = dict(self.identities)
        for one in found:
            old = known.get(one.object_id)
            if old is None:
                known[one.object_id] = one
            elif old != one:
                # A name from Azure takes precedence over one from a policy.
                azure = old.resource_id or one.object_id in (self.assigned or ())
                known[one.object_id] = _merged(one, old) if azure else _merged(old, one)
        return replace(self, identities=MappingProxyType(known))

    def assigning(self, found: Iterable[Identity]) -> Self:
        """Return the directory with the complete list of assigned identities from Azure Resource Manager.

        If policies name a system identity with a different object ID, that is an earlier one.
        """
        listed = {(key := self.key(one.object_id)): _as(key, one) for one in found}
        now = listed[SYSTEM].principal_id if SYSTEM in listed else ""
        # If the system identity is off, policies still name it by the known object IDs.
        systems = frozenset({now}) if now else self.systems
        earlier = self.earlier | (self.systems - systems)
        resources = {one.resource_id.casefold() for one in listed.values()} - {""}
        known = {
            key: one
            for key, one in self.identities.items()
            # A resource that was deleted and created again has another object ID.
            if key in listed or one.resource_id.casefold() not in resources
        }
        before = self.identities.get(SYSTEM, Identity(SYSTEM))
        for guid in sorted(earlier - known.keys()):
            known[guid] = Identity(ObjectId(guid), before.display_name, principal_id=guid)
        for key, one in listed.items():
            old = self.identities.get(key)
            known[key] = _merged(old, one) if old else one
        return replace(
            self,
            identities=MappingProxyType(known),
            assigned=frozenset(listed),
            systems=systems,
            earlier=earlier,
        )

    def unsure_of_assigned(self) -> Self:
        """Return the directory after an assignment changed: the assigned identities must be read again."""
        return replace(self, assigned=None)

    def key(self, identity: str) -> ObjectId:
        """Return an object ID, in any letter case, as it appears in grants: ``system`` for the system identity."""
        wanted = identity.strip().lower()
        return SYSTEM if wanted in self.systems else ObjectId(wanted)

    def find(self, text: str) -> tuple[Identity, ...]:
        """Return the known identities that ``text`` names: by object ID, ``system``, client ID, resource ID or name.

        A GUID is never matched against names, so an identity that is named after another's ID is not mistaken for it.
        """
        wanted, key = text.strip().casefold(), self.key(text)
        if key == SYSTEM:
            return (self.identities.get(SYSTEM, Identity(SYSTEM, is_system=True)),)
        if key in self.identities:
            return (self.identities[key],)
        if not wanted:
            return ()
        kinds = ("client_id",) if is_guid(wanted) else ("resource_id", "display_name")
        found = ([one for one in self.identities.values() if getattr(one, kind).casefold() == wanted] for kind in kinds)
        return tuple(next(filter(None, found), ()))

    def named(self, text: str) -> Identity | None:
        """Return the known identity that ``text`` names, or None if there is none or several."""
        found = self.find(text)
        return found[0] if len(found) == 1 else None

    def resolve(self, text: str) -> Identity:
        """Return the identity that ``text`` names, which may be an unknown object ID.

        Raises:
            InputError: No known identity matches, or several do.
        """
        found = self.find(text)
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(map(self._in_full, found))
            raise InputError(f"{text!r} matches several identities: {several}.", hint="Pass the object ID.")
        if is_guid(self.key(text)):
            return Identity(self.key(text))
        unknown = "not listed in any policy"
        if self.assigned is not None:
            unknown = "neither listed in a policy nor assigned to the cluster"
        raise InputError(f"Identity {text!r} is {unknown}.", hint=self.hint(text))

    def hint(self, text: str) -> str:
        """Return a hint for a string that names no identity."""
        if like_system(text):
            return f"Did you mean {SYSTEM}?"
        names = [one.display_name for one in self.identities.values() if one.display_name]
        return did_you_mean(text, dict.fromkeys(names)) if names else "Pass its object ID."

    def client_of(self, text: str) -> Identity | None:
        """Return the identity whose client ID was passed instead of its object ID, or None."""
        wanted, found = self.key(text), self.named(text)
        return found if found and is_guid(wanted) and found.object_id != wanted else None

    def name(self, identity: str) -> str:
        """Return an identity for display, by its object ID or ``system``."""
        found = self.identities.get(identity)
        return str(found) if found else printable(identity)

    def state(self, identity: str) -> Literal["assigned", "orphan", ""]:
        """Return whether an identity is assigned to the cluster or an orphan, or an empty string if that is not known."""
        if identity in self.earlier:
            return "orphan"
        return "" if self.assigned is None else "assigned" if identity in self.assigned else "orphan"

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Return the display names by object ID or ``system``; an identity without a name has an empty one."""
        return MappingProxyType({key: one.display_name for key, one in self.identities.items()})

    def _in_full(self, one: Identity) -> str:
        """Return an identity for display with everything that distinguishes it from others of the same name."""
        ids = [one.object_id, printable(one.resource_id), *["not assigned"] * (self.state(one.object_id) == "orphan")]
        return f"{printable(one.display_name)} ({', '.join(filter(None, ids))})"


def like_system(text: str) -> bool:
    """Check whether a string is one of the spellings that other tools use for a system identity."""
    return bool(_LIKE_SYSTEM.fullmatch(_NO_LETTER.sub("", text.casefold())))


def _as(key: ObjectId, one: Identity) -> Identity:
    """Return an identity under the object ID that it has in grants."""
    if key == one.object_id or key != SYSTEM:
        return replace(one, object_id=key)
    return replace(one, object_id=SYSTEM, principal_id=one.principal_id or one.object_id)


def _merged(old: Identity, new: Identity) -> Identity:
    """Return an identity with the newly known fields; empty fields of ``new`` leave the old ones unchanged."""
    known: dict[str, Any] = {one.name: value for one in fields(new) if (value := getattr(new, one.name))}
    return replace(old, **{**known, "object_id": old.object_id})
