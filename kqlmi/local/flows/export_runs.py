"""The runs of continuous exports, and the thread that starts those that are due."""

import logging
from collections.abc import Callable
from dataclasses import replace

from kqlmi.local.enforce import Use
from kqlmi.local.flows import exports
from kqlmi.local.query.background import Worker
from kqlmi.local.query.queries import Queries
from kqlmi.local.query.unattended import Unattended
from kqlmi.local.state import masking
from kqlmi.local.state.activity import ExportRuns, Run
from kqlmi.local.state.entities import ContinuousExport
from kqlmi.local.state.state import Database
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.principals import new_app
from kqlmi.local.values.tables import Table

FLOW = "continuous_export"
Update = Callable[[ExportRuns], ExportRuns]
_SECONDS = 60.0
_KEPT = 1000
_LOG = logging.getLogger(__name__)
_PRINCIPAL = new_app("continuous export")


def query(queries: Queries, database: Database, export: ContinuousExport, rows: dict[str, Table], run: Run) -> Table:
    """Return the result of an export's query over some rows of its fact tables."""
    flow = Unattended(FLOW, database, export.managed_identity)
    return flow.ask(queries, export.query, rows, run=run, seconds=_SECONDS)


class Scheduler(Worker):
    """A thread that runs each continuous export at its interval, one after another."""

    def __init__(self, queries: Queries) -> None:
        """Start the thread, which sleeps until an export exists."""
        self._created = 0
        super().__init__("exports", queries, queries.state.exports_changed)

    def _loop(self) -> None:
        while not self._stopped:
            due = self._due()
            wait = max(due[0] - kusto_time.now(), 0) / kusto_time.SECOND if due else None
            if self._wakes.wait(wait):
                self._wakes.clear()
            elif due:
                self._start(*due[1:])
                try:
                    self._state.keep()
                except OSError:  # such as a full disk; the next run tries again
                    _LOG.exception("the state of the local cluster could not be saved")

    def _due(self) -> tuple[int, str, str] | None:
        """Return the time of the next run, the ID of the export's database, and its name."""
        found = [
            (runs.next_run(export.interval), database.database_id, export.name)
            for database in self._state.world.databases.values()
            for export in database.exports.values()
            if not export.is_disabled
            and (runs := self._state.world.export_runs.get((database.database_id, export.name)))
        ]
        return min(found, default=None)

    def _start(self, database_id: str, name: str) -> None:
        database = next((one for one in self._state.world.databases.values() if one.database_id == database_id), None)
        export = database.exports.get(name) if database else None
        if not database or not export or export.is_disabled:
            return
        self._created = self._state.world.export_runs[database_id, name].created
        self._run = Run(is_query=True, text=export.query, principal=_PRINCIPAL, database=database.name)
        started = kusto_time.now()
        self._note(database, export, lambda runs: replace(runs, is_running=True, last_run=started))
        try:
            ended = self._export(database, export, self._run, started)
        except KustoError as error:
            ended = self._failed(masking.masked(error.detail, masking.kept(self._state)))
        except Exception:  # noqa: BLE001 - the next run may succeed, and the other exports must run
            _LOG.exception("a continuous export of the local cluster failed")
            ended = self._failed("the local cluster failed; see its log")
        self._note(database, export, ended)

    def _export(self, database: Database, export: ContinuousExport, run: Run, started: int) -> Update:
        """Export the rows added since the last run; all rows of a recreated table are new."""
        done = self._state.world.export_runs[database.database_id, export.name].exported
        rows: dict[str, Table] = {}
        for name in export.over:
            facts = database.table(name)
            identity, count = done.get(name, ("", 0))
            rows[name] = facts.with_rows(facts.rows[count:] if identity == database.position(name)[0] else facts.rows)
        made = query(self._queries, database, export, rows, run)
        principal = Unattended(FLOW, database, export.managed_identity).principal(self._state)
        table = database.external_table(export.external_table)
        use = Use("export.to_external_table", database.name, principal)
        artifacts = exports.append(self._state, table, use, made)
        exported = {name: database.position(name) for name in export.over}
        added = ((started, url, count) for url, count in artifacts)
        return lambda runs: replace(
            runs,
            exported={**runs.exported, **exported},
            is_running=False,
            last_success=started,
            last_result="Completed",
            exported_to=started,
            artifacts=(*runs.artifacts, *added)[-_KEPT:],
        )

    def _failed(self, details: str) -> Update:
        now, run_id = kusto_time.now(), self._run.activity_id if self._run else ""
        return lambda runs: replace(
            runs,
            is_running=False,
            last_result="Failed",
            failures=(*runs.failures, (now, run_id, runs.last_success, details))[-_KEPT:],
        )

    def _note(self, database: Database, export: ContinuousExport, change: Update) -> None:
        state, place = self._state, (database.database_id, export.name)
        with state.lock:
            runs = state.world.export_runs.get(place)
            if runs and runs.created == self._created:  # it may have been dropped and recreated meanwhile
                state.change(lambda w: replace(w, export_runs={**w.export_runs, place: change(runs)}))
