r"""Names and string literals as command text.

Every name is written ``['…']`` and every value ``'…'`` or between fences, so no list of keywords decides about safety.
"""

from typing import Final

from kqlmi.errors import InputError, printable

_SHORT: Final = {"\\": "\\\\", "'": "\\'", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def literal(text: str) -> str:
    """Return ``text`` as a one-line literal: ``'…'``; whatever would not show as itself is written as an escape."""
    return "'" + "".join(_SHORT.get(char) or printable(char) for char in text) + "'"


def fence(text: str) -> str:
    """Return ``text`` as a multi-line literal, or as a one-line literal where a fence cannot hold it."""
    if "```" in text or text.endswith("`") or not text.replace("\n", "").replace("\t", "").isprintable():
        return literal(text)
    return f"```{text}```"


def name(text: str) -> str:
    """Return an entity's name in brackets: ``['…']``."""
    if not text:
        raise InputError("A name cannot be empty.")
    return f"[{literal(text)}]"
