"""Data connections: streams that a cluster ingests automatically, each as an identity."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from kqlmi.model.audit.findings import Facts
from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.policy.access import Access, access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.uses.needs import DATA_CONNECTIONS, Evidence, Need
from kqlmi.model.workflows import WORKFLOWS

USAGE: Final = "DataConnection"
_WORKFLOWS: Final = {row.id.removeprefix("dataconnection."): row for row in WORKFLOWS if row.usage == USAGE}


@dataclass(frozen=True, slots=True)
class DataConnection:
    """A data connection as Azure Resource Manager shows it.

    ``identity`` is the resource ID of a user-assigned identity, or the cluster's own for its system identity, or empty
    if the connection authenticates with a key. ``principal`` is the object ID, if shown. ``stream`` is what it reads
    from. ``routes`` means that each event goes to the database that the event names.
    """

    name: str
    database: str
    kind: str
    table: str = ""
    identity: str = ""
    principal: str = ""
    stream: str = ""
    routes: bool = False

    @property
    def title(self) -> str:
        """Return the kind for display."""
        row = _WORKFLOWS.get(self.kind.casefold())
        return row.title if row else f"{self.kind} data connection"

    @property
    def scope(self) -> Scope:
        """Return the scope of its database."""
        return Scope.database(self.database)

    def runs_as(self, directory: Directory, cluster: str) -> Identity | None:
        """Return the identity, or None if it is not known; ``cluster`` is the resource ID that means the system identity."""
        name = SYSTEM if self.identity and self.identity.casefold() == cluster.casefold() else self.identity
        return directory.named(name) or directory.named(self.principal)

    @property
    def inferred(self) -> bool:
        """Check whether the need for the usage is inferred, because no documentation page states it."""
        row = _WORKFLOWS.get(self.kind.casefold())
        return row is None or row.sure != "documented"


def needs(
    found: Iterable[DataConnection], directory: Directory, cluster: str, databases: Iterable[str] = ()
) -> Iterator[Need]:
    """Yield the needs of data connections; a connection that authenticates with a key has none.

    For a connection that routes events, the other ``databases`` in which it uses its identity cannot be determined.
    """
    places = [Scope.database(name) for name in databases]
    for one in found:
        if not one.identity and not one.principal:
            continue
        who = one.runs_as(directory, cluster)
        identity = str(who.object_id) if who else one.principal or None
        target = f", into table {one.table}" if one.table else ""
        says = f"data connection {one.name} ({one.title}){target}"
        says += "" if identity else ", with an identity that is not assigned"
        yield Need(identity, USAGE, one.scope, (Evidence(DATA_CONNECTIONS, says, inferred=one.inferred),))
        says = f"data connection {one.name} of the {one.scope} sends each event to the database that the event names"
        for place in (place for place in places if one.routes and place != one.scope):
            yield Need(None, USAGE, place, (Evidence(DATA_CONNECTIONS, says),))


def verdict(one: DataConnection, facts: Facts, cluster: str) -> Access:
    """Return whether the policies allow a data connection to use its identity, and why."""
    if not one.identity and not one.principal:
        return Access(allowed=None, reason="it does not use a managed identity")
    who = one.runs_as(facts.directory, cluster)
    if facts.assigned is not None and (who is None or facts.directory.state(who.object_id) == "orphan"):
        return Access(allowed=False, reason="its identity is not assigned to the cluster")
    identity = str(who.object_id) if who else one.principal
    if not identity:
        return Access(allowed=None, reason="its identity could not be determined")
    return access(facts.live, identity, USAGE, one.scope)
