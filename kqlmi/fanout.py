"""Many requests, a few at a time."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar

WIDTH: Final = 8
# So many are begun before the first is looked at; a slow one holds up no more than that.
_AHEAD: Final = 4 * WIDTH
_TICK: Final = 0.1

Job = TypeVar("Job")
Given = TypeVar("Given")

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and what it is."""


def unseen(_done: int, _total: int, _what: str) -> None:
    """Show no progress."""


def each(ask: Callable[[Job], Given], jobs: Iterable[Job], seen: Callable[[list[Given]], None]) -> list[Given]:
    """Give what ``ask`` gives for each job, in the order of the jobs.

    ``seen`` is called after each with what there is so far. What it or ``ask`` raises, and an interrupt, leaves undone
    what was not begun, and waits for nothing.
    """
    found: list[Given] = []
    rest = iter(jobs)
    pool = ThreadPoolExecutor(WIDTH, thread_name_prefix="kqlmi-read")
    try:
        begun = deque(pool.submit(ask, job) for job in islice(rest, _AHEAD))
        while begun:
            future = begun.popleft()
            # A wait without end misses an interrupt that comes just before it, and on Windows any.
            while not wait([future], timeout=_TICK).done:
                pass
            found.append(future.result())
            seen(found)
            begun.extend(pool.submit(ask, job) for job in islice(rest, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return found
