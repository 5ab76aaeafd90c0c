"""One cell of the access map: in which databases an identity may be used for a usage, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kqlmi.model.entities import ALL, Scope
from kqlmi.model.uses.needs import Need
from kqlmi.report import Tile

LEGEND: Final = (
    "Share of databases · ◆ cluster-wide · ✱ through All · ○ granted, proven unused · ! used without a grant"
    " · ▲ granted without effect · ? not known. Open a cell to see where and why."
)
_BLANK: Final = "·"
_EVIDENCE: Final = 3


@dataclass(frozen=True, slots=True)
class MapCell:
    """In which databases one identity may be used for one usage, and why.

    ``allowed`` are those in which ``access`` allows it, ``unknown`` those in which that is not known. ``cluster`` are the
    usages of the cluster's policy that allow it, ``through_all`` the databases in which only their own grant of ``All``
    does, and ``inert`` those in which it is granted without effect. ``unused`` are the scopes whose grant is proven
    unused, ``needs`` the uses that no policy allows.
    """

    allowed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    through_all: tuple[str, ...] = ()
    inert: tuple[str, ...] = ()
    unused: tuple[Scope, ...] = ()
    needs: tuple[Need, ...] = ()

    @property
    def used_in(self) -> tuple[str, ...]:
        """Return the databases in which it is used although no policy allows it."""
        return tuple(dict.fromkeys(str(need.scope.name) for need in self.needs))

    @property
    def lists(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the lists of databases, each after its first words."""
        unused = tuple(scope.name for scope in self.unused if scope.name is not None)
        found = (
            ("Allowed", () if self.through_all == self.allowed else self.allowed),
            ("Allowed only through All", self.through_all),
            ("Granted without effect", self.inert),
            ("Granted, and proven unused,", unused),
            ("Used without a grant", self.used_in),
            ("Not known, because a policy was not read,", self.unknown),
        )
        return tuple((lead, names) for lead, names in found if names)

    def tile(self, databases: tuple[str, ...], names: int) -> Tile:
        """Return the cell for display, with at most so many names in each list."""
        if not (self.lists or self.cluster):
            return Tile(_BLANK)
        share = len(self.allowed) / len(databases) if databases else 1.0
        marks = (
            ("◆", self.cluster),
            ("✱", self.through_all or self.cluster == (ALL,)),
            ("○", self.unused),
            ("?", self.unknown),
        )
        parts = (
            _percent(len(self.allowed), len(databases)),
            "".join(mark for mark, found in marks if found),
            f"!{len(self.used_in):,}" if self.needs else "",
            f"▲{len(self.inert):,}" if self.inert else "",
        )
        return Tile(
            " ".join(filter(None, parts)),
            share,
            "-" if self.needs else "warning" if self.inert and not self.allowed else "",
            tuple(self._lines(databases, names)),
        )

    def _lines(self, databases: tuple[str, ...], names: int) -> Iterator[str]:
        if self.cluster:
            yield f"The cluster's policy grants {' and '.join(self.cluster)}"
        for lead, found in self.lists:
            yield f"{lead} {_where(found, databases, names)}"
        if Scope.cluster() in self.unused:
            yield "The grant at the cluster is proven unused"
        says = dict.fromkeys(f"{need.scope}: {need.evidence[0].says}" for need in self.needs if need.evidence)
        yield from list(says)[:_EVIDENCE]


def shorter(found: tuple[str, ...], databases: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the first words of a list of databases, and the shorter of its names and those of the others."""
    total = f"{len(databases):,}"
    if len(found) == len(databases):
        return ("in the only database" if len(found) == 1 else f"in all {total} databases"), ()
    if len(found) <= len(databases) - len(found):
        return f"in {len(found):,} of {total}", found
    chosen = set(found)
    others = tuple(name for name in databases if name not in chosen)
    return f"in all but {len(others):,} of {total}", others


def _where(found: tuple[str, ...], databases: tuple[str, ...], names: int) -> str:
    words, listed = shorter(found, databases)
    more = len(listed) - names
    parts = [*listed[:names], *([f"and {more:,} more" if names else f"{more:,} databases"] if more > 0 else [])]
    return f"{words}: {', '.join(parts)}" if parts else words


def _percent(part: int, whole: int) -> str:
    """Return a share in percent; 0 and 100 only if it is exactly that, and empty if it is 0."""
    if not part:
        return ""
    if part == whole:
        return "100 %"
    rounded = round(100 * part / whole)
    return "<1 %" if rounded < 1 else ">99 %" if rounded > 99 else f"{rounded} %"  # noqa: PLR2004 - percent
