"""What the local cluster holds: identities, databases, policies, callers; changed under one lock."""

import secrets
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from kqlmi.local.state.activity import Activity, Change, ExportRuns, IngestionFailure
from kqlmi.local.state.azureroles import AzureRoles
from kqlmi.local.state.containers import Storage
from kqlmi.local.state.entities import (
    ContinuousExport,
    DataConnection,
    ExternalTable,
    Function,
    IngestionJob,
    Report,
    UpdatePolicy,
)
from kqlmi.local.state.policies import Policy
from kqlmi.local.values import kusto_time, resources
from kqlmi.local.values.faults import database_not_found, entity_not_found, forbidden_database
from kqlmi.local.values.identities import Identity
from kqlmi.local.values.principals import READ_DATA, READ_SCHEMA, Caller, Principal, Role
from kqlmi.local.values.tables import Table

if TYPE_CHECKING:
    from kqlmi.local.state.callouts import Callouts

T = TypeVar("T")


@dataclass(frozen=True)
class Grant:
    """A role that a principal holds in a database, or in one of its entities, such as ``Function F``."""

    role: Role
    principal: Principal
    entity: str = ""
    note: str = ""


@dataclass(frozen=True)
class Database:
    """A database as it is at one moment."""

    name: str
    tables: Mapping[str, Table] = field(default_factory=dict)
    policy: Policy | None = None
    grants: tuple[Grant, ...] = ()
    database_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 1
    external_tables: Mapping[str, ExternalTable] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    update_policies: Mapping[str, tuple[UpdatePolicy, ...]] = field(default_factory=dict)
    exports: Mapping[str, ContinuousExport] = field(default_factory=dict)
    table_ids: Mapping[str, str] = field(default_factory=dict)
    pretty_name: str = ""

    def table(self, name: str) -> Table:
        """Give a table, or refuse a name that does not exist."""
        if name not in self.tables:
            raise entity_not_found(name, "Table")
        return self.tables[name]

    def position(self, name: str) -> tuple[str, int]:
        """Give where a table ends: its ID, which is another one after it was dropped, and its number of rows."""
        return self.table_ids.get(name, ""), len(self.table(name).rows)

    def external_table(self, name: str) -> ExternalTable:
        """Give an external table, or refuse a name that does not exist."""
        if name not in self.external_tables:
            raise entity_not_found(name, "ExternalTable")
        return self.external_tables[name]

    def with_table(self, name: str, table: Table | None) -> "Database":
        """Give the database with a table set, or dropped."""
        made = None if table is None else self.table_ids.get(name) or str(uuid.uuid4())
        policies = {held: policy for held, policy in self.update_policies.items() if table is not None or held != name}
        return replace(
            self if table is not None else self.without_admins(f"Table {name}"),
            tables=with_entry(self.tables, name, table),
            update_policies=policies,
            table_ids=with_entry(self.table_ids, name, made),
        )

    def with_admin(self, entity: str, principal: Principal) -> "Database":
        """Return the database with an admin of an entity: whoever creates one becomes that, as documented."""
        return replace(self, grants=(*self.grants, Grant(Role.ADMINS, principal, entity)))

    def without_admins(self, entity: str) -> "Database":
        """Return the database without the roles in an entity, which is dropped."""
        return replace(self, grants=tuple(grant for grant in self.grants if grant.entity != entity))


