"""Observations of a cluster, and of its resource in Azure, about the gates of a flow."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from kqlmi.model.explain.roles import HeldRole


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that was not read; ``why`` follows a colon in the sentence of a gate."""

    why: str


UNSEEN: Final = Unread("kqlmi cannot check this")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the callout policy that applies to the target of a flow."""

    pattern: str
    allows: bool


@dataclass(frozen=True, slots=True)
class Outbound:
    """The outbound network access of a cluster; if it is restricted, only to ``hosts``, or as Azure's callout rules allow."""

    is_restricted: bool = False
    hosts: tuple[str, ...] = ()


OPEN: Final = Outbound()


@dataclass(frozen=True, slots=True)
class RolesOn:
    """The resource ID of a target in Azure, and the names of the identity's roles on it."""

    resource_id: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observations:
    """The observations about a flow; a part that was not read contains the reason instead.

    ``assigned`` are the object IDs of the assigned identities. ``plugins`` maps the name of each plugin to whether it is
    enabled, ``targets`` each target to the identity's roles on it. ``caller`` are the roles of the caller, whose principal
    is ``fqn`` if it was read; ``identity`` are those of the identity in the database. ``manages`` is whether the caller may
    change the cluster's resource in Azure.
    """

    assigned: Collection[str] | Unread = UNSEEN
    plugins: Mapping[str, bool] | Unread = UNSEEN
    outbound: Outbound | Unread = UNSEEN
    callouts: tuple[Rule, ...] | Unread = UNSEEN
    targets: Mapping[str, RolesOn | Unread] = field(default_factory=dict)
    caller: tuple[HeldRole, ...] | Unread = UNSEEN
    identity: tuple[HeldRole, ...] | Unread = UNSEEN
    manages: bool | Unread = UNSEEN
    fqn: str = ""


NOTHING: Final = Observations()
