"""The identities and the data connections of a cluster, each with what the policies say of it."""

from dataclasses import dataclass

from kqlmi.errors import ResourceManagerError
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import DataConnection, verdict
from kqlmi.model.azure.identitylist import Listed, listed
from kqlmi.model.entities import Identity, Scope
from kqlmi.model.policy.access import Access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.uses.needs import Discovery
from kqlmi.session.core import Core
from kqlmi.session.policies import databases, read
from kqlmi.session.resource_manager import Azure, ask, assigned, resource_of


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


def identities(core: Core) -> IdentityList:
    """List the identities that are assigned to the cluster, or stand in a policy."""
    azure, reading = ask(core), read(core)
    notes = [f"Which identities are assigned is not known: {azure.why}"] if azure.identities is None else []
    notes += [f"Not read: the policy of the {scope}. {error}" for scope, error in reading.refused.items()]
    return IdentityList(listed(reading.snapshot, azure.identities), tuple(notes))


def data_connections(core: Core) -> ConnectionList:
    """List the data connections of the databases that the caller may see."""
    from kqlmi.arm import dataconnections

    resource, known = resource_of(core), assigned(core)
    found = Azure(known, connections=dataconnections.read(resource, databases(core)))
    reading = read(core, [Scope.cluster(), *(Scope.database(name) for name in found.connections)])
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
