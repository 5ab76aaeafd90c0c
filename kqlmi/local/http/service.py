"""The service behind the endpoints, which records a request, limits its time, and runs its command or query."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kqlmi.local import commands
from kqlmi.local.dispatch.registry import Endpoint, Matched
from kqlmi.local.engine.lanes import Load
from kqlmi.local.flows.export_runs import Scheduler
from kqlmi.local.ingest.background_ingestion import Ingestor
from kqlmi.local.language.lexer import Kind, hidden_values, mask_hidden, next_token
from kqlmi.local.query.queries import Queries
from kqlmi.local.state import masking
from kqlmi.local.state.activity import Run
from kqlmi.local.state.state import State
from kqlmi.local.storage.uploads import Uploads
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError, bad_request, other_endpoint, syntax_error
from kqlmi.local.values.principals import Caller
from kqlmi.local.values.tables import Table

_QUERY_SECONDS = 240.0
_COMMAND_SECONDS = 600.0
_MOST_SECONDS = 3600.0
_SPAN = re.compile(r"(?:(\d{1,9})(?:\.| days?, ))?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d{1,7})?)", re.ASCII)


@dataclass(frozen=True)
class Request:
    """A request of a client, independent of the protocol version."""

    caller: Caller
    text: str
    database: str | None
    client_request_id: str
    application: str = ""
    user: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Endpoint = Endpoint.QUERY


@dataclass(frozen=True)
class Task:
    """A parsed request: its run, and the work that remains to be done."""

    run: Run
    load: Load
    writes: bool
    work: Callable[[], tuple[Table, ...]]


class Service:
    """The cluster behind the endpoints."""

    def __init__(self, state: State, uploads: Path | None = None) -> None:
        """Serve a state; ``uploads`` is the folder for uploaded files, by default a temporary one."""
        self.state = state
        self.queries = Queries(state)
        self._temporary = None if uploads else TemporaryDirectory(prefix="kqlmi-uploads-", ignore_cleanup_errors=True)
        self.uploads = Uploads(state, uploads or Path(self._temporary.name if self._temporary else ""))
        self._scheduler = Scheduler(self.queries)
        self._ingestor = Ingestor(self.queries, self.uploads)

    def begin(self, request: Request, *, is_query: bool) -> Task:
        """Record the start of a request, and parse it."""
        run = Run(
            is_query=is_query,
            text=mask_hidden(request.text),
            hidden=frozenset(hidden_values(request.text)),
            principal=request.caller.principal,
            database=request.database or "",
            client_request_id=request.client_request_id,
            application=request.application,
            user=request.user,
            properties=lenient_json.dumps({"Options": dict(request.options)}),
        )
        self.state.activity.begin(run)
        if is_query:
            return Task(run, Load.QUERY, writes=False, work=partial(self._query, request, run))
        with self._failing(run):
            matched = self._match(request, run)
        is_long = matched.command.is_long or matched.operators or matched.query
        return Task(
            run,
            Load.COMMAND if is_long else Load.SHORT,
            writes=matched.command.writes,
            work=partial(self._manage, request, run, matched),
        )

    def _match(self, request: Request, run: Run) -> Matched:
        """Return the requested command, or raise if this endpoint or request does not permit it."""
        first = next_token(request.text, 0)
        if first.text != ".":
            empty = "the command is empty" if first.kind is Kind.END else "a management command must begin with '.'"
            raise syntax_error(empty)
        matched = commands.match(request.text)
        run.command_type = matched.command.operation.removesuffix("Command")
        if request.endpoint not in matched.command.endpoints:
            raise other_endpoint(request.endpoint, self.state.url, self.state.ingest_url)
        if matched.command.writes and _is_on(request.options, "request_readonly"):
            raise bad_request(f"request_readonly is set, but {run.command_type} is not a read-only command")
        return matched

    def _manage(self, request: Request, run: Run, matched: Matched) -> tuple[Table, ...]:
        with self._recorded(run):
            seconds = _seconds(request.options, _COMMAND_SECONDS)
            call = commands.Call(
                queries=self.queries,
                caller=request.caller,
                run=run,
                context_name=request.database,
                seconds=seconds,
                args=matched.args,
                endpoint=request.endpoint,
            )
            table = matched.command(call)
            if matched.operators:
                table = self.queries.pipe(table, matched.operators, request.caller, run=run, seconds=seconds)
            if matched.query:
                table = self.queries.follow(
                    table, matched.query, request.caller, request.database, run=run, seconds=seconds
                )
            return (table,)

    def _query(self, request: Request, run: Run) -> tuple[Table, ...]:
        with self._recorded(run):
            if request.endpoint is Endpoint.INGEST:
                raise other_endpoint(request.endpoint, self.state.url, self.state.ingest_url)
            if next_token(request.text, 0).kind is Kind.END:
                raise syntax_error("the query is empty")
            if _is_on(request.options, "validatepermissions"):
                return (self.queries.permitted(request.text, request.caller, request.database),)
            seconds = _seconds(request.options, _QUERY_SECONDS)
            return self.queries.run(
                request.text,
                request.caller,
                request.database,
                run=run,
                seconds=seconds,
                parameters=request.parameters,
            )

    def cancel_all(self) -> None:
        """Cancel all running requests."""
        for run in self.state.activity.running():
            run.cancel("the local cluster is stopping")

    def close(self) -> None:
        """Wait for background operations, stop the workers, and close the engine."""
        self.state.activity.join()
        self._scheduler.stop()
        self._ingestor.stop()
        if self._temporary:
            self._temporary.cleanup()
        self.queries.close()

    @contextmanager
    def _failing(self, run: Run) -> Iterator[None]:
        try:
            yield
        except KustoError as error:
            shown = masking.shown(self.state, error, run.hidden)
            self.state.activity.end(run, shown)
            raise shown from error
        except BaseException as error:
            self.state.activity.end(run, error)
            raise

    @contextmanager
    def _recorded(self, run: Run) -> Iterator[None]:
        with self._failing(run):
            run.check()
            yield
        self.state.activity.end(run, None)


def _is_on(options: Mapping[str, Any], name: str) -> bool:
    return str(options.get(name, "")).lower() == "true"


def _seconds(options: Mapping[str, Any], default: float) -> float:
    if _is_on(options, "norequesttimeout"):
        return _MOST_SECONDS
    written = options.get("servertimeout")
    if written is None:
        return default
    match = _SPAN.fullmatch(str(written).strip())
    if not match:
        raise bad_request(f"servertimeout {written!r} is not a timespan; use the form hh:mm:ss")
    days, hours, minutes, seconds = match.groups()
    total = int(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return min(total, _MOST_SECONDS)
