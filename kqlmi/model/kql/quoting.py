r"""The quoting of names and string literals in commands.

Every name is written ``['…']`` and every value ``'…'`` or between fences, so safety does not depend on a list of
keywords.
"""

from typing import Final

from kqlmi.errors import InputError, printable

_SHORT: Final = {"\\": "\\\\", "'": "\\'", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def literal(text: str) -> str:
    """Return ``text`` as a one-line literal, ``'…'``, with unprintable characters escaped."""
    return "'" + "".join(_SHORT.get(char) or printable(char) for char in text) + "'"


def fence(text: str) -> str:
    """Return ``text`` as a multi-line literal, or as a one-line literal if a fence cannot contain it."""
    if "```" in text or text.endswith("`") or not text.replace("\n", "").replace("\t", "").isprintable():
        return literal(text)
    return f"```{text}```"


def name(text: str) -> str:
    """Return an entity's name in brackets: ``['…']``."""
    if not text:
        raise InputError("A name cannot be empty.")
    return f"[{literal(text)}]"
