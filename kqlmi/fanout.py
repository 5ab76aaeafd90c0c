"""Many requests, sent a few at a time."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar

WIDTH: Final = 8
# The number of jobs started ahead of the awaited job: a slow job blocks the others only after that.
_AHEAD: Final = 4 * WIDTH
_TICK: Final = 0.1

Job = TypeVar("Job")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""A callback that gets the number of items done, their total number, and what the items are."""


def unseen(_done: int, _total: int, _what: str) -> None:
    """Show no progress."""


def each(ask: Callable[[Job], Result], jobs: Iterable[Job], seen: Callable[[list[Result]], None]) -> list[Result]:
    """Return the result of ``ask`` for each job, in the order of the jobs.

    ``seen`` is called after each job with the results so far. An exception from either function, or an interrupt, cancels
    the jobs that have not started, and does not wait for the others.
    """
    found: list[Result] = []
    rest = iter(jobs)
    pool = ThreadPoolExecutor(WIDTH, thread_name_prefix="kqlmi-read")
    try:
        started = deque(pool.submit(ask, job) for job in islice(rest, _AHEAD))
        while started:
            future = started.popleft()
            # A wait without a timeout misses an interrupt that arrives just before it, and any interrupt on Windows.
            while not wait([future], timeout=_TICK).done:
                pass
            found.append(future.result())
            seen(found)
            started.extend(pool.submit(ask, job) for job in islice(rest, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return found
