r"""Names and string literals as text: for a command, and for people.

Every name is written ``['…']`` and every value ``'…'`` or between fences, so no list of keywords decides about safety.
"""

import re

from kqlmi.errors import InputError

_SHORT = {"\\": "\\\\", "'": "\\'", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Control characters, the two Unicode line separators, and lone surrogates, which no request body can carry.
_UNSAFE = re.compile(r"['\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def literal(text: str) -> str:
    """Give ``text`` as a one-line literal: ``'…'``."""
    return "'" + _UNSAFE.sub(lambda match: _SHORT.get(match[0], f"\\u{ord(match[0]):04x}"), text) + "'"


def fence(text: str) -> str:
    """Give ``text`` as a multi-line literal, or as a one-line literal where a fence cannot hold it."""
    if "```" in text or text.endswith("`") or "\r" in text:
        return literal(text)
    return f"```{text}```"


def name(text: str) -> str:
    """Give an entity's name in brackets: ``['…']``."""
    if not text:
        raise InputError("A name cannot be empty.")
    return f"[{literal(text)}]"


def printable(text: str) -> str:
    """Give ``text`` for people: what would not show, or would change how the rest shows, is written as an escape."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
