"""The names that a session has met, which can be offered while somebody types without asking the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from kqlmi.model.policy import Snapshot


@dataclass(frozen=True, slots=True)
class Met:
    """Databases, the display names of identities by object ID, and the usages that policies hold."""

    databases: tuple[str, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)
    usages: tuple[str, ...] = ()

    def reading(self, found: Snapshot) -> Self:
        """Give what is known once policies were read as well."""
        # An entry without a display name must not take away the one that another policy told.
        told = {key: one.display_name or self.identities.get(key, "") for key, one in found.identities.items()}
        new = sorted(found.usages.difference(self.usages))
        return replace(self, identities={**self.identities, **told}, usages=(*self.usages, *new))
