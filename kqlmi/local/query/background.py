"""A thread of the local cluster that works in the background until it is stopped."""

import threading

from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import Run


class Worker:
    """A thread that sleeps on an event; ``_loop`` is its work, and ``_run`` what it carries out at the moment."""

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
        """End the thread, and what it runs."""
        self._stopped = True
        self._wakes.set()
        if self._run is not None:
            self._run.cancel("the local cluster stops")
        self._thread.join()

    def _loop(self) -> None:
        raise NotImplementedError
