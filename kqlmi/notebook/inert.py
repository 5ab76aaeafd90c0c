"""What pandas shows in a shell, with the characters written as escapes that would act on a terminal or reorder text.

pandas writes a cluster's text as it is. The values stay as they are; only what a shell shows of them passes here.
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kqlmi.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

# Controls but the line break, separators of lines, what changes the direction of text, and halves of surrogate pairs.
_ACTIVE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def install(shell: "InteractiveShell") -> None:
    """Show frames and series through this module, where the user has not chosen another way for them."""
    for formatter, name, show in _places(shell):
        formatter.for_type(name, show)


def remove(shell: "InteractiveShell") -> None:
    """Leave frames and series to pandas again."""
    for formatter, name, show in _places(shell):
        with suppress(KeyError):
            if formatter.lookup_by_type(name) is show:
                formatter.pop(name)


def _places(shell: "InteractiveShell") -> "list[tuple[Any, str, Callable[..., Any]]]":
    formatters: Any = shell.display_formatter.formatters  # type: ignore[union-attr] # a shell that runs has one
    # By name, for pandas is imported with the first result; its older versions call them otherwise.
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
    """Return what pandas made of a frame, in which nothing acts on a terminal or reorders text."""
    return _ACTIVE.sub(lambda found: printable(found[0]), text)
