"""Worker threads by kind of request: long requests have separate threads, and never delay short ones."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Final, TypeVar

from kqlmi.local.state.activity import Run
from kqlmi.local.values.faults import throttled

T = TypeVar("T")


class Load(StrEnum):
    """The expected duration of a request; queries, and commands that run one or open storage, are not ``SHORT``."""

    SHORT = "short"
    COMMAND = "command"
    QUERY = "query"


WORKERS: Final = {Load.SHORT: 16, Load.COMMAND: 8, Load.QUERY: 16}
WAITING: Final = 64
"""The number of requests of a long kind that may wait; the next one is refused as throttled."""

_HERE = threading.local()


class Lanes:
    """The workers of a server; the methods run in the server's event loop."""

    def __init__(self) -> None:
        self._pools = {
            load: ThreadPoolExecutor(count, f"kqlmi-local-{load}", _mark, (load,)) for load, count in WORKERS.items()
        }
        self._taken = dict.fromkeys(Load, 0)

    async def short(self, work: Callable[[], T]) -> T:
        """Run work that waits only for a lock or the disk."""
        return await asyncio.wrap_future(self._pools[Load.SHORT].submit(work))

    async def long(self, load: Load, work: Callable[[], T], run: Run | None = None) -> T:
        """Run work that may take long; a run stopped while waiting ends at once, and one beyond the capacity is refused."""
        capacity = WORKERS[load] + WAITING
        if self._taken[load] >= capacity:
            raise throttled(capacity, run.command_type if run else "", is_query=load is Load.QUERY)
        self._taken[load] += 1
        future = self._pools[load].submit(work)
        if run:
            run.on_stop(future.cancel)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if run:
                run.check()
            raise
        finally:
            self._taken[load] -= 1

    def close(self) -> None:
        """Cancel the waiting work, and wait for the running work."""
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


def require_long() -> None:
    """Raise an error in a worker for short requests; a command that runs a query or opens storage must be ``long``."""
    if getattr(_HERE, "load", None) is Load.SHORT:
        raise RuntimeError("a command that is not declared long must not run a query or open storage")


def _mark(load: Load) -> None:
    _HERE.load = load
