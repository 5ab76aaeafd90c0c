"""Commands and queries over a session: checking, sending, and explaining a refusal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from kqlmi.apply import cells
from kqlmi.apply.sender import Sender
from kqlmi.cluster import answer_subjects, policies
from kqlmi.cluster.connection import server_deadline
from kqlmi.cluster.discovery.sources import external_uses
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import (
    AnswerError,
    ApplyError,
    IngestionError,
    InputError,
    KqlmiError,
    ResourceManagerError,
    ServiceError,
)
from kqlmi.model.entities import Scope
from kqlmi.model.explain.explanation import (
    Explained,
    Verdict,
    Verdicts,
    evidence,
    from_refusal,
    from_text,
    judge,
    weighed,
)
from kqlmi.model.explain.fixes import is_identity
from kqlmi.model.explain.gates import Gate
from kqlmi.model.explain.holders import holder, required
from kqlmi.model.explain.published import ROWS
from kqlmi.model.explain.refusals import copied, find
from kqlmi.model.kql import quoting
from kqlmi.model.policy import commands
from kqlmi.model.policy.access import Access
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.uses import documents
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW, Stored, calls_stored
from kqlmi.model.uses.references import Reference, named_by
from kqlmi.session.core import Core, Refusal, must_write
from kqlmi.session.observation import Subject, observe
from kqlmi.session.policies import read
from kqlmi.session.resource_manager import ask, assigned

_MOST = 8  # the references in a refused statement that are explained, at most
_READS = 2  # the policies that are read before a refusal is raised, at most


def send(core: Core, statement: Statement, database: str | None, *, timeout: float | None) -> Table:
    """Send one command or query. Record it if it writes policies; keep a refusal with its explanation."""
    command = statement.policy_command
    if statement.is_write:
        must_write(core)
    name, limit = core.known.database(database or core.database), core.timeout if timeout is None else timeout
    server_deadline(limit)
    try:
        if statement.policy_writes:
            if core.history:
                return cells.run(core.recorder, statement, name, timeout=limit)
            retrying = core.retrying
            return Sender(core.connection, statement, name or None, limit, retrying, retrying.tell).send_unrecorded()
        return core.connection.execute(statement, name or None, timeout=timeout)
    except ServiceError as error:
        if command and not error.hint:
            error.hint = commands.fault(command)
        if command and not command.piped and not error.hint and (unknown := policies.no_such_policy(error)):
            raise unknown from error
        core.refusal = explain(core, error, statement, name)
        if (explained := core.refusal.explanation) and explained.fixes and explained.certain:
            # A fix of several lines does not fit on the line of an error.
            fix = explained.fixes[0]
            error.hint = f"To fix it: {'%kqlmi explain' if chr(10) in fix else fix}"
        raise


def policy_in(core: Core, answer: Table, statement: Statement, database: str) -> Snapshot | None:
    """Return the policy in the response to ``statement``, or None if that is piped or not a policy command."""
    command = statement.policy_command
    if command is None or command.piped or not policies.holds_policy(answer):
        return None
    policy, name = policies.policy_of(answer), answer_subjects.entity_name(answer)
    database = core.known.database(database or core.database) or name
    scope = command.scope or (Scope.database(database) if database else None)
    if scope is None:
        return None
    called = scope if scope.is_cluster else Scope.database(core.known.database(str(scope.name)))
    about = answer_subjects.is_about(answer, called)
    if about is False or (about is None and name in core.known.databases):
        raise AnswerError(f"The response is not about the policy of the {scope}.")
    found = Snapshot({scope: policy})
    core.known = core.known.with_policies(found)
    return found


def check(core: Core, text: str, database: str, kind: documents.DocumentKind) -> Verdicts:
    """Return, for each identity that a text uses, whether the use would be allowed now. Nothing is executed."""
    database = core.known.database(database or core.database)
    statement, is_script = Statement.parse(text), kind == "kql"
    stored = _stored(core, statement, database) if is_script else None
    found = named_by(documents.uses(text, kind, stored, statement.commands if is_script else ()))
    needs_azure = any(one.flow == documents.POLICY_ENTRY or required(one.flow) != "object_id" for one in found)
    if needs_azure and core.known.directory.assigned is None:
        with suppress(KqlmiError):
            assigned(core)
    key = core.known.directory.key
    about = [one.identity for one in found if one.identity and is_identity(key(one.identity))]
    snapshot = read(core, _scopes(core, found, database), about=about).permitted if found else Snapshot()
    return Verdicts(_judged(core, found, snapshot, database))


def _stored(core: Core, statement: Statement, database: str) -> Stored:
    """Return the functions and external tables that a text may call, if they may be read."""
    found = Stored()
    if not (database and any(map(calls_stored, statement.commands))):
        return found
    with suppress(KqlmiError):
        rows = core.connection.execute(".show functions", database).records("Name", "Parameters", "Body")
        found = replace(found, functions={str(row["Name"]): (str(row["Parameters"]), str(row["Body"])) for row in rows})
        if any("external_table" in one for one in (statement, *(body for _, body in found.functions.values()))):
            tables = core.connection.execute(".show external tables", database)
            found = replace(found, externals=external_uses(tables))
    return found


def explain(core: Core, error: ServiceError, statement: Statement | None, database: str = "") -> Refusal:
    """Return the explanation of a refusal from what is known and at most two reads, of the policies that decide."""
    fields = {"message": error.message, "code": error.code, "type_name": error.type_name}
    found, snapshot = statement.references[:_MOST] if statement else (), Snapshot()
    # Only these errors can be about an identity; any other costs no request.
    row = find(fields, ROWS) if error.code or error.type_name else None
    if not error.details.get("missing") and (row is None or not row.gates):
        found = tuple(one for one in found if one.flow.startswith(UNKNOWN_FLOW))
        return Refusal(error, Explained(row), _judged(core, found, snapshot, database))
    if found or "principal" in ((row and row.found(error.message)) or {}):
        with suppress(KqlmiError):
            # Azure is not queried, so that the error is not delayed.
            snapshot = read(core, _scopes(core, found, database)[:_READS]).permitted
    known = core.known.directory
    verdicts = _judged(core, found, snapshot, database)
    seen = partial(evidence, snapshot=snapshot, known=known, on=core.name)
    explained = from_refusal(fields, error.details, verdicts, seen, core.name, known=known)
    return Refusal(error, explained, verdicts)


def _judged(core: Core, found: Iterable[Reference], snapshot: Snapshot, database: str) -> tuple[Verdict, ...]:
    return tuple(judge(one, snapshot, database or core.database, core.known.directory) for one in found)


@contextmanager
def remembering(core: Core) -> Iterator[None]:
    """Keep what an operation is refused for, so that it is explained and not an earlier refusal."""
    try:
        yield
    except (ApplyError, IngestionError, InputError, ResourceManagerError, ServiceError) as error:
        core.refusal = _refusal(core, error)
        raise


def _refusal(core: Core, error: KqlmiError) -> Refusal:
    causes = (one for one in (error, error.__cause__) if isinstance(one, ServiceError))
    if isinstance(error, IngestionError):
        blob, table = error.ingestion.blob, error.ingestion.table
        text = f".ingest into table {quoting.name(table)} ({quoting.literal(str(blob))})"
        reported = ServiceError(error.ingestion.details or error.message, code=error.ingestion.error_code)
        return replace(explain(core, reported, Statement.parse(text), error.ingestion.database), error=error)
    if cause := next(causes, None):
        return replace(explain(core, cause, None), error=error)
    # It states its own cause.
    return Refusal(error, Explained(note=Gate("grant", error.hint or error.message)))


def explain_text(core: Core, text: str) -> Refusal:
    """Return what a text of a refusal can mean, by the catalogue; the policies are read only to resolve a principal in it."""
    fields = copied(text, ROWS)
    row = find(fields, ROWS)
    if row and "principal" in (row.found(text) or {}):
        with suppress(KqlmiError):
            read(core)
    return Refusal(KqlmiError(text), from_text(text, core.name, known=core.known.directory))


def explained(core: Core) -> Refusal | None:
    """Return the last refusal, with everything that can be read about the gates that it can mean."""
    last = core.refusal
    row = last.explained.published if last else None
    closed = last.explanation if last else None
    if last is None or row is None or not row.gates or not last.verdicts or (closed and closed.certain):
        return last
    azure = ask(core)
    scopes = dict.fromkeys([Scope.cluster(), *(one.scope for one in last.verdicts)])
    snapshot, known = read(core, scopes).permitted, core.known.directory

    def gates(verdict: Verdict) -> Iterator[Gate]:
        reference = verdict.reference
        key = holder(reference, known)
        if reference.workflow is None or isinstance(key, Access):
            yield from evidence(verdict, snapshot, known, on=core.name)
            return
        targets = (reference.target,) if reference.target else ()
        subject = Subject(reference.workflow, known.resolve(key), verdict.scope, targets)
        yield from evidence(verdict, snapshot, known, observed=observe(core, azure, subject), on=core.name)

    core.refusal = replace(last, explained=weighed(row, last.verdicts, gates))
    return core.refusal


def _scopes(core: Core, found: tuple[Reference, ...], database: str) -> list[Scope]:
    names = dict.fromkeys(filter(None, (database or core.database, *(one.database for one in found))))
    return [Scope.cluster(), *map(Scope.database, names)]
