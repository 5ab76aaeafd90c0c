"""The record of requests, for ``.show queries`` and ``.show commands``, and of changes, for ``.show journal``."""

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import THROTTLED, KustoError, cancelled, throttled, timed_out
from kqlmi.local.values.principals import Principal
from kqlmi.local.values.tables import Table

T = TypeVar("T")

MOST_OPERATIONS = 64
"""The maximum number of operations in the background."""
_KEPT = 10_000
_TEXT_LIMIT = 65_536
_STATES = {"BadRequest_QueryCanceled": "Canceled", THROTTLED: "Throttled"}


@dataclass(frozen=True)
class Change:
    """A change to metadata."""

    event: str
    timestamp: int
    database: str
    entity: str
    version: int
    before: str
    after: str
    command: str
    principal: Principal
    client_request_id: str
    activity_id: str


@dataclass(frozen=True)
class IngestionFailure:
    """Rows that did not reach a table."""

    database: str
    table: str
    source: str
    details: str
    error_code: str
    is_permanent: bool
    is_from_update_policy: bool
    principal: str
    activity_id: str
    timestamp: int = field(default_factory=kusto_time.now)
    operation_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class ExportRuns:
    """The runs of a continuous export so far.

    ``exported`` maps each fact table to its ID and the number of rows already exported; ``artifacts`` are (time, URL, number
    of rows), and ``failures`` are (time, operation ID, last success or None, details). Times are in ticks.
    """

    exported: Mapping[str, tuple[str, int]]
    created: int = field(default_factory=kusto_time.now)
    last_run: int | None = None
    last_success: int | None = None
    last_result: str = ""
    exported_to: int | None = None
    is_running: bool = False
    artifacts: tuple[tuple[int, str, int], ...] = ()
    failures: tuple[tuple[int, str, int | None, str], ...] = ()

    def next_run(self, interval: int) -> int:
        """Return the time at which the next run is due."""
        return (self.last_run or self.created) + interval


@dataclass
class Run:
    """A request, running or finished."""

    is_query: bool
    text: str
    principal: Principal
    database: str = ""
    command_type: str = ""
    client_request_id: str = ""
    application: str = ""
    user: str = ""
    properties: str = "{}"
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: int = field(default_factory=kusto_time.now)
    ended: int | None = None
    state: str = "InProgress"
    failure: str = ""
    operation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    details: Table | None = None
    """The result of the operation, for ``.show operation … details``."""
    hidden: frozenset[str] = field(default=frozenset(), repr=False)
    """The hidden strings in the request."""
    _reason: KustoError | None = field(default=None, repr=False)
    _stoppers: list[Callable[[], Any]] = field(default_factory=list, repr=False)

    def stop(self, reason: KustoError) -> None:
        """Ask the request to end; it then fails with ``reason``."""
        self._reason = self._reason or reason
        for stop in self._stoppers:
            stop()

    def cancel(self, reason: str) -> None:
        """Ask the request to end as cancelled."""
        self.stop(cancelled(reason))

    def check(self) -> None:
        """Raise if the request was asked to end."""
        if self._reason:
            raise self._reason

    def heed(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield rows until the request is asked to end."""
        for row in rows:
            self.check()
            yield row

    def on_stop(self, stop: Callable[[], Any]) -> None:
        """Call ``stop`` when the request is asked to end, or at once if it was already."""
        self._stoppers.append(stop)
        if self._reason:
            stop()

    @contextmanager
    def watch(self, seconds: float, interrupt: Callable[[], Any]) -> Iterator[None]:
        """Call ``interrupt`` if the request is asked to end while a block runs, or if the block takes too long.

        On exit, raise the reason if the request was asked to end, whatever the block did.
        """
        waker, finished = threading.Event(), threading.Event()
        self.on_stop(waker.set)

        def wait() -> None:
            if not waker.wait(seconds):
                self.stop(timed_out(seconds))
            # An interrupt between two statements is lost, so it is repeated until the request has ended.
            while not finished.wait(0.02):
                interrupt()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            waker.set()
            thread.join()
            self.check()


class Activity:
    """The latest requests of a cluster."""

    def __init__(self) -> None:
        self._runs: deque[Run] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def begin(self, run: Run) -> Run:
        """Record a request that starts."""
        run.text = run.text[:_TEXT_LIMIT]
        with self._lock:
            self._runs.append(run)
        return run

    def end(self, run: Run, error: BaseException | None) -> None:
        """Record the outcome of a request, unless one is recorded already."""
        if run.ended is not None:
            return
        run.failure = str(error) if error else ""
        run.state = "Failed" if error else "Completed"
        if isinstance(error, KustoError):
            run.state = _STATES.get(error.code, run.state)
        run.ended = kusto_time.now()

    def start(self, run: Run, work: Callable[[], None]) -> None:
        """Start a run in the background, or raise if too many are running."""
        thread = threading.Thread(target=work, name="operation", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            if len(self._threads) >= MOST_OPERATIONS:
                raise throttled(MOST_OPERATIONS, run.command_type)
            self._threads.append(thread)
            self._runs.append(run)
            thread.start()

    def join(self) -> None:
        """Wait until all background work has ended."""
        for thread in self._threads:
            thread.join()

    def runs(self) -> list[Run]:
        """Return all requests in order."""
        with self._lock:
            return list(self._runs)

    def running(self) -> list[Run]:
        """Return the requests that have not ended."""
        return [run for run in self.runs() if run.ended is None]
