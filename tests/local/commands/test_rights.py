"""Tests that every command checks permissions before it looks anything up, with a table of who may run each command.

A new command needs a row: its text, who may run it, and where that is documented. In the text, ``{db}`` stands for the
database, and ``{one}`` for a table, function, external table or export; both are also tried with names that do not exist.
If a role may learn from the refusal that something exists, because it may read the schema, the row writes that name out.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kqlmi.local import commands
from kqlmi.local.dispatch import registry
from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import ExportRuns, Run
from kqlmi.local.state.entities import ContinuousExport, ExternalTable, Function, Layout
from kqlmi.local.state.state import Database, Grant, State, World, key
from kqlmi.local.values import kusto_time
from kqlmi.local.values.connectionstrings import Location
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.principals import Caller, Role, new_app
from kqlmi.local.values.tables import Table, columns

ALL = ["all admin", "all viewer", "all monitor"]
EVERYONE = ["nobody", "ingestor", "monitor", "viewer", "user", "owner", "database admin", *ALL]
"""``owner`` is a Database User who created the table T and the function T; ``all …`` are roles for the whole cluster."""

SCHEMA = ["monitor", "viewer", "user", "owner", "database admin", *ALL]
DATA = ["viewer", "user", "owner", "database admin", "all viewer", "all admin"]
MONITOR = ["monitor", "database admin", "all monitor", "all admin"]
CREATE = ["user", "owner", "database admin", "all admin"]
INGEST = ["ingestor", "database admin", "all admin"]
TABLE_INGEST = ["owner", *INGEST]
ENTITY_ADMIN = ["owner", "database admin", "all admin"]
DATABASE_ADMIN = ["database admin", "all admin"]
CLUSTER_MONITOR = ["all monitor", "all admin"]
CLUSTER_ADMIN = ["all admin"]


@dataclass(frozen=True)
class Row:
    """A command, who may run it, and the page of the documentation that says so, or what it leaves open."""

    text: str
    may: list[str]
    source: str


STORAGE = "'https://acct.blob.core.windows.net/data'"
EXTERNAL = f"external table {{one}} (a: string) kind=storage dataformat=csv (h@{STORAGE})"
AS_IDENTITY = EXTERNAL.replace("data'", "data;managed_identity=system'")
OPERATION = "11111111-1111-1111-1111-111111111111"
UNSAID = "no page states it"
RUN_PAGES = (
    "show-queries-command.md, show-commands.md: admins and monitors see what ran on their database, others their own"
)
ROLES_PAGE = "manage-database-security-roles.md states Database Admin; security-roles.md lets monitors view permissions"
INGESTION_PAGE = "data-ingestion/ingest-from-query.md"

ROWS = [
    Row(".show cluster policy managed_identity", CLUSTER_MONITOR, "show-managed-identity-policy-command.md"),
    Row(".alter cluster policy managed_identity '[]'", CLUSTER_ADMIN, "alter-managed-identity-policy-command.md"),
    Row(
        ".alter-merge cluster policy managed_identity '[]'",
        CLUSTER_ADMIN,
        "alter-merge-managed-identity-policy-command.md",
    ),
    Row(".delete cluster policy managed_identity", CLUSTER_ADMIN, "delete-managed-identity-policy-command.md"),
    Row(".show database {db} policy managed_identity", SCHEMA, "show-managed-identity-policy-command.md"),
    Row(".alter database {db} policy managed_identity '[]'", CLUSTER_ADMIN, "alter-managed-identity-policy-command.md"),
    Row(
        ".alter-merge database {db} policy managed_identity '[]'",
        CLUSTER_ADMIN,
        "alter-merge-managed-identity-policy-command.md",
    ),
    Row(".delete database {db} policy managed_identity", CLUSTER_ADMIN, "delete-managed-identity-policy-command.md"),
    Row(".show cluster policy callout", CLUSTER_MONITOR, "show-cluster-callout-policy-command.md"),
    Row(".alter cluster policy callout '[]'", CLUSTER_ADMIN, "alter-callout-policy-command.md"),
    Row(".alter-merge cluster policy callout '[]'", CLUSTER_ADMIN, "alter-merge-callout-policy-command.md"),
    Row(".delete cluster policy callout", CLUSTER_ADMIN, "as for .alter; the page of .delete states none"),
    Row(".create database {db}", CLUSTER_ADMIN, UNSAID),
    Row(".create database {db} ifnotexists", CLUSTER_ADMIN, UNSAID),
    Row(".drop database {db}", CLUSTER_ADMIN, "role-based-access-control.md: Contributor of Azure Resource Manager"),
    Row(".alter database {db} prettyname 'A'", DATABASE_ADMIN, "alter-database-prettyname.md"),
    Row(".drop database {db} prettyname", DATABASE_ADMIN, "drop-database-prettyname.md"),
    Row(".create function New() {{ 1 }}", CREATE, "create-function.md"),
    Row(".create function {one}() {{ 1 }}", CREATE, "create-function.md"),
    Row(".create function ifnotexists {one}() {{ 1 }}", CREATE, "create-function.md"),
    Row(".create-or-alter function New() {{ 1 }}", CREATE, "create-alter-function.md: Database User for a new one"),
    Row(
        ".create-or-alter function T() {{ 1 }}", ENTITY_ADMIN, "create-alter-function.md: Function Admin for an old one"
    ),
    Row(".alter function {one}() {{ 1 }}", ENTITY_ADMIN, "alter-function.md"),
    Row(".drop function {one}", ENTITY_ADMIN, "drop-function.md"),
    Row(".drop function {one} ifexists", ENTITY_ADMIN, "drop-function.md"),
    Row(".show functions", SCHEMA, "show-function.md"),
    Row(".show function {one}", SCHEMA, "show-function.md"),
    Row(".get ingestion resources", INGEST, f"{UNSAID}; an ingestor of any database here"),
    Row(".get kusto identity token", INGEST, f"{UNSAID}; an ingestor of any database here"),
    Row(f".list blobs ({STORAGE})", INGEST, "data-ingestion/list-blobs.md: Table Ingestor, of no table that is named"),
    Row(
        f".ingest-from-storage-queued into table database('{{db}}').{{one}} <| {STORAGE}",
        TABLE_INGEST,
        "data-ingestion/ingest-from-storage-queued.md",
    ),
    Row(".show operations", EVERYONE, "show-operations.md: one's own, and those of the databases one administers"),
    Row(f".show operation {OPERATION} details", EVERYONE, "show-operation-details.md states none; as .show operations"),
    Row(".show plugins", SCHEMA, "show-plugins.md"),
    Row(".enable plugin python", CLUSTER_ADMIN, "enable-plugin.md"),
    Row(".disable plugin python", CLUSTER_ADMIN, "disable-plugin.md"),
    Row(".show queries", EVERYONE, RUN_PAGES),
    Row(".show running queries", EVERYONE, RUN_PAGES),
    Row(".show commands", EVERYONE, RUN_PAGES),
    Row(".show commands-and-queries", EVERYONE, f"commands-and-queries.md states none; {RUN_PAGES}"),
    Row(".show journal", EVERYONE, "journal.md: one's own changes, and those of what one administers"),
    Row(
        ".cancel query 'of-another'", EVERYONE, "cancel-query-command.md: one's own, and those of what one administers"
    ),
    Row(".add database {db} viewers ('aaduser=a')", DATABASE_ADMIN, "manage-database-security-roles.md"),
    Row(".drop database {db} viewers ('aaduser=a')", DATABASE_ADMIN, "manage-database-security-roles.md"),
    Row(".show database {db} principals", MONITOR, ROLES_PAGE),
    Row(".show database {db} viewers", MONITOR, ROLES_PAGE),
    Row(
        ".set database {db} viewers ('aaduser=a') skip-results 'note'",
        DATABASE_ADMIN,
        "manage-database-security-roles.md",
    ),
    Row(".add table {one} ingestors ('aaduser=a')", ENTITY_ADMIN, "manage-table-security-roles.md"),
    Row(".drop function {one} admins ('aaduser=a')", ENTITY_ADMIN, "manage-function-security-roles.md"),
    Row(".set external table {one} admins none", DATABASE_ADMIN, "manage-external-table-security-roles.md"),
    Row(".show database {db} principal roles", EVERYONE, "security-roles.md: one's own"),
    Row(".show principal 'aaduser=a' roles", EVERYONE, "EngineCommandInfos.cs; of the databases one may monitor"),
    Row(".show principal roles", EVERYONE, "security-roles.md: one's own"),
    Row(
        ".show databases entities",
        EVERYONE,
        "show-databases-entities.md: Database User, Viewer or Monitor, of the databases that are shown",
    ),
    Row(
        ".show database {db} schema as csl script", SCHEMA, "show-schema-database.md: Database User, Viewer or Monitor"
    ),
    Row(".show external table * policy query_acceleration", SCHEMA, "show-query-acceleration-policy-command.md"),
    Row(".show external table {one} policy query_acceleration", SCHEMA, "show-query-acceleration-policy-command.md"),
    Row(
        ".alter-merge external table {one} policy query_acceleration '{{}}'",
        DATABASE_ADMIN,
        "alter-merge-query-acceleration-policy-command.md",
    ),
    Row(
        ".delete external table {one} policy query_acceleration",
        DATABASE_ADMIN,
        "delete-query-acceleration-policy-command.md",
    ),
    Row(".show external table {one} artifacts", CREATE, "show-external-table-artifacts.md: Database User"),
    Row(".show external table {one} cslschema", SCHEMA, "show-external-table-schema.md"),
    Row(
        ".alter external table {one} policy query_acceleration '{{}}'",
        DATABASE_ADMIN,
        "alter-query-acceleration-policy-command.md",
    ),
    Row(".show ingestion failures", EVERYONE, "ingestion-failures.md states none; those of the databases one may see"),
    Row(".execute database script <| .show version", DATABASE_ADMIN, "execute-database-script.md"),
    Row(".execute cluster script <| .show version", CLUSTER_ADMIN, "execute-cluster-script.md"),
    Row(
        ".show databases",
        EVERYONE,
        "show-databases.md contradicts itself: AllDatabasesMonitor, and the databases that one has access to",
    ),
    Row(".show version", EVERYONE, UNSAID),
    Row(".show cluster", CLUSTER_MONITOR, UNSAID),
    Row(".show tables", SCHEMA, "show-tables-command.md"),
    Row(".show tables ({one})", SCHEMA, "show-tables-command.md"),
    Row(".create table New (a: string)", CREATE, "create-table-command.md"),
    Row(".create table {one} (a: string)", CREATE, "create-table-command.md"),
    Row(".create-merge table New (a: string)", CREATE, "create-merge-table-command.md: Database User for a new one"),
    Row(".create-merge table T (b: string)", ENTITY_ADMIN, "create-merge-table-command.md: Table Admin to extend one"),
    Row(".drop table {one}", ENTITY_ADMIN, "drop-table-command.md"),
    Row(".drop table {one} ifexists", ENTITY_ADMIN, "drop-table-command.md"),
    Row(".set-or-append New <| print a = ''", CREATE, f"{INGESTION_PAGE}: Database User to create a table"),
    Row(".set-or-append T <| print a = ''", TABLE_INGEST, f"{INGESTION_PAGE} states Table Ingestor for .append"),
    Row(".set-or-replace New <| print a = ''", CREATE, f"{INGESTION_PAGE}: Database User to create a table"),
    Row(".set-or-replace T <| print a = ''", ENTITY_ADMIN, f"{INGESTION_PAGE}: Table Admin"),
    Row(".set {one} <| print a = ''", CREATE, f"{INGESTION_PAGE}: Database User"),
    Row(".append {one} <| print a = ''", TABLE_INGEST, f"{INGESTION_PAGE}: Table Ingestor"),
    Row(".ingest inline into table {one} <| a", TABLE_INGEST, "data-ingestion/ingest-inline.md"),
    Row(f".ingest into table {{one}} ({STORAGE})", TABLE_INGEST, "data-ingestion/ingest-into-command.md"),
    Row(f".ingest into table {{one}} {STORAGE}", TABLE_INGEST, "data-ingestion/ingest-into-command.md"),
    Row(f".create-or-alter {EXTERNAL.format(one='New')}", CREATE, "external-tables-azure-storage.md"),
    Row(f".create-or-alter {EXTERNAL.format(one='E')}", DATABASE_ADMIN, f"as .alter; for .create-or-alter {UNSAID}"),
    Row(f".create-or-alter {AS_IDENTITY}", CLUSTER_ADMIN, "external-tables-azure-storage.md"),
    Row(f".create {EXTERNAL}", CREATE, "external-tables-azure-storage.md"),
    Row(f".alter {EXTERNAL}", DATABASE_ADMIN, "external-tables-azure-storage.md: an admin of it, which has no creator"),
    Row(".drop external table {one}", DATABASE_ADMIN, "drop-external-table.md: External Table Admin"),
    Row(".drop external table {one} ifexists", DATABASE_ADMIN, "drop-external-table.md: External Table Admin"),
    Row(".show external tables", SCHEMA, "show-external-tables.md"),
    Row(".show external table {one}", SCHEMA, "show-external-tables.md"),
    Row(".show external tables details", SCHEMA, "show-external-tables-details.md"),
    Row(".show external table {one} details", SCHEMA, "show-external-tables-details.md"),
    Row(f".export to csv ({STORAGE}) <| print 1", DATA, "data-export/export-data-to-storage.md"),
    Row(f".export compressed to csv ({STORAGE}) <| print 1", DATA, "data-export/export-data-to-storage.md"),
    Row(
        ".export to sql {one} 'Server=tcp:s.database.windows.net' <| print 1",
        DATABASE_ADMIN,
        "data-export/export-data-to-sql.md states Table Admin, of no table of the database",
    ),
    Row(".export to table {one} <| print 1", DATABASE_ADMIN, "data-export/export-data-to-an-external-table.md"),
    Row(
        ".create-or-alter continuous-export {one} to table E with (intervalBetweenRuns=1h) <| T",
        DATABASE_ADMIN,
        "data-export/create-alter-continuous.md",
    ),
    Row(".enable continuous-export {one}", DATABASE_ADMIN, "data-export/disable-enable-continuous.md"),
    Row(".disable continuous-export {one}", DATABASE_ADMIN, "data-export/disable-enable-continuous.md"),
    Row(".drop continuous-export {one}", DATABASE_ADMIN, "data-export/drop-continuous-export.md"),
    Row(
        ".show continuous-exports",
        SCHEMA,
        "show-continuous-export.md; continuous-data-export.md contradicts it: Database Admin for all of them",
    ),
    Row(".show continuous-export {one}", SCHEMA, "data-export/show-continuous-export.md"),
    Row(".show continuous-export {one} exported-artifacts", MONITOR, "data-export/show-continuous-artifacts.md"),
    Row(".show continuous-export {one} failures", MONITOR, "data-export/show-continuous-failures.md"),
    Row(".show table {one} policy update", SCHEMA, "show-table-update-policy-command.md"),
    Row(".show table * policy update", SCHEMA, "show-table-update-policy-command.md"),
    Row(".alter table {one} policy update '[]'", ENTITY_ADMIN, "alter-table-update-policy-command.md"),
    Row(".alter-merge table {one} policy update '[]'", ENTITY_ADMIN, "alter-merge-table-update-policy-command.md"),
    Row(".delete table {one} policy update", ENTITY_ADMIN, "delete-table-update-policy-command.md"),
]

CALLERS = {name: new_app(name) for name in EVERYONE}
_CLUSTER = {"all admin": Role.ADMINS, "all viewer": Role.VIEWERS, "all monitor": Role.MONITORS}
_DATABASE = {
    "ingestor": Role.INGESTORS,
    "monitor": Role.MONITORS,
    "viewer": Role.VIEWERS,
    "user": Role.USERS,
    "owner": Role.USERS,
    "database admin": Role.ADMINS,
}
EXISTING = {"function": "T", "external": "E", "continuous-export": "X", ".export": "E"}


def existing(text: str) -> str:
    """Return the name of an existing entity of the kind that a text is about."""
    return next((name for word, name in EXISTING.items() if word in text), "T")


def filled() -> Queries:
    """Return a cluster with one entity of each kind, and a running operation."""
    shape = columns("a: string")
    location = Location("https://acct.blob.core.windows.net/data", "acct", "data", "")
    grants = [Grant(role, CALLERS[name]) for name, role in _DATABASE.items()]
    database = Database(
        "Samples",
        tables={"T": Table(shape)},
        grants=(*grants, *(Grant(Role.ADMINS, CALLERS["owner"], f"{kind} T") for kind in ("Table", "Function"))),
        functions={"T": Function("T", "()", "{ print h'secret' }")},
        external_tables={"E": ExternalTable("E", shape, Layout("csv"), (location,))},
        exports={"X": ContinuousExport("X", "E", "T", ("T",), kusto_time.SECOND * 3600)},
        table_ids={"T": str(uuid.uuid4())},
    )
    state = State(World(databases={key(database.name): database}))
    state.change(
        lambda world: replace(
            world, export_runs={(database.database_id, "X"): ExportRuns({"T": database.position("T")})}
        )
    )
    stranger = new_app("a stranger")
    state.activity.begin(
        Run(is_query=True, text="T", principal=stranger, database="Samples", client_request_id="of-another")
    )
    done = Run(is_query=False, text="", principal=stranger, database="Samples", operation_id=OPERATION)
    done.details = Table(shape, (("Samples",),))
    state.activity.end(state.activity.begin(done), None)
    return Queries(state)


@pytest.fixture(scope="module")
def unchanged() -> Queries:
    """A cluster that must stay unchanged after every refusal."""
    return filled()


def answer(queries: Queries, name: str, text: str, context: str = "Samples") -> Any:
    """Return the rows of a command run by a caller, or the refusal."""
    matched = commands.match(text)
    caller = Caller(CALLERS[name], frozenset({_CLUSTER[name]} if name in _CLUSTER else ()))
    run = Run(is_query=False, text=text, principal=caller.principal, database=context)
    call = commands.Call(queries, caller, run, context, 60.0, matched.args)
    try:
        return matched.command(call).rows
    except KustoError as error:
        return (error.status, error.code, error.detail)


def spellings(text: str) -> Iterable[tuple[str, str]]:
    """Yield a text and the database in context, with names that exist and names that do not."""
    for database in ("Samples", "sAMPLES", "Nowhere"):
        for one in (existing(text), "Missing"):
            yield text.format(db=database, one=one), database


def first(row: Row) -> str:
    return next(iter(spellings(row.text)))[0]


def test_every_command_has_a_row() -> None:
    registered = {command.operation for patterns in registry._COMMANDS.values() for _, command in patterns}
    assert registered == {commands.match(first(row)).command.operation for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_caller_who_may_not_run_a_command_learns_nothing(unchanged: Queries, row: Row) -> None:
    before = unchanged.state.world.databases
    for name in (name for name in EVERYONE if name not in row.may):
        answers = {answer(unchanged, name, text, database) for text, database in spellings(row.text)}
        assert len(answers) == 1, name
        status, code, detail = answers.pop()
        assert (status, code) == (403, "Forbidden"), name
        assert "is not authorized to perform operation" in detail
    assert unchanged.state.world.databases is before


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_caller_who_may_run_a_command_is_not_refused_for_a_role(row: Row) -> None:
    for name in row.may:
        assert "not authorized to perform" not in str(answer(filled(), name, first(row))), name


@pytest.mark.parametrize("row", [row for row in ROWS if row.may == EVERYONE], ids=lambda row: row.text)
def test_a_command_that_everyone_may_run_shows_nothing_of_others(unchanged: Queries, row: Row) -> None:
    shown = str(answer(unchanged, "nobody", first(row)))
    assert "Samples" not in shown
    assert "True" not in shown
    assert shown == str(answer(unchanged, "nobody", first(row), "Nowhere"))


def test_a_query_of_another_is_not_cancelled(unchanged: Queries) -> None:
    assert answer(unchanged, "viewer", ".cancel query 'of-another'") == (("of-another", "", False),)
    assert answer(unchanged, "viewer", ".cancel query 'of-nobody'") == (("of-nobody", "", False),)
    assert answer(unchanged, "database admin", ".cancel query 'of-another'") == (("of-another", "", True),)


def test_an_operation_of_another_is_shown_to_callers_who_may_see_its_database(unchanged: Queries) -> None:
    assert answer(unchanged, "database admin", f".show operation {OPERATION} details") == (("Samples",),)
    missing = "22222222-2222-2222-2222-222222222222"
    answers = [answer(unchanged, "viewer", f".show operation {one} details") for one in (OPERATION, missing)]
    assert answers[0][2].replace(OPERATION, missing) == answers[1][2]


@pytest.mark.parametrize(
    "text", ["T", "database('{0}').T", "T | union database('{0}').T", "database('{0}').external_table('E')"]
)
def test_a_query_does_not_reveal_whether_a_database_exists(unchanged: Queries, text: str) -> None:
    caller = Caller(CALLERS["nobody"])
    refusals = set()
    for name in ("Samples", "Nowhere"):
        run = Run(is_query=True, text=text, principal=caller.principal)
        with pytest.raises(KustoError) as refused:
            unchanged.run(text.format(name), caller, name, run=run, seconds=9.0)
        refusals.add((refused.value.status, refused.value.detail.replace(name, "")))
    assert len(refusals) == 1


def test_the_creator_of_a_table_or_function_administers_it_until_it_is_dropped() -> None:
    queries = filled()
    for create, use, drop in (
        (".create function G() { 1 }", ".alter function G() { 2 }", ".drop function G"),
        (".create table U (a: string)", ".ingest inline into table U <| a", ".drop table U"),
        (".set U <| print a = ''", ".append U <| print a = ''", ".drop table U"),
    ):
        assert "not authorized" not in str(answer(queries, "user", create))
        assert "not authorized" in str(answer(queries, "owner", use))
        assert "not authorized" not in str(answer(queries, "user", use))
        assert "not authorized" in str(answer(queries, "owner", drop))
        assert "not authorized" not in str(answer(queries, "database admin", drop))
        assert "not authorized" not in str(answer(queries, "owner", create))
        assert "not authorized" in str(answer(queries, "user", use))
        assert "not authorized" not in str(answer(queries, "owner", drop))


def test_the_roles_of_a_database_are_not_those_of_its_tables(unchanged: Queries) -> None:
    shown = answer(unchanged, "database admin", ".show database Samples admins")
    assert [row[2] for row in shown] == ["database admin"]
    assert [row[3] for row in answer(unchanged, "owner", ".show principal roles")] == ["Database User"]
