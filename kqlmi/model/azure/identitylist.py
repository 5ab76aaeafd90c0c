"""The list of a cluster's identities, assigned or in a policy, each with its assignment and its grants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.policy.policy import Snapshot
from kqlmi.report import Mark

_UNUSED, _ORPHAN, _EARLIER = (
    "not in any policy",
    "orphan: not assigned",
    "orphan: not assigned, formerly the system identity",
)
NOTE_TAGS: Final[Mapping[str, Mark]] = MappingProxyType({_ORPHAN: "warning", _EARLIER: "warning"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An identity, whether it is assigned (None if that is not known), and its usages in each scope."""

    identity: Identity
    assigned: bool | None
    grants: tuple[tuple[Scope, tuple[str, ...]], ...] = ()

    @property
    def note(self) -> str:
        """Return how the assignments and the policies differ on the identity, or an empty string if they agree."""
        if self.assigned and not self.grants:
            return _UNUSED
        if self.assigned is False:
            is_earlier = self.identity.is_system and self.identity.object_id != SYSTEM
            return _EARLIER if is_earlier else _ORPHAN
        return ""


def listed(policies: Snapshot, assigned: Iterable[Identity] | None) -> tuple[Listed, ...]:
    """Return the assigned identities, then those that occur only in policies.

    An entry with ``IsSystem`` whose object ID is not the current system identity's is listed as a separate identity.
    """
    known = None if assigned is None else tuple(assigned)
    found = {one.principal_id: Listed(one, assigned=True) for one in known or ()}
    system = next((one.principal_id for one in known or () if one.object_id == SYSTEM), "")
    for scope, policy in policies.policies.items():
        for entry in policy.entries if policy else ():
            key = system if entry.object_id == SYSTEM and system else str(entry.object_id)
            if key not in found:
                is_system = entry.is_system or entry.object_id == SYSTEM  # now, or earlier
                named = replace(entry.described, object_id=entry.object_id, is_system=is_system)
                found[key] = Listed(named, None if known is None else False)
            who, grants = found[key].identity, found[key].grants
            if not who.display_name and entry.display_name:
                who = replace(who, display_name=entry.display_name, client_id=entry.client_id)
            found[key] = replace(found[key], identity=who, grants=(*grants, (scope, entry.usages)))
    return tuple(found.values())
