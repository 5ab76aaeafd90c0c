"""The redaction of secrets in text. They are recognised by their form or by the name before them."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

HIDDEN: Final = "****"

# A shorter string is not a secret, and would be found in any sentence.
_SHORTEST: Final = 4
# A run of this many characters of a known secret is redacted, because errors quote pieces of what was sent.
_PIECE: Final = 10
_LONGEST: Final = 4096
_IS: Final = r"""(?:\\*["'])?\s*(?:[:=]|%3D)\s*(?:\\*["'])?"""
_FLAGS: Final = re.IGNORECASE | re.VERBOSE
_RUN: Final = re.compile(r"""[^\s'"]+""")
# A number after a host is a port, not a password.
_PASSWORD: Final = re.compile(
    r"""(?P<keep>\w://[^\s/:@'"]*:)(?P<secret>(?!\d{1,5}(?:[/?\#\s'"]|$))[^\s'"]+)@""", _FLAGS
)
_PATTERNS: Final = tuple(
    pattern if isinstance(pattern, re.Pattern) else re.compile(pattern, _FLAGS)
    for pattern in (
        # In a connection string these may contain spaces.
        rf"""(?P<keep>(?:password|pwd|awscredentials){_IS})
        (?P<secret>(?<=")[^"]+|(?<=')[^']+|[^"'&;\r\n}}\\]+)""",
        rf"""(?P<keep>(?:\bsig|(?:account|shared_?access|shared|app|application[ ]|api[_-]?|function[_-]?)key
        |(?:client[_ ]?)?secret|(?:client[_ ]?)?assertion|(?:access|refresh|id|user|application)[_ ]?token
        |(?<=[?&;])(?:token|key|code)){_IS})(?P<secret>[^\s"'&;,\\}}]+)""",
        _PASSWORD,
        r"""(?P<keep>\bhttps?://)(?P<secret>[^\s/:@'"?\#]+)@""",
        r"(?P<keep>)(?P<secret>\beyJ[\w-]*\.[\w-]*(?:\.[\w-]*)?)",
        # A sentence may mention a bearer token without containing one.
        r"(?P<keep>\bBearer\s+)(?P<secret>(?=[\w.~+/=-]*\d|[\w.~+/=-]{20})[\w.~+/=-]{4,})",
        # The keys of storage and Cosmos DB accounts, and of event hubs; the secrets of applications in Entra ID.
        r"""(?P<keep>)(?P<secret>(?<![\w+/])(?:(?:[A-Za-z0-9+/]|%2[BF]){86}(?:==|%3D%3D)
        |(?:[A-Za-z0-9+/]|%2[BF]){43}(?:=|%3D))(?!\w))""",
        r"(?P<keep>)(?P<secret>(?<![\w~.-])[\w.~-]{3}\dQ~[\w.~-]{31,})",
    )
)


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """Return ``text`` with recognisable secrets, and pieces of the ``known`` ones, replaced with asterisks."""
    return _swept(_without_pieces(text, [one for one in known if len(one) >= _SHORTEST]), lambda _: None)


def secrets_in(text: str) -> frozenset[str]:
    """Return the secrets in ``text`` that are recognisable by their form or their name."""
    found: list[str] = []
    _swept(text, found.append)
    return frozenset(found) - {HIDDEN}


def _swept(text: str, note: Callable[[str], None]) -> str:
    def hide(found: re.Match[str]) -> str:
        note(found["secret"])
        return f"{found['keep']}{HIDDEN}{found[0][found.end('secret') - found.start() :]}"

    def hide_passwords(run: re.Match[str]) -> str:
        # Only up to the last @: the rest contains no password, and would be scanned to its end from each host in it.
        before, at, rest = run[0].rpartition("@")
        return _PASSWORD.sub(hide, before + at) + rest

    for pattern in _PATTERNS:
        text = _RUN.sub(hide_passwords, text) if pattern is _PASSWORD else pattern.sub(hide, text)
    return text


def _without_pieces(text: str, known: Iterable[str]) -> str:
    pieces: dict[int, set[str]] = {}
    for secret in (one[:_LONGEST] for one in known):
        size = min(len(secret), _PIECE)
        pieces.setdefault(size, set()).update(secret[at : at + size] for at in range(len(secret) - size + 1))
    hidden = {
        place
        for size, some in pieces.items()
        for at in range(len(text) - size + 1)
        if text[at : at + size] in some
        for place in range(at, at + size)
    }
    kept = (
        "" if at in hidden and at - 1 in hidden else HIDDEN if at in hidden else char for at, char in enumerate(text)
    )
    return "".join(kept) if hidden else text


def is_secret(text: str) -> bool:
    """Check whether ``text`` contains a secret that is recognisable by its form or its name."""
    return bool(secrets_in(text))


def redacted_values(value: Any, known: Iterable[str] = ()) -> Any:
    """Return JSON with its strings redacted."""
    match value:
        case str():
            return redacted(value, known)
        case dict():
            return {name: redacted_values(item, known) for name, item in value.items()}
        case list():
            return [redacted_values(item, known) for item in value]
        case _:
            return value


class Secret(str):
    """A string that neither its repr, ``dataclasses.asdict`` nor pickle exposes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __deepcopy__(self, memo: Any) -> str:
        """Return asterisks: ``asdict`` copies values with this method."""
        return HIDDEN

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("A secret cannot be pickled. Sign in again in the other process.")
