"""What Azure Resource Manager tells of a session's cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from kqlmi.errors import ForbiddenError, InputError, KqlmiError, ResourceManagerError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import DataConnection, needs
from kqlmi.model.entities import Identity
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.uses.needs import DATA_CONNECTIONS, Discovery, Outcome, Source
from kqlmi.session.core import Core, know

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource


@dataclass(frozen=True, slots=True)
class Azure:
    """What Azure Resource Manager tells: the assigned identities, and the data connections of each database.

    ``identities`` is None where it was not asked, or did not tell: ``why`` says what stood against it, ``outcome`` in a
    word. Of a database whose data connections may not be read, the error is kept.
    """

    identities: tuple[Identity, ...] | None = None
    why: str = ""
    outcome: Outcome = "not read"
    connections: Mapping[str, tuple[DataConnection, ...] | ResourceManagerError] = field(default_factory=dict)

    def add_to(self, discovery: Discovery, cluster: str) -> Discovery:
        """Return a discovery with what the data connections show of the use of identities."""
        if self.identities is None:
            source = Source(DATA_CONNECTIONS, "", self.outcome, detail="Azure Resource Manager does not tell")
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
    """Return where the cluster is in Azure Resource Manager; InputError where the session does not know."""
    if core.resource is None:
        raise InputError(
            f"Where {core.name} is in Azure Resource Manager is not known.",
            hint="Connect with --resource-id, and a way of signing in that is no bare token.",
        )
    return core.resource


def assigned(core: Core) -> tuple[Identity, ...]:
    """Return the identities that are assigned to the cluster, which the session then knows."""
    from kqlmi.arm import identities

    found = identities.read(resource_of(core)).identities
    know(core, core.known.directory.assigning(found))
    return found


def ask(core: Core, databases: tuple[str, ...] = ()) -> Azure:
    """Ask what is assigned, and for the data connections of some databases; what may not be read fails nothing."""
    try:
        found = assigned(core)
        if not databases:
            return Azure(found)
        from kqlmi.arm import dataconnections

        return Azure(found, connections=dataconnections.read(resource_of(core), databases))
    except KqlmiError as error:
        return Azure(None, str(error), _outcome(error))


def discover(core: Core, azure: Azure | None = None, *, progress: Progress = unseen) -> Discovery:
    """Return where identities are really used, as far as the caller may see it."""
    from kqlmi.cluster.discovery import discovery

    found = discovery.discover(core.connection, progress)
    if core.resource is None:
        return found
    names = tuple(str(scope.name) for scope in found.databases)
    return (azure or ask(core, names)).add_to(found, core.resource.resource_id)


def not_assigned(core: Core, plan: PolicyPlan) -> tuple[str, ...]:
    """Return the identities that a plan sends and that are not assigned; none if that is not known."""
    known = ask(core).identities if core.resource and plan.steps else None
    facts = Facts(Snapshot(), Discovery(), known)
    sent = (
        entry.object_id
        for step in plan.steps
        for entry in (step.after.entries if step.after else ())
        # A merge sends nothing of what it finds.
        if facts.is_orphan(entry)
        and (step.verb == "alter" or any(one.identity == entry.identity for one in step.changes))
    )
    return tuple(dict.fromkeys(sent))


def _outcome(error: KqlmiError) -> Outcome:
    if isinstance(error, InputError):
        return "not read"
    forbidden = isinstance(error, ForbiddenError) or getattr(error, "status", None) == HTTPStatus.FORBIDDEN
    return "not permitted" if forbidden else "failed"
