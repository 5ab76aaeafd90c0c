"""Background threads of the local cluster."""

import threading

from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import Run


class Worker:
    """A thread that waits for an event; ``_loop`` is its work, and ``_run`` its current run."""

    _stopped = False
    _run: Run | None = None

    def __init__(self, name: str, queries: Queries, wakes: threading.Event) -> None:
        """Start the thread; ``wakes`` is the event that ``_loop`` waits for."""
        self._queries = queries
        self._state = queries.state
        self._wakes = wakes
        self._thread = threading.Thread(target=self._loop, name=f"kqlmi-local-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and its current run."""
        self._stopped = True
        self._wakes.set()
        if self._run is not None:
            self._run.cancel("the local cluster is stopping")
        self._thread.join()

    def _loop(self) -> None:
        raise NotImplementedError
