"""The state of the local cluster: one value that is replaced under a lock, and data that ends with the process."""

import secrets
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from kqlmi.local.state import azureroles
from kqlmi.local.state.activity import Activity, Change, ExportRuns, IngestionFailure
from kqlmi.local.state.azureroles import AzureRoles
from kqlmi.local.state.callouts import Callouts
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
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import bad_request, forbidden_database, not_found
from kqlmi.local.values.identities import Identity
from kqlmi.local.values.principals import READ_DATA, READ_SCHEMA, Caller, Principal, Role
from kqlmi.local.values.tables import Table

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class Grant:
    """A role of a principal in a database, or in one of its entities, such as ``Function F``."""

    role: Role
    principal: Principal
    entity: str = ""
    note: str = ""


@dataclass(frozen=True)
class Database:
    """A database at one moment."""

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
        """Return a table, or raise if it does not exist."""
        return _entry(self.tables, name, "Table")

    def position(self, name: str) -> tuple[str, int]:
        """Return the end of a table: its ID, which is new after it was dropped and recreated, and its number of rows."""
        return self.table_ids.get(name, ""), len(self.table(name).rows)

    def external_table(self, name: str) -> ExternalTable:
        """Return an external table, or raise if it does not exist."""
        return _entry(self.external_tables, name, "ExternalTable")

    def function(self, name: str) -> Function:
        """Return a function, or raise if it does not exist."""
        return _entry(self.functions, name, "Function")

    def export(self, name: str) -> ContinuousExport:
        """Return a continuous export, or raise if it does not exist."""
        return _entry(self.exports, name, "ContinuousExport")

    def with_table(self, name: str, table: Table | None) -> "Database":
        """Return the database with a table set, or dropped if it is None."""
        if table is not None:
            table_id = self.table_ids.get(name) or str(uuid.uuid4())
            return replace(self, tables={**self.tables, name: table}, table_ids={**self.table_ids, name: table_id})
        return replace(
            self.without_admins(f"Table {name}"),
            tables=without(self.tables, name),
            table_ids=without(self.table_ids, name),
            update_policies=without(self.update_policies, name),
        )

    def with_admin(self, entity: str, principal: Principal) -> "Database":
        """Return the database with an admin of an entity, which its creator becomes, as documented."""
        return replace(self, grants=(*self.grants, Grant(Role.ADMINS, principal, entity)))

    def without_admins(self, entity: str) -> "Database":
        """Return the database without the roles in an entity that is dropped."""
        return replace(self, grants=tuple(grant for grant in self.grants if grant.entity != entity))


@dataclass(frozen=True)
class World:
    """The content of a cluster at one moment, all of which can outlive the process, unlike tokens."""

    identities: tuple[Identity, ...] = ()
    usages: tuple[str, ...] = ()
    policy: Policy | None = None
    databases: Mapping[str, Database] = field(default_factory=dict)
    user_assigned: Mapping[str, Identity] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    callouts: Callouts | None = None
    containers: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    """The folders that back containers, by (account, container)."""
    azure_roles: AzureRoles = field(default_factory=AzureRoles)
    plugins: frozenset[str] = frozenset()
    hubs: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    connections: Mapping[tuple[str, str], DataConnection] = field(default_factory=dict)
    jobs: tuple[IngestionJob, ...] = ()
    export_runs: Mapping[tuple[str, str], ExportRuns] = field(default_factory=dict)
    ingestion_failures: tuple[IngestionFailure, ...] = ()
    journal: tuple[Change, ...] = ()
    reports: Mapping[str, tuple[Report, ...]] = field(default_factory=dict)
    uploads: frozenset[str] = frozenset()

    def with_container(self, url: str, folder: Path) -> "World":
        """Return the world with a container that is backed by a folder."""
        location, path = azureroles.container(url), folder.resolve(strict=True)
        if not set("*?[]").isdisjoint(str(path)):
            raise bad_request(f"the path of the folder {folder} contains * ? [ or ], which DuckDB reads as a pattern")
        return replace(self, containers={**self.containers, (location.account, location.container): path})

    def without_database(self, database: Database) -> "World":
        """Return the world without a database and everything that belongs to it."""
        name = key(database.name)
        return replace(
            self,
            databases=without(self.databases, name),
            connections={place: one for place, one in self.connections.items() if place[0] != name},
            export_runs={at: runs for at, runs in self.export_runs.items() if at[0] != database.database_id},
        )


