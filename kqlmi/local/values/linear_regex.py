"""Untrusted regular expressions, matched in linear time."""

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def compiled(regex: str) -> Any:
    """Return an expression compiled by RE2.

    Raises:
        ValueError: RE2 does not support the expression.
    """
    import re2  # heavy

    options = re2.Options()
    options.log_errors = False  # RE2 would print them
    try:
        return re2.compile(regex, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
