"""A helper that waits for events in the background."""

import time
from collections.abc import Callable

_SECONDS = 60.0  # a busy machine is not a bug


def eventually(holds: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
