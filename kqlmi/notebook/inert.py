"""The escaping of control and bidirectional characters in what pandas displays in a shell.

pandas displays text from a cluster unescaped. The values do not change; only their display is escaped.
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kqlmi.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

# Control characters except the line feed, line separators, bidirectional controls, and unpaired surrogates.
_ACTIVE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def install(shell: "InteractiveShell") -> None:
    """Escape frames and series that a shell displays, unless the user has registered another formatter for them."""
    for formatter, name, show in _places(shell):
        formatter.for_type(name, show)


def remove(shell: "InteractiveShell") -> None:
    """Restore how pandas displays frames and series."""
    for formatter, name, show in _places(shell):
        with suppress(KeyError):
            if formatter.lookup_by_type(name) is show:
                formatter.pop(name)


def _places(shell: "InteractiveShell") -> "list[tuple[Any, str, Callable[..., Any]]]":
    formatters: Any = shell.display_formatter.formatters  # type: ignore[union-attr] # a running shell has one
    # By name, as pandas is imported with the first result; older versions have other module names.
    frames, series = ("pandas.DataFrame", "pandas.core.frame.DataFrame"), ("pandas.Series", "pandas.core.series.Series")
    plain = [(formatters["text/plain"], name, _text) for name in (*frames, *series)]
    return [*plain, *((formatters["text/html"], name, _html) for name in frames)]


def _text(shown: Any, printer: Any, _cycle: object) -> None:
    for number, line in enumerate(escaped(repr(shown)).split("\n")):
        if number:
            printer.break_()
        printer.text(line)


def _html(frame: Any) -> str | None:
    found = frame._repr_html_()
    return None if found is None else escaped(found)


def escaped(text: str) -> str:
    """Return text from pandas with all characters escaped that could control a terminal or reorder text."""
    return _ACTIVE.sub(lambda found: printable(found[0]), text)