def _unkept() -> None:
    """Save nothing: the state ends with the process."""


@dataclass(eq=False, repr=False)
class State:
    """A cluster's world, which is replaced under one lock, and data that ends with the process.

    Read ``world`` once, then work with that value.
    """

    world: World
    name: str = "kqlmi-local"
    url: str = ""
    ingest_url: str = ""
    started: int = field(default_factory=kusto_time.now)
    activity: Activity = field(default_factory=Activity)
    lock: threading.RLock = field(default_factory=threading.RLock)
    work: threading.Event = field(default_factory=threading.Event)
    exports_changed: threading.Event = field(default_factory=threading.Event)
    callers: Mapping[str, Caller] = field(default_factory=dict)
    authorizations: Mapping[str, Caller] = field(default_factory=dict)
    signature: str = field(default_factory=secrets.token_urlsafe)
    arm_token: str = field(default_factory=secrets.token_urlsafe)
    arm_tokens: Mapping[str, str] = field(default_factory=dict)
    operations: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The URLs of ingestion resources that another service provides, by type."""
    keep: Callable[[], None] = field(default_factory=lambda: _unkept)
    """A function that saves the changes, if the cluster keeps its state in a folder."""

    def change(self, change: Callable[[World], World]) -> None:
        """Replace the world with the result of ``change``."""
        with self.lock:
            self.world = change(self.world)

    def database(self, name: str) -> Database:
        """Return a database by its name, regardless of case, or raise if it does not exist."""
        found = self.world.databases.get(key(name))
        if found is None:
            raise not_found(name, "Database")
        return found

    def put(self, database: Database) -> Database:
        """Store a new state of a database, with the next version."""
        kept = replace(database, version=database.version + 1)
        self.change(lambda w: replace(w, databases={**w.databases, key(database.name): kept}))
        return kept

    def roles(self, caller: Caller, database: Database | None, entity: str = "") -> frozenset[Role]:
        """Return the roles of a caller in a database, including those in ``entity`` if specified.

        For a database that does not exist, these are the roles in the whole cluster.
        """
        grants, who = database.grants if database else (), caller.principal
        return caller.roles | {one.role for one in grants if one.entity in {"", entity} and one.principal.is_same(who)}

    def visible(self, caller: Caller) -> list[Database]:
        """Return the databases that a caller may see."""
        return [one for one in self.world.databases.values() if self.roles(caller, one) & READ_SCHEMA]

    def readable(self, caller: Caller, name: str) -> Database:
        """Return a database whose data the caller may read; the error does not reveal whether it exists."""
        if not self.roles(caller, self.world.databases.get(key(name))) & READ_DATA:
            raise forbidden_database(caller.principal.fqn, name)
        return self.database(name)


def _entry(entries: Mapping[str, T], name: str, kind: str) -> T:
    if name not in entries:
        raise not_found(name, kind)
    return entries[name]


def with_entry(entries: Mapping[str, T], name: str, value: T | None) -> dict[str, T]:
    """Return a mapping with an entry set, or dropped if it is None; an existing entry keeps its place."""
    return without(entries, name) if value is None else {**entries, name: value}


def without(entries: Mapping[K, T], name: K) -> dict[K, T]:
    """Return a mapping without an entry."""
    return {one: kept for one, kept in entries.items() if one != name}


def key(name: str) -> str:
    """Return the key that all spellings of a database name share.

    The service folds case; the details are not published. Here, a letter is folded to its capital only if the capital
    folds back to it.
    """
    capitals = ((letter, letter.upper()) for letter in name)
    return "".join(capital if capital.lower() == letter else letter for letter, capital in capitals)
