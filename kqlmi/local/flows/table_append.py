"""Appends to tables, including the rows that update policies derive."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from kqlmi.local.dispatch.registry import Call
from kqlmi.local.engine import duckdb_tables, kqltext
from kqlmi.local.engine.results import to_microseconds
from kqlmi.local.query.unattended import Unattended
from kqlmi.local.state import masking
from kqlmi.local.state.activity import IngestionFailure
from kqlmi.local.state.entities import UpdatePolicy
from kqlmi.local.state.state import Database
from kqlmi.local.values.faults import KustoError, already_exists, bad_request
from kqlmi.local.values.principals import ADMIN, CREATE, INGEST
from kqlmi.local.values.tables import Table, schema_text

_DEEPEST = 10
_ATTEMPTS = 5


def append(
    call: Call,
    name: str,
    rows: Table,
    *,
    creates: bool | None = False,
    replaces: bool = False,
    then: Callable[[], None] = lambda: None,
) -> tuple[str, int]:
    """Append rows to a table, and return the ID of the new extent and the number of rows.

    ``creates`` is True if the table must be new, False if it must exist, and None if either is allowed; ``replaces``
    removes its earlier rows. The rows that update policies derive are added too; if a transactional policy fails,
    nothing is added. ``then`` is called as part of the same change of the state.
    """
    for _ in range(_ATTEMPTS):
        before = allowed(call, name, creates=creates, replaces=replaces)
        existing = _target(before, name, rows, creates=creates)
        derived = list(_derive(call, before, name, existing.with_rows(rows.rows), 1)) if existing else []
        with call.state.lock:
            database = allowed(call, name, creates=creates, replaces=replaces)
            existing = _target(database, name, rows, creates=creates)
            if _shape(database) == _shape(before) or not derived:
                earlier = existing.rows if existing and not replaces else ()
                keep(call, database, name, existing.with_rows((*earlier, *rows.rows)) if existing else rows)
                for target, made in derived:
                    database = call.state.database(database.name)
                    table = database.table(target)
                    keep(call, database, target, table.with_rows((*table.rows, *made.rows)))
                then()
                return str(uuid.uuid4()), len(rows.rows)
    raise bad_request(
        f"the rows were not appended to '{name}': its update policies or their tables kept changing. Try again."
    )


def allowed(call: Call, name: str, *, creates: bool | None, replaces: bool = False) -> Database:
    """Return the database of a table if the caller may call ``append`` with these arguments."""
    roles = ADMIN if replaces else INGEST
    database = call.allowed(roles | CREATE if creates is None else CREATE if creates else roles, f"Table {name}")
    if creates is None:
        call.require(roles if name in database.tables else CREATE, database, f"Table {name}")
    return database


def _shape(database: Database) -> object:
    """Return everything that the rows derived by update policies depend on, except rows."""
    columns = {name: (database.table_ids.get(name), table.columns) for name, table in database.tables.items()}
    return columns, database.update_policies


def keep(call: Call, database: Database, name: str, table: Table) -> None:
    """Store a new table, or a new state of one, and record it in the journal."""
    existing = database.tables.get(name)
    if existing is None or existing.columns != table.columns:
        _require_storable(database, name, table)
    changed = database.with_table(name, table)
    kept = call.state.put(changed if existing else changed.with_admin(f"Table {name}", call.caller.principal))
    call.record("CREATE-TABLE" if existing is None else "INGEST", kept, entity=name, after=schema_text(table.columns))


def note_failure(
    call: Call, table: str, error: KustoError, *, source: str = "", policy: bool = False
) -> IngestionFailure:
    """Record a failed ingestion for ``.show ingestion failures``, and return it."""
    failure = IngestionFailure(
        database=call.run.database or call.queries.context(call.caller, call.context_name),
        table=table,
        source=source,
        details=masking.masked(error.detail, masking.kept(call.state)),
        error_code=error.code,
        is_permanent=error.permanent,
        is_from_update_policy=policy,
        principal=call.caller.principal.fqn,
        activity_id=call.run.activity_id,
    )
    call.state.change(lambda w: replace(w, ingestion_failures=(*w.ingestion_failures[-9_999:], failure)))
    return failure


def _target(database: Database, name: str, rows: Table, *, creates: bool | None) -> Table | None:
    """Return the table to append to, or None if it must be created; raise if the rows cannot be appended."""
    existing = database.tables.get(name)
    if creates and existing:
        raise already_exists(name, "Table")
    if creates is False:
        existing = database.table(name)
    if existing:
        _refuse_other_types(existing, rows, "the query")
    require_microseconds(rows)
    return existing


def require_microseconds(rows: Table) -> None:
    """Raise if the engine cannot represent a value."""
    for column, values in zip(rows.columns, zip(*rows.rows, strict=True), strict=False):
        if column.type in {"datetime", "timespan"}:
            for value in values:
                to_microseconds(value or 0)


def _refuse_other_types(table: Table, rows: Table, what: str) -> None:
    if [column.type for column in table.columns] != [column.type for column in rows.columns]:
        shown = schema_text(rows.columns)
        raise bad_request(f"Query schema does not match table schema: {what} returns ({shown})")


def _derive(call: Call, database: Database, source: str, rows: Table, depth: int) -> Iterator[tuple[str, Table]]:
    """Yield the rows that update policies derive from new rows, and then from the derived rows."""
    due = [
        (target, policy)
        for target, policies in database.update_policies.items()
        for policy in policies
        if policy.is_enabled and policy.takes(source) and target != source and rows.rows
    ]
    if due and depth > _DEEPEST:
        raise bad_request(f"update policies form a chain of more than {_DEEPEST} tables, or a cycle")
    for target, policy in due:
        try:
            made = run_policy(call, database, target, replace(policy, source=source), rows)
        except KustoError as error:
            note_failure(call, target, error, policy=True)
            if policy.is_transactional:
                raise
        else:
            yield target, made
            yield from _derive(call, database, target, made, depth + 1)


def run_policy(call: Call, database: Database, target: str, policy: UpdatePolicy, rows: Table) -> Table:
    """Return the rows that an update policy derives from its source, run as its managed identity if it has one."""

    def of_source(text: str) -> str:
        return kqltext.substitute_word(text, "$source_table", f"[{kqltext.quote(policy.source)}]")

    functions = {name: replace(one, body=of_source(one.body)) for name, one in database.functions.items()}
    seen = replace(database, functions=functions)
    flow = Unattended("update_policy", seen, policy.managed_identity, is_confined=True)
    made = flow.ask(call.queries, of_source(policy.query), {policy.source: rows}, run=call.run, seconds=call.seconds)
    table = database.table(target)
    _refuse_other_types(table, made, f"the update policy of '{target}'")
    return table.with_rows(made.rows)


def _require_storable(database: Database, name: str, table: Table) -> None:
    if not name or not all(column.name for column in table.columns):
        raise bad_request("the name of a table or column must not be empty")
    duckdb_tables.refuse_decimals(table)
    if name in database.external_tables:
        raise already_exists(name, "ExternalTable")
    others = [one for one in database.tables if one != name]
    for what, names in (("table", [*others, name]), ("column", [column.name for column in table.columns])):
        lowered = [one.lower() for one in names]
        if len(set(lowered)) < len(lowered):
            shown = ", ".join(names)
            raise bad_request(f"the local cluster does not support two {what} names that differ only in case: {shown}")
