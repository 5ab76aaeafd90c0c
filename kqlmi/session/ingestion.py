"""Ingestion of a blob with a managed identity, from the check to the outcome."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from kqlmi.cluster.ingest import IngestClient, Ingestion
from kqlmi.errors import IngestionError, InputError, KqlmiError, RequestInterruptedError, printable
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.explain import fixes
from kqlmi.model.explain.gates import grant
from kqlmi.model.kql import quoting
from kqlmi.model.uses import blobs
from kqlmi.model.uses.blobs import Blob
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.session.core import Core, database_name, must_write
from kqlmi.session.policies import database_scope, databases, read
from kqlmi.session.resource_manager import Azure, ask

WAIT: Final = 600.0
"""The default time to wait for an outcome, in seconds; a cluster may batch files for five minutes before it begins."""

_FIRST: Final = 0.1
_TABLE: Final = re.compile(r"[\w .-]+")
_USAGE: Final = "NativeIngestion"
# The documented error codes that an identity can cause.
_ABOUT_IDENTITY: Final = frozenset({"BadRequest_InvalidManagedIdentity", "Download_Forbidden"})
_EXTERNAL: Final = next(row.external for row in WORKFLOWS if row.id == "ingest.sdk_queued")


def ingest(
    core: Core,
    uri: str,
    table: str,
    *,
    identity: str,
    database: str,
    data_format: str,
    mapping: str,
    ignore_first_record: bool,
    wait: float,
    interval: float,
    tell: Callable[[str], None],
    progress: Callable[[float], None],
) -> Ingestion:
    """Ingest a blob into a table with a managed identity, and wait for the outcome; see ``Session.ingest``."""
    must_write(core)
    if core.target is None:
        raise InputError("The session has no target to ingest into.", hint="Open it with kqlmi.connect.")
    blob = blobs.blob(uri)
    if not _TABLE.fullmatch(table):
        # Not quoted, because it may be a URI.
        raise InputError("The name of the table is invalid.", hint="Use letters, digits, '_', ' ', '.' and '-'.")
    data_format = blob.format(data_format)
    name = database_name(core, database)
    # A caller who can only ingest sees no databases.
    scope = database_scope(core, name) if databases(core) else Scope.database(name)
    client = IngestClient(core.target)
    with _interruptible(client), client:
        order = Ingestion(
            _checked(core, blob, identity, scope, tell), str(scope.name), table, str(uuid.uuid4()).lower()
        )
        how = (
            f" with the mapping {printable(mapping)}" * bool(mapping)
            + ", skipping the first record" * ignore_first_record
        )
        tell(
            f"Sending {order.blob} to {_target(order)} on {core.name} as {data_format}{how}"
            f" (source ID {order.source_id})."
        )
        sent = client.send(order, data_format=data_format, mapping=mapping, ignore_first_record=ignore_first_record)
        tell("Queued." if sent.outcome == "queued" else "The queue's response was lost.")
        if wait <= 0 and sent.outcome == "queued":
            return sent
        found = _wait_for_report(client, sent, wait, interval, progress)
        if found.outcome == "succeeded":
            return found
        raise _failure(found) if found.outcome == "failed" else _no_report(core, found, wait)


@contextmanager
def _interruptible(client: IngestClient) -> Iterator[None]:
    """Turn an interrupt into an error that reports the state of the blob."""
    try:
        yield
    except KeyboardInterrupt:
        raise _interrupted(client.sent) from None


def _interrupted(sent: Ingestion | None) -> RequestInterruptedError:
    if sent is None:
        return RequestInterruptedError("Interrupted before the blob was sent: nothing was queued.", sent=False)
    what = f"{sent.blob.url} is queued into {_target(sent)}"
    if sent.outcome == "queued":
        return RequestInterruptedError(
            f"Interrupted. {what} (source ID {sent.source_id}), and its ingestion continues.",
            hint=f"To see whether it failed, run in a %%kqlmi cell: {_failures(sent)}",
        )
    return RequestInterruptedError(
        f"Interrupted. kqlmi could not determine whether {what} (source ID {sent.source_id}).",
        hint=f"It may still arrive. Before you send it again, run in a %%kqlmi cell: {_failures(sent)}",
    )


def _checked(core: Core, blob: Blob, text: str, scope: Scope, tell: Callable[[str], None]) -> Blob:
    """Return the blob with the given identity. Raise InputError if it is not assigned or is not allowed to ingest."""
    azure = ask(core) if core.resource else Azure()
    if azure.why:
        tell(f"Could not check whether the identity is assigned: {azure.why}")
    snapshot = read(core, [Scope.cluster(), scope], about=filter(None, (text, blob.identity))).snapshot
    directory = core.known.directory
    given, named = (directory.resolve(one) if one else None for one in (text, blob.identity))
    if given and named and given != named:
        raise InputError(
            f"The URI names {blob.identity}, but --identity names {given.object_id}.", hint="Specify only one of them."
        )
    who = given or named
    if who is None:
        raise InputError("No identity is specified.", hint="Pass --identity NAME, or system; %kqlmi show lists them.")
    shown, holder = str(who), who.object_id
    if azure.identities is not None and holder not in {one.object_id for one in azure.identities}:
        raise InputError(
            f"{shown} is not assigned to {core.name}, so nothing was sent.",
            hint=f"Assign it first: {fixes.assign(SYSTEM if holder == SYSTEM else who.display_name, core.name)}",
        )
    gate = grant(_USAGE, who, scope, snapshot, core.name)
    if gate.state == "not done":
        raise InputError(
            f"{shown} may not be used for {_USAGE} in the {scope}, so nothing was sent: {gate.reason}.",
            hint=f"To fix it: {gate.fixes[0]}" if gate.fixes else f"Grant {_USAGE} first.",
        )
    if gate.state == "not checked":
        tell(f"Could not check whether {shown} may be used for {_USAGE}: {gate.reason}.")
    # A client ID does not work in the URI.
    return replace(blob, identity=holder) if not blob.identity or directory.client_of(blob.identity) else blob


def _wait_for_report(
    client: IngestClient, sent: Ingestion, wait: float, interval: float, progress: Callable[[float], None]
) -> Ingestion:
    """Poll for a report until there is one, or the time is up."""
    begun, pause = time.monotonic(), min(_FIRST, interval)
    while True:
        if found := client.report(sent):
            return found
        waited = time.monotonic() - begun
        progress(min(waited, wait))
        if waited >= wait:
            return replace(sent, outcome="unknown")
        time.sleep(min(pause, wait - waited))
        pause = min(2 * pause, interval)


def _failure(found: Ingestion) -> IngestionError:
    code = f" ({printable(found.error_code)})" if found.error_code else ""
    hint = "The cluster reports that a retry may succeed." if found.may_retry else ""
    if found.error_code in _ABOUT_IDENTITY:
        hint = f"Check the policies, whether the identity is assigned, and its Azure role: {_EXTERNAL}."
    return IngestionError(
        f"{found.blob.url} was not ingested into {_target(found)}{code}: {found.details or 'no reason was reported'}",
        ingestion=found,
        hint=hint,
    )


def _no_report(core: Core, found: Ingestion, wait: float) -> IngestionError:
    """Return the error for an ingestion without a report, with the last failure that the cluster lists for the blob."""
    listed = _failures(found)
    recent = f"{listed} and Table == {quoting.literal(found.table)} and FailedOn > ago({int(wait) + 60}s)"
    try:
        noted = core.connection.execute(recent, found.database).column("Details")[-1:]
    except KqlmiError:
        noted = []
    also = f" The cluster lists a failure of this blob, perhaps from another attempt: {noted[0]}" if noted else ""
    return IngestionError(
        f"kqlmi could not determine whether {found.blob.url} was ingested into {_target(found)}: the cluster reported"
        f" nothing within {wait:g} seconds.{also}",
        ingestion=found,
        hint=f"It may still arrive. Before you send it again, run in a %%kqlmi cell: {listed}",
    )


def _failures(ingestion: Ingestion) -> str:
    return f".show ingestion failures | where IngestionSourcePath == {quoting.literal(ingestion.blob.url)}"


def _target(ingestion: Ingestion) -> str:
    return f"{printable(ingestion.database)}.{printable(ingestion.table)}"
