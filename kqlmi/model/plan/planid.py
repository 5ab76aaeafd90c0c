"""The ID of a plan: a digest of everything that it does."""

import hashlib
from typing import Final

SHOWN: Final = 12
"""So many characters of an ID are shown and typed; all of them are stored and compared."""


def plan_id(content: str) -> str:
    """Return the ID of a plan: SHA-256 of its canonical content, as 64 hexadecimal digits."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
