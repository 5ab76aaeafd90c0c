"""What can be offered at the cursor: the names that are known, as text to insert."""

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
    """A text to insert in place of the fragment, and what is shown beside it."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Offers:
    """The candidates for a fragment; ``alone`` tells that no other guess makes sense at this place."""

    fragment: str = ""
    candidates: tuple[Candidate, ...] = ()
    alone: bool = True


NOTHING: Final = Offers()


@dataclass(frozen=True, slots=True)
class Names:
    """The names that are known of one cluster: ``identities`` and ``plans`` with what is shown beside them."""

    databases: tuple[str, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)
    usages: tuple[str, ...] = ()
    plans: Mapping[str, str] = field(default_factory=dict)
    database: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """The names of every connection, by its name, which one is current, and the connections that are configured."""

    connections: Mapping[str, Names] = field(default_factory=dict)
    current: str = ""
    configured: tuple[str, ...] = ()

    def on(self, name: str) -> Names:
        """Return the names of a connection, or of the current one; none where there is no such connection."""
        return self.connections.get(name or self.current, Names())


def begins(text: str, fragment: str) -> bool:
    """Check whether a text begins with a fragment, without letter case."""
    return text.casefold().startswith(fragment.casefold())


def choose(fragment: str, candidates: Iterable[Candidate], *, alone: bool = True) -> Offers:
    """Return the candidates that begin with the fragment."""
    return Offers(fragment, tuple(one for one in candidates if begins(one.text, fragment)), alone)


def usages(names: Names, listed: Iterable[str], scope: Scope | None) -> Iterator[Candidate]:
    """Return the usages that are not ``listed`` yet: those of the catalogue, and those that policies hold beyond it.

    ``scope`` is None where it is not known.
    """
    used = {usage.strip().casefold() for usage in listed}
    known = [usage.name for usage in USAGES]
    for name in [*known, *(usage for usage in names.usages if known_usage(usage) is None)]:
        row = known_usage(name)
        where = "" if row is None or not row.cluster_only or (scope and scope.is_cluster) else ", at the cluster only"
        if name.casefold() not in used and printable(name) == name:
            yield Candidate(name, f"usage{where}" if row else "usage that the catalogue does not know")


def object_ids(names: Names, fragment: str) -> tuple[Candidate, ...]:
    """Return the object IDs of the identities whose object ID begins with a fragment, or whose display name holds it."""
    found = {SYSTEM: "the cluster's own", **names.identities}
    return tuple(
        Candidate(identity, printable(name) or "identity")
        for identity, name in found.items()
        if begins(identity, fragment) or fragment.casefold() in name.casefold()
    )


def identity_words(names: Names, fragment: str) -> Iterator[tuple[str, str]]:
    """Return each identity as a subcommand takes it, and what is shown beside it.

    By its display name, where that names one identity only; by its object ID, where it does not or where the object ID
    is being typed.
    """
    count = Counter(name.casefold() for name in names.identities.values())
    for identity, name in {SYSTEM: "the cluster's own", **names.identities}.items():
        named = identity != SYSTEM and count[name.casefold()] == 1 and _is_a_word(name)
        if named and fragment.casefold() in name.casefold():
            yield name, identity
        elif begins(identity, fragment) or fragment.casefold() in name.casefold():
            yield identity, printable(name) or "identity"


def _is_a_word(name: str) -> bool:
    """Tell a display name that can be typed, and that is not taken for an object ID or an option."""
    if not name or name != printable(name).strip() or name.startswith("-"):
        return False
    try:
        object_id(name)
    except PolicyError:
        return True
    return False


def bracketed(names: Names, fragment: str) -> Offers:
    """Return the databases as a command takes them, for a name that is being typed in any spelling."""
    typed = fragment.lstrip("[").lstrip().removeprefix("@").lstrip("'\"").rstrip("'\"]")
    found = [name for name in names.databases if begins(name, typed) or begins(quoting.literal(name)[1:], typed)]
    return Offers(fragment, tuple(Candidate(quoting.name(name), "database") for name in found))
