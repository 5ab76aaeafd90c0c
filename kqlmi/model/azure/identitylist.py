"""The identities of a cluster, assigned or in a policy, each with what the other side knows of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.policy.policy import Snapshot


@dataclass(frozen=True, slots=True)
class Listed:
    """An identity: whether it is assigned (None where that is not known), and its usages in each scope."""

    identity: Identity
    assigned: bool | None
    grants: tuple[tuple[Scope, tuple[str, ...]], ...] = ()

    @property
    def note(self) -> str:
        """Give what is wrong between assignment and policies; empty where nothing is."""
        if self.assigned and not self.grants:
            return "in no policy"
        if self.assigned is False:
            was = ", once the cluster's own" if self.identity.is_system and self.identity.object_id != SYSTEM else ""
            return f"orphan: not assigned{was}"
        return ""


def listed(policies: Snapshot, assigned: Iterable[Identity] | None) -> tuple[Listed, ...]:
    """Give the assigned identities, then those that only policies name.

    An entry by ``IsSystem`` whose object ID is not that of the system identity now is another identity, and not ``system``.
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