class State:
    """The whole of a cluster's state; read a field once, then work with what was read."""

    def __init__(
        self,
        identities: Iterable[Identity],
        databases: Iterable[Database],
        usages: Iterable[str],
        *,
        name: str = "kqlmi-local",
        policy: Policy | None = None,
    ) -> None:
        self.name = name
        self.id = str(uuid.uuid4())
        self.url = self.ingest_url = ""
        self.identities = tuple(identities)
        self.usages = tuple(usages)
        self.policy = policy
        self.callouts: Callouts | None = None
        self.storage = Storage()
        self.azure_roles = AzureRoles()
        self.user_assigned: Mapping[str, Identity] = {
            resources.identity_id(one.display_name).lower(): one for one in self.identities if not one.is_system
        }
        self.operations: Mapping[str, str] = {}
        self.hubs: Mapping[tuple[str, str], tuple[str, ...]] = {}
        self.connections: Mapping[tuple[str, str], DataConnection] = {}
        self.jobs: tuple[IngestionJob, ...] = ()
        self.uploads: frozenset[str] = frozenset()
        self.work = threading.Event()
        self.arm_token = secrets.token_urlsafe(32)
        self.arm_tokens: Mapping[str, str] = {}
        self.signature = secrets.token_urlsafe(32)
        self.authorizations: Mapping[str, Caller] = {}
        self.elsewhere: Mapping[str, Sequence[str]] = {}
        """URLs of ingestion resources that another service provides, by their type."""
        self.plugins: frozenset[str] = frozenset()
        self.exports_changed = threading.Event()
        self.export_runs: Mapping[tuple[str, str], ExportRuns] = {}
        self.ingestion_failures: tuple[IngestionFailure, ...] = ()
        self.reports: Mapping[str, tuple[Report, ...]] = {}
        self.databases: Mapping[str, Database] = {key(database.name): database for database in databases}
        self.callers: Mapping[str, Caller] = {}
        self.started = kusto_time.now()
        self.activity = Activity()
        self.journal: tuple[Change, ...] = ()
        self.lock = threading.RLock()
        self.keep: Callable[[], None] = _forget
        """Lets what has changed survive the process, where the cluster was asked for that."""

    def database(self, name: str) -> Database:
        """Give a database by its name without case, or refuse it."""
        found = self.databases.get(key(name))
        if found is None:
            raise database_not_found(name)
        return found

    def put(self, database: Database) -> Database:
        """Keep a new state of a database, with the next version."""
        with self.lock:
            kept = replace(database, version=database.version + 1)
            self.databases = {**self.databases, key(database.name): kept}
        return kept

    def grant(self, database: Database, grant: Grant) -> Database:
        """Give a principal a role in a database."""
        return self.put(replace(database, grants=(*database.grants, grant)))

    def remove(self, database: Database) -> None:
        """Forget a database."""
        with self.lock:
            self.databases = {name: held for name, held in self.databases.items() if name != key(database.name)}

    def roles(self, caller: Caller, database: Database | None, entity: str = "") -> frozenset[Role]:
        """Return the roles that a caller has in a database, those in one of its entities included where it is named.

        In a database that does not exist these are the roles of the whole cluster.
        """
        if database is None or not database.grants:
            return caller.roles
        granted = (
            grant.role
            for grant in database.grants
            if grant.entity in {"", entity} and grant.principal.is_same(caller.principal)
        )
        return caller.roles | frozenset(granted)

    def visible(self, caller: Caller) -> list[Database]:
        """Give the databases that a caller may see."""
        return [one for one in self.databases.values() if self.roles(caller, one) & READ_SCHEMA]

    def readable(self, caller: Caller, name: str) -> Database:
        """Return a database whose data the caller may read; the refusal does not reveal whether there is one."""
        if not self.roles(caller, self.databases.get(key(name))) & READ_DATA:
            raise forbidden_database(caller.principal.fqn, name)
        return self.database(name)


def _forget() -> None:
    """Keep nothing: the state ends with the process."""


def with_entry(held: Mapping[str, T], name: str, value: T | None) -> dict[str, T]:
    """Give a mapping with an entry set, or dropped; an entry that is there keeps its place."""
    if value is None:
        return {one: kept for one, kept in held.items() if one != name}
    return {**held, name: value}


def key(name: str) -> str:
    """Return what two spellings of one database name share.

    The service's folding beyond "without case" is not published: a letter counts as its capital only where the capital
    leads back to it.
    """
    capitals = ((letter, letter.upper()) for letter in name)
    return "".join(capital if capital.lower() == letter else letter for letter, capital in capitals)
