"""The access map: in what share of the databases each identity may be used for each usage, where, and why."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from kqlmi.errors import printable
from kqlmi.model.audit.findings import Facts
from kqlmi.model.audit.mapcell import LEGEND, MapCell, shorter
from kqlmi.model.audit.rules.uses import proven_unused, without_grant
from kqlmi.model.entities import ALL, SYSTEM, Scope, usage_name
from kqlmi.model.policy.access import without_effect
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.uses.needs import Need
from kqlmi.report import Described, Grid, GridRow, Line, Report, counted

_NAMES: Final = (50, 30, 20, 15, 10, 7, 5, 3, 2, 1, 0)
"""The numbers of databases that each list of a cell may name; the map takes the first with at most ``_ROOM`` bytes of names."""
_ROOM: Final = 400_000
_AT_CLUSTER, _IN_DATABASES, _ORPHANS, _NONE = (
    "Granted at the cluster",
    "Granted in databases",
    "Not assigned to the cluster: orphans, whose grants have no effect",
    "Without a grant",
)
_GROUPS: Final = (_AT_CLUSTER, _IN_DATABASES, _ORPHANS, _NONE)

Key = tuple[str, str]
"""An identity and a usage."""


@dataclass(frozen=True, slots=True)
class MapRow:
    """One identity of the map, with a cell for each usage; ``all_in`` are the scopes whose policy grants it ``All``."""

    identity: str
    name: str
    group: str
    cells: tuple[MapCell, ...]
    all_in: tuple[Scope, ...] = ()

    @property
    def notes(self) -> Iterator[str]:
        """Yield the object ID, unless it is the name, whether it is an orphan, and where ``All`` is granted."""
        if self.name != self.identity:
            yield self.identity
        if self.group == _ORPHANS:
            yield "▲ orphan: not assigned"
        if self.all_in:
            count = len(self.all_in)
            where = "the cluster" if self.all_in[0].is_cluster else counted(count, "database")
            yield f"✱ All at {where}" if self.all_in[0].is_cluster else f"✱ All in {where}"


@dataclass(frozen=True, slots=True, repr=False)
class AccessMap(Described):
    """The identities of a cluster by usage, with the databases of each; ``notes`` are sentences about what is not known."""

    cluster: str
    databases: tuple[str, ...]
    usages: tuple[str, ...]
    identities: tuple[MapRow, ...]
    notes: tuple[str, ...] = ()

    def cell(self, identity: str, usage: str) -> MapCell:
        """Return the cell of an identity, by its object ID or ``system``, and a usage; an empty one if they are not in it."""
        column = self.usages.index(usage)
        return next((row.cells[column] for row in self.identities if row.identity == identity), MapCell())

    def report(self) -> Report:
        """Return the map as a grid of identities by usages, with what is not known above it."""
        names = self._names
        rows = (
            GridRow(row.group, row.name, tuple(row.notes), tuple(one.tile(self.databases, names) for one in row.cells))
            for row in self.identities
        )
        fewer = f"Each list names at most {names} databases, to limit the size." if names != _NAMES[0] else ""
        return Report(
            f"Who may do what on {self.cluster}",
            f"{self._size}.",
            (
                *(Line(note, "warning") for note in self.notes),
                Grid(" ".join(filter(None, [LEGEND, fewer])), "usage", ("identity", *self.usages), tuple(rows)),
            ),
        )

    @property
    def _size(self) -> str:
        identities = counted(len(self.identities), "identity", "identities")
        return f"{identities}, {counted(len(self.databases), 'database')}"

    @property
    def _names(self) -> int:
        """Return how many databases each list names."""
        sizes = {name: len(escape(printable(name)).encode("utf-8", "replace")) + 2 for name in self.databases}
        lists = [
            shown
            for row in self.identities
            for one in row.cells
            for _, found in one.lists
            if (shown := shorter(found, self.databases)[1])
        ]
        return next(
            (most for most in _NAMES if sum(sizes.get(name, 0) for shown in lists for name in shown[:most]) <= _ROOM), 0
        )


def access_map(cluster: str, facts: Facts, databases: Iterable[str], notes: Iterable[str] = ()) -> AccessMap:
    """Return the access map of some databases; what a policy that was not read may allow is unknown."""
    names = tuple(sorted(databases, key=lambda name: (name.casefold(), name)))
    known = [one.name for one in USAGES]
    usages = tuple(one for one in (*known, *sorted(facts.policies.usages.difference(known))) if one != ALL)
    source = _Source.of(facts, names)
    rows = (_row(source, identity, usages) for identity in source.identities)
    ordered = sorted(
        rows, key=lambda row: (_GROUPS.index(row.group), row.identity != SYSTEM, row.name.casefold(), row.identity)
    )
    return AccessMap(cluster, names, usages, tuple(ordered), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Source:
    """The source of the cells, read in one pass over the policies and one over the discovered use.

    ``live`` are the databases whose policy grants a usage to an identity, ``written`` the same with the grants to orphans.
    """

    facts: Facts
    databases: tuple[str, ...]
    unread: frozenset[str]
    live: Mapping[Key, list[str]]
    written: Mapping[Key, list[str]]
    unused: Mapping[Key, list[Scope]]
    needs: Mapping[Key, list[Need]]

    @classmethod
    def of(cls, facts: Facts, databases: tuple[str, ...]) -> "_Source":
        unread = frozenset(name for name in databases if Scope.database(name) not in facts.policies.policies)
        unused: dict[Key, list[Scope]] = {}
        for scope, identity, usage in proven_unused(facts):
            unused.setdefault((identity, usage), []).append(scope)
        needs: dict[Key, list[Need]] = {}
        for (identity, usage, _), found in without_grant(facts).items():
            needs.setdefault((identity, usage_name(usage)), []).extend(found)
        live, written = _by_grant(facts.live, databases), _by_grant(facts.policies, databases)
        return cls(facts, databases, unread, live, written, unused, needs)

    @property
    def identities(self) -> Collection[str]:
        """Return the identities of the policies, those that are assigned, and those that are used."""
        known = (*self.facts.policies.identities, *self.facts.directory.identities)
        return dict.fromkeys((*known, *(identity for identity, _ in self.needs)))

    def is_orphan(self, identity: str) -> bool:
        """Check whether an identity is not assigned to the cluster, so that no grant to it has an effect."""
        if identity in self.facts.policies.earlier:
            return True
        if identity in self.facts.policies.identities:
            return identity not in self.facts.live.identities
        return self.facts.directory.state(identity) == "orphan"

    def cell(self, identity: str, usage: str) -> MapCell:
        """Return the cell of an identity, as it appears in grants, and a usage."""
        key, by_all = (identity, usage), (identity, ALL)
        orphan, cluster_only = self.is_orphan(identity), without_effect(_SOME_DATABASE, usage)
        snapshot = self.facts.policies if orphan else self.facts.live
        at_cluster = snapshot.usages_of(Scope.cluster(), identity)
        cluster = tuple(name for name in (usage, ALL) if name in at_cluster)
        named = dict.fromkeys((self.written if orphan else self.live).get(key, ()))
        every = (
            named if cluster_only else named | dict.fromkeys((self.written if orphan else self.live).get(by_all, ()))
        )
        granted = (
            self.databases if cluster else tuple(name for name in self.databases if name in every) if every else ()
        )
        needs = tuple(self.needs.get(key, ()))
        if orphan:
            return MapCell(inert=granted, needs=needs)
        inert = tuple(named) if cluster_only else ()
        allowed = () if cluster_only and not cluster else granted
        return MapCell(
            allowed,
            () if cluster else self._unknown(allowed, cluster_only=cluster_only),
            cluster,
            () if cluster else tuple(name for name in allowed if name not in named),
            inert,
            tuple(self.unused.get(key, ())),
            needs,
        )

    def _unknown(self, allowed: tuple[str, ...], *, cluster_only: bool) -> tuple[str, ...]:
        if Scope.cluster() not in self.facts.live.policies:
            known = set(allowed)
            return tuple(name for name in self.databases if name not in known)
        return (
            () if cluster_only else tuple(name for name in self.databases if name in self.unread) if self.unread else ()
        )


_SOME_DATABASE: Final = Scope.database("any")


def _by_grant(policies: Snapshot, databases: Iterable[str]) -> dict[Key, list[str]]:
    """Return the databases whose policy grants each usage to each identity, in their order."""
    found: dict[Key, list[str]] = {}
    for name in databases:
        policy = policies.policies.get(Scope.database(name))
        for identity, usages in policy.holdings.items() if policy else ():
            for usage in usages:
                found.setdefault((identity, usage), []).append(name)
    return found


def _row(source: _Source, identity: str, usages: tuple[str, ...]) -> MapRow:
    cells = tuple(source.cell(identity, usage) for usage in usages)
    everywhere = ALL in source.facts.policies.usages_of(Scope.cluster(), identity)
    scopes = (*[Scope.cluster()] * everywhere, *map(Scope.database, source.written.get((identity, ALL), ())))
    group = _NONE
    if source.is_orphan(identity):
        group = _ORPHANS
    elif any(one.cluster for one in cells):
        group = _AT_CLUSTER
    elif any(one.allowed or one.inert for one in cells):
        group = _IN_DATABASES
    one = source.facts.directory.identities.get(identity)
    return MapRow(identity, (one.display_name if one else "") or identity, group, cells, scopes)
