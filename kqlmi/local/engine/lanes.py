"""Workers for each kind of request: what may take long has some of its own, and never keeps what is short waiting."""

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
    """How long a request may take: queries, and commands that run one or open storage, are not ``SHORT``."""

    SHORT = "short"
    COMMAND = "command"
    QUERY = "query"


WORKERS: Final = {Load.SHORT: 16, Load.COMMAND: 8, Load.QUERY: 16}
WAITING: Final = 64
"""So many requests of a kind that may take long wait at most; the next one is refused as throttled."""

_HERE = threading.local()


class Lanes:
    """The workers of a server; its methods belong to the server's loop."""

    def __init__(self) -> None:
        self._pools = {
            load: ThreadPoolExecutor(count, f"kqlmi-local-{load}", _mark, (load,)) for load, count in WORKERS.items()
        }
        self._taken = dict.fromkeys(Load, 0)

    async def short(self, work: Callable[[], T]) -> T:
        """Do what waits for nothing but a lock or a disk."""
        return await asyncio.wrap_future(self._pools[Load.SHORT].submit(work))

    async def long(self, load: Load, work: Callable[[], T], run: Run | None = None) -> T:
        """Do work that may take long; a run that is stopped while it waits ends at once, and one too many is refused."""
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
        """Drop what waits, and wait for what runs."""
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


def require_long() -> None:
    """Fail in a worker that policy commands wait for: a command that runs a query or opens storage is declared ``long``."""
    if getattr(_HERE, "load", None) is Load.SHORT:
        raise RuntimeError("a command that is not declared long runs a query or opens storage")


def _mark(load: Load) -> None:
    _HERE.load = load
