"""Helpers that measure the work of a function by counting calls, independently of other load on the machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls(function: Callable[[], object]) -> int:
    """Count the Python and C calls that a function makes."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def grows_no_faster_than_its_input(of_size: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Check whether four times the input takes about four times the calls; ``of_size`` prepares one size."""
    small, large = of_size(size), of_size(4 * size)
    small()  # prepares and imports whatever is needed only once
    return calls(large) < 5 * calls(small)
