"""The candidates that completion offers, from the names that are known."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kqlmi.errors import PolicyError, printable
from kqlmi.model.entities import SYSTEM, Scope, known_usage, object_id
from kqlmi.model.kql import quoting
from kqlmi.model.usages import USAGES


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion that replaces the fragment, and a note to show beside it."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Offers:
    """The candidates for a fragment; ``alone`` suppresses the completions of other matchers."""

    fragment: str = ""
    candidates: tuple[Candidate, ...] = ()
    alone: bool = True


NOTHING: Final = Offers()


@dataclass(frozen=True, slots=True)
class Names:
    """The known names on one cluster; ``identities`` and ``plans`` map IDs to the notes to show beside them."""

    databases: tuple[str, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)
    usages: tuple[str, ...] = ()
    plans: Mapping[str, str] = field(default_factory=dict)
    database: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """The names on every open connection, the current connection, and the configured connections."""

    connections: Mapping[str, Names] = field(default_factory=dict)
    current: str = ""
    configured: tuple[str, ...] = ()

    def on(self, name: str) -> Names:
        """Return the names on a connection, by default the current one. If it does not exist, there are none."""
        return self.connections.get(name or self.current, Names())


def begins(text: str, fragment: str) -> bool:
    """Check whether a string begins with a fragment, ignoring case."""
    return text.casefold().startswith(fragment.casefold())


def choose(fragment: str, candidates: Iterable[Candidate], *, alone: bool = True) -> Offers:
    """Return the candidates that begin with the fragment."""
    return Offers(fragment, tuple(one for one in candidates if begins(one.text, fragment)), alone)


def usages(names: Names, listed: Iterable[str], scope: Scope | None) -> Iterator[Candidate]:
    """Yield the usages that are not ``listed`` yet: those in the catalogue, and unknown ones that policies contain.

    ``scope`` is None if it is not known.
    """
    used = {usage.strip().casefold() for usage in listed}
    known = [usage.name for usage in USAGES]
    for name in [*known, *(usage for usage in names.usages if known_usage(usage) is None)]:
        row = known_usage(name)
        where = "" if row is None or not row.cluster_only or (scope and scope.is_cluster) else ", cluster only"
        if name.casefold() not in used and printable(name) == name:
            yield Candidate(name, f"usage{where}" if row else "usage that is not in the catalogue")


def object_ids(names: Names, fragment: str) -> tuple[Candidate, ...]:
    """Return the object IDs of identities whose object ID begins with a fragment or whose display name contains it."""
    found = {SYSTEM: "the cluster's own", **names.identities}
    return tuple(
        Candidate(identity, printable(name) or "identity")
        for identity, name in found.items()
        if begins(identity, fragment) or fragment.casefold() in name.casefold()
    )


def identity_words(names: Names, fragment: str) -> Iterator[tuple[str, str]]:
    """Yield each identity as a subcommand accepts it, with a note to show beside it.

    That is its display name if this is unique, or its object ID if it is not or if the object ID is being typed.
    """
    count = Counter(name.casefold() for name in names.identities.values())
    for identity, name in {SYSTEM: "the cluster's own", **names.identities}.items():
        named = identity != SYSTEM and count[name.casefold()] == 1 and _is_a_word(name)
        if named and fragment.casefold() in name.casefold():
            yield name, identity
        elif begins(identity, fragment) or fragment.casefold() in name.casefold():
            yield identity, printable(name) or "identity"


def _is_a_word(name: str) -> bool:
    """Check whether a display name can be typed, and is not read as an object ID or an option."""
    if not name or name != printable(name).strip() or name.startswith("-"):
        return False
    try:
        object_id(name)
    except PolicyError:
        return True
    return False


def bracketed(names: Names, fragment: str) -> Offers:
    """Return the databases as written in a command, for a partial name in any quoting."""
    typed = fragment.lstrip("[").lstrip().removeprefix("@").lstrip("'\"").rstrip("'\"]")
    found = [name for name in names.databases if begins(name, typed) or begins(quoting.literal(name)[1:], typed)]
    return Offers(fragment, tuple(Candidate(quoting.name(name), "database") for name in found))
