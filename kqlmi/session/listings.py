"""The lists of a cluster's identities and data connections, compared with the policies, and of the latest failures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kqlmi.errors import KqlmiError, ResourceManagerError, printable
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.dataconnections import DataConnection, verdict
from kqlmi.model.azure.identitylist import NOTE_TAGS, Listed, listed
from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.explain.explanation import from_text
from kqlmi.model.explain.failures import Failure, FailureList
from kqlmi.model.kql import quoting
from kqlmi.model.policy.access import Access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.uses.needs import Discovery
from kqlmi.report import YES_NO, Described, Report, Rows, counted
from kqlmi.session.core import Core, database_name
from kqlmi.session.policies import database_scope, databases, read
from kqlmi.session.resource_manager import Azure, ask, assigned, resource_of

_MOST: Final = 20  # failures of ingestion, and of each export


@dataclass(frozen=True, slots=True, repr=False)
class IdentityList(Described):
    """The identities of a cluster. Each of the ``notes`` is a sentence about something that could not be read."""

    identities: tuple[Listed, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> Rows:
        """Return a row for each identity.

        Columns: ``display_name``, ``object_id``, ``client_id``, ``is_system``, ``assigned`` (missing if unknown),
        ``policies`` (a list: each scope with its usages), ``note`` (any mismatch between assignment and policies) and
        ``resource_id``.
        """
        return Rows.of(
            self.identities,
            {
                "display_name": lambda row: row.identity.display_name,
                "object_id": lambda row: row.identity.principal_id or str(row.identity.object_id),
                "client_id": lambda row: row.identity.client_id,
                "is_system": lambda row: row.identity.is_system,
                "assigned": lambda row: row.assigned,
                "policies": lambda row: [f"{scope}: {', '.join(usages)}" for scope, usages in row.grants],
                "note": lambda row: row.note,
                "resource_id": lambda row: row.identity.resource_id,
            },
            {"is_system": "bool", "assigned": "boolean"},
            {
                "object_id": "id",
                "client_id": "id",
                "assigned": YES_NO,
                "policies": "folded",
                "note": NOTE_TAGS,
                "resource_id": "id",
            },
        )

    def report(self) -> Report:
        """Return the number of identities, the rows and the notes."""
        return Report(counted(len(self.identities), "identity", "identities"), blocks=(self.rows,), notes=self.notes)


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionList(Described):
    """The data connections, each with its identity and whether the policies allow it; ``notes`` as in ``IdentityList``."""

    connections: tuple[tuple[DataConnection, Identity | None, Access], ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> Rows:
        """Return a row for each data connection.

        Columns: ``database``, ``name``, ``kind``, ``table``, ``identity`` (its name, or ``system``), ``object_id``,
        ``allowed`` (missing if unknown, or if the connection authenticates with a key), ``reason`` and ``stream`` (its
        source).
        """
        found = tuple(
            (
                one.database,
                one.name,
                one.kind,
                one.table,
                "" if who is None else SYSTEM if who.object_id == SYSTEM else who.display_name,
                one.principal or (who.principal_id if who else ""),
                access.allowed,
                access.reason,
                one.stream,
            )
            for one, who, access in self.connections
        )
        names = ("database", "name", "kind", "table", "identity", "object_id", "allowed", "reason", "stream")
        return Rows(names, found, {"allowed": "boolean"}, {"object_id": "id", "allowed": YES_NO})

    def report(self) -> Report:
        """Return the number of data connections, the rows and the notes."""
        return Report(counted(len(self.connections), "data connection"), blocks=(self.rows,), notes=self.notes)


def identities(core: Core) -> IdentityList:
    """List the identities that are assigned to the cluster or listed in a policy."""
    azure, reading = ask(core), read(core)
    notes = [f"Could not determine which identities are assigned: {azure.why}"] if azure.identities is None else []
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


def failures(core: Core, database: str) -> FailureList:
    """List the latest failures of ingestion and of continuous exports in a database, each explained by its text."""
    name, notes = str(database_scope(core, database_name(core, database)).name), list[str]()

    def rows(what: str, text: str) -> list[Mapping[str, Any]]:
        try:
            return list(core.connection.execute(text, name).records())
        except KqlmiError as error:
            notes.append(f"Not read: {what}. {error}")
            return []

    ingestion = f".show ingestion failures | where Database == {quoting.literal(name)} | top {_MOST} by FailedOn desc"
    found = [
        (f"ingestion into {row['Table']}", row["FailedOn"], f"{row['ErrorCode']}: {row['Details']}")
        for row in rows("the failures of ingestion", ingestion)
    ]
    for export in rows("the continuous exports", ".show continuous-exports"):
        what, of = str(export["Name"]), quoting.name(str(export["Name"]))
        text = f".show continuous-export {of} failures | top {_MOST} by Timestamp desc"
        listed = rows(f"the failures of the continuous export {printable(what)}", text)
        found += [(f"continuous export {what}", row["Timestamp"], str(row["Details"])) for row in listed]
    if found:  # for the names of the identities in the texts
        read(core, [Scope.cluster(), Scope.database(name)])
    return FailureList(name, tuple(_explained(core, *one) for one in found), tuple(notes))


def _explained(core: Core, subject: str, time: object, details: str) -> Failure:
    text = KqlmiError(details).message  # without secrets
    return Failure(subject, time, text, from_text(text, core.name, known=core.known.directory))
