r"""Names and string literals as command text.

Every name is written ``['…']`` and every value ``'…'`` or between fences, so no list of keywords decides about safety.
"""

from typing import Final

from kqlmi.errors import InputError

_SHORT: Final = {"\\": "\\\\", "'": "\\'", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BASIC_PLANE: Final = 0xFFFF


def literal(text: str) -> str:
    """Give ``text`` as a one-line literal: ``'…'``; whatever would not show as itself is written as an escape."""
    return "'" + "".join(_SHORT.get(char) or _shown(char) for char in text) + "'"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= _BASIC_PLANE else f"\\U{ord(char):08x}"


def fence(text: str) -> str:
    """Give ``text`` as a multi-line literal, or as a one-line literal where a fence cannot hold it."""
    if "```" in text or text.endswith("`") or not all(char.isprintable() or char in "\n\t" for char in text):
        return literal(text)
    return f"```{text}```"


def name(text: str) -> str:
    """Give an entity's name in brackets: ``['…']``."""
    if not text:
        raise InputError("A name cannot be empty.")
    return f"[{literal(text)}]"
