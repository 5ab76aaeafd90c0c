"""The identities and data connections of a session's cluster, from Azure Resource Manager."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from kqlmi.errors import ForbiddenError, InputError, KqlmiError, ResourceManagerError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import DataConnection, needs
from kqlmi.model.entities import Identity
from kqlmi.model.explain.observations import OPEN, Outbound
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.uses.needs import DATA_CONNECTIONS, Discovery, Outcome, Source
from kqlmi.session.core import Core, know

if TYPE_CHECKING:
    from kqlmi.arm.identities import Assigned
    from kqlmi.arm.resource import ClusterResource


@dataclass(frozen=True, slots=True)
class Azure:
    """The assigned identities and the data connections of each database, from Azure Resource Manager.

    ``identities`` is None if they were not or could not be read: ``why`` is the error, and ``outcome`` its kind. If the
    data connections of a database could not be read, ``connections`` contains the error. ``outbound`` is the cluster's
    outbound network access, if the identities were read.
    """

    identities: tuple[Identity, ...] | None = None
    why: str = ""
    outcome: Outcome = "not read"
    connections: Mapping[str, tuple[DataConnection, ...] | ResourceManagerError] = field(default_factory=dict)
    outbound: Outbound = OPEN

    def add_to(self, discovery: Discovery, cluster: str) -> Discovery:
        """Return a discovery with the uses of identities by the data connections."""
        if self.identities is None:
            source = Source(DATA_CONNECTIONS, "", self.outcome, detail="the assigned identities could not be read")
            return discovery.learning(DATA_CONNECTIONS, [source], ())
        sources = [
            Source(DATA_CONNECTIONS, name, _outcome(found), detail=found.message)
            if isinstance(found, ResourceManagerError)
            else Source(DATA_CONNECTIONS, name, "read")
            for name, found in self.connections.items()
        ]
        return discovery.learning(
            DATA_CONNECTIONS,
            sources,
            needs(self.all, Directory().assigning(self.identities), cluster, self.connections),
        )

    @property
    def all(self) -> tuple[DataConnection, ...]:
        """Return the data connections of all databases."""
        return tuple(one for found in self.connections.values() if isinstance(found, tuple) for one in found)


def resource_of(core: Core) -> "ClusterResource":
    """Return the cluster's resource in Azure Resource Manager, or raise InputError if the session does not know it."""
    if core.resource is None:
        raise InputError(
            f"kqlmi cannot query Azure Resource Manager about {core.name}: the resource ID or a credential is missing.",
            hint="Connect with --resource-id, and sign in with a credential, not a bare token.",
        )
    return core.resource


def assigned(core: Core) -> tuple[Identity, ...]:
    """Return the identities that are assigned to the cluster, and remember them in the session."""
    return _assigned(core).identities


def _assigned(core: Core) -> "Assigned":
    from kqlmi.arm import identities

    found = identities.read(resource_of(core))
    know(core, core.known.directory.assigning(found.identities))
    return found


def ask(core: Core, databases: tuple[str, ...] = ()) -> Azure:
    """Return the assigned identities and the data connections of some databases. An error is returned, not raised."""
    try:
        found = _assigned(core)
        if not databases:
            return Azure(found.identities, outbound=found.outbound)
        from kqlmi.arm import dataconnections

        return Azure(found.identities, connections=dataconnections.read(resource_of(core), databases))
    except KqlmiError as error:
        return Azure(None, str(error), _outcome(error))


def discover(core: Core, azure: Azure | None = None, *, progress: Progress = unseen) -> Discovery:
    """Return the actual uses of identities that are visible to the caller."""
    from kqlmi.cluster.discovery import discovery

    found = discovery.discover(core.connection, progress)
    if core.resource is None:
        return found
    names = tuple(str(scope.name) for scope in found.databases)
    return (azure or ask(core, names)).add_to(found, core.resource.resource_id)


def not_assigned(core: Core, plan: PolicyPlan) -> tuple[str, ...]:
    """Return the identities in a plan's commands that are not assigned, or nothing if the assignments are unknown."""
    known = ask(core).identities if core.resource and plan.steps else None
    facts = Facts(Snapshot(), Discovery(), known)
    sent = (
        entry.object_id
        for step in plan.steps
        for entry in (step.after.entries if step.after else ())
        # A merge does not send the entries that exist already.
        if facts.is_orphan(entry)
        and (step.verb == "alter" or any(one.identity == entry.identity for one in step.changes))
    )
    return tuple(dict.fromkeys(sent))


def _outcome(error: KqlmiError) -> Outcome:
    if isinstance(error, InputError):
        return "not read"
    forbidden = isinstance(error, ForbiddenError) or getattr(error, "status", None) == HTTPStatus.FORBIDDEN
    return "not permitted" if forbidden else "failed"
