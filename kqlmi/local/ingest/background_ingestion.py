"""The thread that ingests queued files and the events of data connections."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from kqlmi.local.dispatch.registry import Call
from kqlmi.local.enforce import Use
from kqlmi.local.flows import ingestion, table_append
from kqlmi.local.ingest import connections, statusqueues
from kqlmi.local.query.background import Worker
from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import Run
from kqlmi.local.state.entities import UPLOADED, DataConnection, ExternalTable, IngestionJob, Layout
from kqlmi.local.state.state import key
from kqlmi.local.storage import files, formats, transfer
from kqlmi.local.storage.uploads import Uploads
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.faults import KustoError, bad_request, unsupported
from kqlmi.local.values.principals import INGEST, Caller, Principal, Role
from kqlmi.local.values.tables import Table

_SECONDS = 60.0
_AGAIN = 0.5
_LOG = logging.getLogger(__name__)
_READ = {"format", "ignorefirstrecord", "authorizationcontext", *ingestion.INVISIBLE}
_SERVICE = Caller(Principal("aadapp", "data connections", "data connections"), frozenset({Role.INGESTORS}))


class Ingestor(Worker):
    """A thread that ingests waiting files and events, one at a time."""

    def __init__(self, queries: Queries, uploads: Uploads) -> None:
        """Start the thread, which sleeps until there is work."""
        self._uploads = uploads
        if queries.state.world.jobs:
            queries.state.work.set()
        super().__init__("ingestion", queries, queries.state.work)

    def _loop(self) -> None:
        while not self._stopped:
            # A refused event may be allowed later, and a change of a policy does not wake this thread.
            self._wakes.wait(_AGAIN if self._is_waiting() else None)
            self._wakes.clear()
            while self._state.world.jobs and not self._stopped:
                self._guard(partial(self._ingest, self._state.world.jobs[0]))
            for connection in list(self._state.world.connections.values()):
                if not self._stopped:
                    self._guard(partial(self._receive, connection))

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            try:
                work()
            finally:
                self._state.keep()
                self._uploads.sweep()
        except Exception:  # noqa: BLE001 - the next ingestion may succeed
            _LOG.exception("an ingestion of the local cluster failed")

    def _is_waiting(self) -> bool:
        state = self._state
        return any(one.offset < len(state.world.hubs.get(one.hub, ())) for one in state.world.connections.values())

    def _ingest(self, job: IngestionJob) -> None:
        call, shown = self._call(job.caller, job.database), _shown(job.source)
        try:
            table = call.allowed(INGEST, f"Table {job.table}").table(job.table)
            _require_known(name for name, value in job.properties.items() if value not in (None, ""))
            rows = table.with_rows(self._rows(job, table))
            table_append.append(call, job.table, rows, then=partial(self._succeeded, job, shown, call))
        except KustoError as error:
            failure = table_append.note_failure(call, job.table, error, source=shown)
            statusqueues.failed(self._state, job, failure)
        finally:  # after a failure too, as it would fail again
            self._done(job)

    def _succeeded(self, job: IngestionJob, shown: str, call: Call) -> None:
        statusqueues.succeeded(self._state, job, shown, call.run.activity_id)
        self._done(job)

    def _done(self, job: IngestionJob) -> None:
        with self._state.lock:
            self._state.change(lambda w: replace(w, jobs=tuple(one for one in w.jobs if one is not job)))
            if job.source.startswith(UPLOADED):
                self._uploads.forget(job.source.removeprefix(UPLOADED))

    def _rows(self, job: IngestionJob, table: Table) -> tuple[tuple[Any, ...], ...]:
        given = str(job.properties.get("format") or "")
        skips = str(job.properties.get("ignoreFirstRecord", "")).lower() == "true"
        if job.source.startswith(UPLOADED):
            return self._uploads.read(job.source.removeprefix(UPLOADED), given, table.columns, skips_first=skips).rows
        location = connectionstrings.parse(job.source)
        laid = Layout(formats.format_of(location.path, given), headers="all" if skips else "none")
        # The caller cannot be impersonated: its request has ended.
        source = ExternalTable("", table.columns, laid, (location,))
        return transfer.read(self._state, source, Use(job.flow, job.database)).rows

    def _receive(self, connection: DataConnection) -> None:
        """Ingest the new events of a data connection. Events that are not permitted wait silently, as on the service."""
        state = self._state
        events = state.world.hubs.get(connection.hub, ())[connection.offset :]
        if not events:
            return
        try:
            connections.receiver(state, connection)
            table = state.database(connection.database).table(connection.table)
        except KustoError:
            return
        call = self._call(_SERVICE, connection.database)
        rows = tuple(self._read(call, connection, table, events))
        done = partial(self._received, connection, len(events))
        try:
            table_append.append(call, connection.table, table.with_rows(rows), then=done)
        except KustoError as error:  # a permanent failure: the events are lost, and the failure is recorded
            table_append.note_failure(call, connection.table, error, source="/".join(connection.hub))
            done()

    def _received(self, connection: DataConnection, count: int) -> None:
        place = (key(connection.database), connection.name.lower())
        with self._state.lock:
            current = self._state.world.connections.get(place)
            if current and current.hub == connection.hub:
                done = replace(current, offset=connection.offset + count)
                self._state.change(lambda w: replace(w, connections={**w.connections, place: done}))

    def _read(
        self, call: Call, connection: DataConnection, table: Table, events: tuple[str, ...]
    ) -> Iterator[tuple[Any, ...]]:
        kind = str(connection.properties["dataFormat"])
        for event in events:
            try:
                rows = files.read_text(event, kind, table.columns)
                table_append.require_microseconds(table.with_rows(rows))
                yield from rows
            except KustoError as error:
                table_append.note_failure(call, connection.table, error, source="/".join(connection.hub))

    def _call(self, caller: Caller, database: str) -> Call:
        self._run = Run(is_query=False, text="", principal=caller.principal, database=database)
        return Call(self._queries, caller, self._run, database, _SECONDS, {}, operation="DataIngestPull")


def _require_known(names: Iterable[str]) -> None:
    for name in names:
        if name.lower() in {*ingestion.UNSUPPORTED, "ingestionmappingtype"}:
            raise unsupported(f"the property '{name}'")
        if name.lower() not in _READ:
            raise bad_request(f"the local cluster does not know the ingestion property '{name}'")


def _shown(source: str) -> str:
    """Return the address of a file without any part that could be a credential."""
    scheme, colon, rest = re.split(r"[;?#]", source, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{colon}{host.rpartition('@')[2]}{slash}{path}"
