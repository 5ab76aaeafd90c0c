"""What Azure Resource Manager tells of a session's cluster; its functions are methods of ``Session``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kqlmi.errors import ForbiddenError, InputError, KqlmiError, ResourceManagerError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import DataConnection, needs, verdict
from kqlmi.model.azure.identitylist import Listed, listed
from kqlmi.model.entities import Identity, Scope
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.access import Access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.uses.needs import DATA_CONNECTIONS, Discovery, Outcome, Source

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource
    from kqlmi.session.session import Session

_FORBIDDEN: Final = 403


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
        """Give a discovery with what the data connections show of the use of identities."""
        if self.identities is None:
            told = Source(DATA_CONNECTIONS, "", self.outcome, detail="Azure Resource Manager does not tell")
            return discovery.learning(DATA_CONNECTIONS, [told], ())
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
        """Give the data connections of all databases."""
        return tuple(one for found in self.connections.values() if isinstance(found, tuple) for one in found)


@dataclass(frozen=True, slots=True)
class IdentityList:
    """The identities of a cluster; ``notes`` say, a sentence each, what is not known of them."""

    rows: tuple[Listed, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """The data connections, each with its identity and whether the policies allow it; ``notes`` as for identities."""

    rows: tuple[tuple[DataConnection, Identity | None, Access], ...]
    notes: tuple[str, ...]


def resource_of(session: "Session") -> "ClusterResource":
    """Give where the cluster is in Azure Resource Manager; InputError where the session does not know."""
    if session.resource is None:
        raise InputError(
            f"Where {session.name} is in Azure Resource Manager is not known.",
            hint="Connect with --resource-id, and a way of signing in that is no bare token.",
        )
    return session.resource


def assigned(session: "Session") -> tuple[Identity, ...]:
    """Return the identities that are assigned to the cluster, by Azure Resource Manager, which the session then knows.

    Raises:
        InputError: The session does not know the cluster's resource ID.
        KqlmiError: They may not be read.
    """
    from kqlmi.arm import identities

    found = identities.read(resource_of(session)).identities
    session.know(session.met.directory.assigning(found))
    return found


def ask(session: "Session", databases: tuple[str, ...] = ()) -> Azure:
    """Ask what is assigned, and for the data connections of some databases; what may not be read fails nothing."""
    try:
        found = assigned(session)
        if not databases:
            return Azure(found)
        from kqlmi.arm import dataconnections

        return Azure(found, connections=dataconnections.read(resource_of(session), databases))
    except KqlmiError as error:
        return Azure(None, str(error), _outcome(error))


def discover(session: "Session", azure: Azure | None = None, *, progress: Progress = unseen) -> Discovery:
    """Give where identities are really used, as far as the caller may see it, each source with its outcome and window.

    Data connections are a source where the session knows the cluster's resource ID.

    Raises:
        KqlmiError: The databases cannot be listed.
    """
    from kqlmi.cluster.discovery import discovery

    found = discovery.discover(session.connection, progress)
    if session.resource is None:
        return found
    names = tuple(str(scope.name) for scope in found.databases)
    return (azure or ask(session, names)).add_to(found, session.resource.resource_id)


def not_assigned(session: "Session", plan: Plan) -> tuple[str, ...]:
    """Give the identities that a plan sends and that are not assigned, so that it will be refused; none if not known."""
    known = ask(session).identities if session.resource and plan.steps else None
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


def identities(session: "Session") -> IdentityList:
    """Give the identities that are assigned to the cluster or stand in a policy; what may not be read is told once."""
    azure, reading = ask(session), session.read()
    notes = [f"Which identities are assigned is not known: {azure.why}"] if azure.identities is None else []
    notes += [f"Not read: the policy of the {scope}. {error}" for scope, error in reading.refused.items()]
    return IdentityList(listed(reading.snapshot, azure.identities), tuple(notes))


def data_connections(session: "Session") -> ConnectionList:
    """Give every data connection of the databases that the caller may see, with its identity and what the policies say.

    Raises:
        InputError: The session does not know the cluster's resource ID.
        KqlmiError: Azure Resource Manager does not tell what is assigned.
    """
    from kqlmi.arm import dataconnections

    resource, known = resource_of(session), assigned(session)
    found = Azure(known, connections=dataconnections.read(resource, session.databases()))
    reading = session.read([Scope.cluster(), *(Scope.database(name) for name in found.connections)])
    facts, directory = Facts.of(reading.snapshot, Discovery(), known), Directory().assigning(known)
    rows = tuple(
        (one, one.runs_as(directory, resource.resource_id), verdict(one, facts, resource.resource_id))
        for one in found.all
    )
    refused: dict[str, list[str]] = {}
    for name, error in found.connections.items():
        if isinstance(error, ResourceManagerError):
            refused.setdefault(error.hint or error.message, []).append(name)
    notes = [f"Not read: the data connections of {', '.join(names)}. {why}" for why, names in refused.items()]
    notes += [f"Not read: the policy of the {scope}. {error}" for scope, error in reading.refused.items()]
    return ConnectionList(rows, tuple(notes))


def _outcome(error: KqlmiError) -> Outcome:
    if isinstance(error, InputError):
        return "not read"
    forbidden = isinstance(error, ForbiddenError) or getattr(error, "status", None) == _FORBIDDEN
    return "not permitted" if forbidden else "failed"
