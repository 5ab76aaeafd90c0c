"""Who is who: the managed identities that policies, Azure Resource Manager and people have named."""

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
    """The identities that are known, by object ID or ``system``.

    ``assigned`` has those that Azure Resource Manager lists for the cluster; None where it was not asked or did not
    answer. ``systems`` are the object IDs by which policies or Azure know the system identity, ``earlier`` those of
    identities that were the cluster's system identity and are no more: such an identity never comes back.
    """

    identities: Mapping[str, Identity] = field(default_factory=dict)
    assigned: frozenset[str] | None = None
    systems: frozenset[str] = frozenset()
    earlier: frozenset[str] = frozenset()

    @classmethod
    def of(cls, policies: Snapshot, assigned: Iterable[Identity] | None = None) -> Self:
        """Return what some policies know, and Azure Resource Manager, where it was asked."""
        found = cls().reading(policies)
        return found if assigned is None else found.assigning(assigned)

    def reading(self, policies: Snapshot) -> Self:
        """Return the directory with the identities of some policies."""
        found = [one for policy in policies.policies.values() if policy for one in policy.identities]
        systems = {one.principal_id for one in found if one.object_id == SYSTEM} - {"", *self.earlier}
        new = replace(self.learning(found), systems=self.systems | systems)
        if (listed := systems.intersection(self.assigned or ())) and self.assigned:
            # It was listed by its object ID, before a policy showed whose that is.
            known = {key: one for key, one in new.identities.items() if key not in listed}
            for key in listed:
                known[SYSTEM] = _merged(known[SYSTEM], _as(SYSTEM, new.identities[key]))
            assigned = self.assigned - listed | {SYSTEM}
            return replace(new, identities=MappingProxyType(known), assigned=assigned)
        return new

    def learning(self, found: Iterable[Identity]) -> Self:
        """Return the directory with identities that were described, or only named."""
        known = dict(self.identities)
        for one in found:
            old = known.get(one.object_id)
            if old is None:
                known[one.object_id] = one
            elif old != one:
                # What a policy calls an identity never goes before its name in Azure.
                azure = old.resource_id or one.object_id in (self.assigned or ())
                known[one.object_id] = _merged(one, old) if azure else _merged(old, one)
        return replace(self, identities=MappingProxyType(known))

    def assigning(self, found: Iterable[Identity]) -> Self:
        """Return the directory once Azure Resource Manager has listed all that are assigned.

        What policies call the system identity by another object ID than the one that is listed is an earlier one.
        """
        listed = {(key := self.key(one.object_id)): _as(key, one) for one in found}
        now = listed[SYSTEM].principal_id if SYSTEM in listed else ""
        # Where it is off, policies go on to know it by that name.
        systems = frozenset({now}) if now else self.systems
        earlier = self.earlier | (self.systems - systems)
        resources = {one.resource_id.casefold() for one in listed.values()} - {""}
        known = {
            key: one
            for key, one in self.identities.items()
            # A resource that was made again has another object ID.
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
        """Return the directory after an assignment changed, so that what is assigned is to be asked again."""
        return replace(self, assigned=None)

    def key(self, identity: str) -> ObjectId:
        """Return an object ID, in any letter case, as grants compare it: the system identity's own is ``system``."""
        wanted = identity.strip().lower()
        return SYSTEM if wanted in self.systems else ObjectId(wanted)

    def find(self, text: str) -> tuple[Identity, ...]:
        """Return the known identities that ``text`` names: by object ID, ``system``, client ID, resource ID or name.

        An ID is never a name: whoever names an identity must not catch what is meant for another.
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
        """Return the one known identity that ``text`` names, or None."""
        found = self.find(text)
        return found[0] if len(found) == 1 else None

    def resolve(self, text: str) -> Identity:
        """Return the identity that ``text`` names, be it an unknown object ID; InputError if none or several have the name."""
        found = self.find(text)
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(map(self._whole, found))
            raise InputError(f"{text!r} names several identities: {several}.", hint="Give the object ID.")
        if is_guid(self.key(text)):
            return Identity(self.key(text))
        also = "" if self.assigned is None else ", nor assigned to the cluster"
        raise InputError(f"Identity {text!r} is not listed in any policy{also}.", hint=self.hint(text))

    def hint(self, text: str) -> str:
        """Return what may be meant by a name that no identity has."""
        if like_system(text):
            return f"Did you mean {SYSTEM}?"
        names = [one.display_name for one in self.identities.values() if one.display_name]
        return did_you_mean(text, dict.fromkeys(names)) if names else "Give its object ID."

    def client_of(self, text: str) -> Identity | None:
        """Return the identity whose client ID stands where an object ID belongs, or None."""
        wanted, found = self.key(text), self.named(text)
        return found if found and is_guid(wanted) and found.object_id != wanted else None

    def name(self, identity: str) -> str:
        """Return an identity for people, by its object ID or ``system``."""
        found = self.identities.get(identity)
        return str(found) if found else printable(identity)

    def state(self, identity: str) -> Literal["assigned", "orphan", ""]:
        """Return whether an identity is assigned to the cluster or an orphan; empty where that is not known."""
        if identity in self.earlier:
            return "orphan"
        return "" if self.assigned is None else "assigned" if identity in self.assigned else "orphan"

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Return the display names by object ID or ``system``; empty for an identity without one."""
        return MappingProxyType({key: one.display_name for key, one in self.identities.items()})

    def _whole(self, one: Identity) -> str:
        """Return an identity with all that tells it from another of its name."""
        ids = [one.object_id, printable(one.resource_id), *["not assigned"] * (self.state(one.object_id) == "orphan")]
        return f"{printable(one.display_name)} ({', '.join(filter(None, ids))})"


def like_system(text: str) -> bool:
    """Return whether a text is one of the spellings by which other tools name a system identity."""
    return bool(_LIKE_SYSTEM.fullmatch(_NO_LETTER.sub("", text.casefold())))


def _as(key: ObjectId, one: Identity) -> Identity:
    """Return an identity by what grants compare it by."""
    if key == one.object_id or key != SYSTEM:
        return replace(one, object_id=key)
    return replace(one, object_id=SYSTEM, principal_id=one.principal_id or one.object_id)


def _merged(old: Identity, new: Identity) -> Identity:
    """Return an identity with what is newly known of it; what is not told stays."""
    known: dict[str, Any] = {one.name: value for one in fields(new) if (value := getattr(new, one.name))}
    return replace(old, **{**known, "object_id": old.object_id})
