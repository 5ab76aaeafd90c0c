"""The matrix as sent to a view: usages, identities, and for each cell the index of its state in a legend.

Front ends without widgets show it as a report.
"""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

from kqlmi.errors import printable
from kqlmi.model.entities import ALL, SYSTEM, Scope, known_usage
from kqlmi.model.plan.draft import Cell, Draft
from kqlmi.model.plan.listing import marks
from kqlmi.model.policy.access import without_effect
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.notebook.panel import words
from kqlmi.report import Report, Rows

_FIRST = "0"
# Keeps saved notebooks and IPython's memory of displays small; %kqlmi show lists everything.
_MOST = 25
_UNKNOWN = "This usage is not in the catalogue; it is kept unchanged."


class State(NamedTuple):
    """The state of a cell; ``text`` describes it further, and ``mark`` is the sign or share that the page shows."""

    granted: bool
    allowed: bool
    changed: bool
    text: str
    mark: str


def column(usage: str) -> dict[str, Any]:
    """Return the column of a usage, with the workflows that it enables."""
    known = known_usage(usage)
    # All enables every workflow; if they were listed here, each search for a workflow would also find this column.
    rows = [] if usage == ALL else [row for row in WORKFLOWS if row.usage == usage]
    return {
        "usage": printable(usage),
        "summary": known.summary if known else _UNKNOWN,
        "known": known is not None,
        "broad": usage == ALL,
        "cluster_only": known is not None and known.cluster_only,
        "workflows": [{"title": row.title, "sure": row.sure} for row in rows],
    }


def identities(snapshot: Snapshot, more: Iterable[str] = (), directory: Directory | None = None) -> list[list[str]]:
    """Return the rows as [object ID, name, badge]: the system identity, those of policies and assignments, then ``more``.

    ``badge`` is ``assigned`` or ``orphan``, or empty if that is not known. ``directory`` contains the identities, by default
    those in the policies.
    """
    known = directory or Directory.of(snapshot)
    rows = dict.fromkeys((*sorted(known.assigned or ()), *snapshot.identities))
    names = {one: words.label(known.identities.get(one)) for one in (*rows, *more)}
    order = sorted(rows, key=lambda one: (one != SYSTEM, names[one].casefold(), one))
    return [[one, names[one], known.state(one)] for one in dict.fromkeys((*order, *more))]


class Cells(ABC):
    """The cells of a matrix, encoded row by row."""

    def __init__(self) -> None:
        # A character for each state: the widget protocol traverses lists, which is slower with numbers.
        self._places: dict[State, str] = {}

    @property
    def legend(self) -> list[dict[str, Any]]:
        """Return the states in use; states are only appended, so that an index keeps its meaning."""
        return [state._asdict() for state in self._places]

    def row(self, draft: Draft, identity: str, usages: Iterable[str]) -> str:
        """Return the row of an identity: a character for each usage, which is the index of its state, counted from "0"."""
        states = (self._state(draft, identity, usage) for usage in usages)
        return "".join(self._places.setdefault(one, chr(ord(_FIRST) + len(self._places))) for one in states)

    @abstractmethod
    def _state(self, draft: Draft, identity: str, usage: str) -> State: ...


class ScopeCells(Cells):
    """The cells of one scope with its ticks; equal rows are computed once."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope
        self._rows: dict[tuple[Any, ...], str] = {}

    def row(self, draft: Draft, identity: str, usages: Iterable[str]) -> str:
        """Return the row of an identity, as ``Cells.row`` does."""
        if draft.ticks:
            return super().row(draft, identity, usages)
        read, usages, identity = draft.read, tuple(usages), draft.directory.key(identity)
        key = (read.usages_of(self._scope, identity), read.usages_of(Scope.cluster(), identity), usages)
        if key not in self._rows:
            self._rows[key] = super().row(draft, identity, usages)
        return self._rows[key]

    def _state(self, draft: Draft, identity: str, usage: str) -> State:
        cell = draft.cell(identity, usage)
        return State(cell.granted, cell.allowed, cell.changed, cell.state(self._scope), _mark(cell))


class EffectiveCells(Cells):
    """The effective access across all scopes that were read; unapplied ticks do not count."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._at_cluster = cache(partial(snapshot.usages_of, Scope.cluster()))
        self._databases = [scope for scope in snapshot.policies if not scope.is_cluster]
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        for scope in self._databases:
            policy = snapshot.policies[scope]
            for identity, usages in policy.holdings.items() if policy else ():
                self._counts[identity].update(usages)

    def _state(self, draft: Draft, identity: str, usage: str) -> State:
        text = mark = ""
        if not self._at_cluster(identity).isdisjoint({usage, ALL}):
            text, mark = "everywhere", "◆"
        elif found := self._count(draft.read, identity, usage):
            text, mark = f"in {found} of {len(self._databases)} databases", _share(found, len(self._databases))
        return State(granted=False, allowed=bool(text), changed=False, text=text, mark=mark)

    def _count(self, snapshot: Snapshot, identity: str, usage: str) -> int:
        known, counts = known_usage(usage), self._counts.get(identity)
        if counts is None or (known and known.cluster_only):
            return 0
        if usage == ALL or not counts[ALL]:
            return counts[usage]
        return sum(not snapshot.usages_of(scope, identity).isdisjoint({usage, ALL}) for scope in self._databases)


def _mark(cell: Cell) -> str:
    """Return the sign of a cell, which the page's legend explains; empty if the usage is neither granted nor allowed."""
    if cell.changed:
        return "+" if cell.granted else "−"  # noqa: RUF001 # a minus sign
    if cell.granted:
        return "∅" if cell.without_effect else "◈" if cell.covered_by else "✓"
    return "◆" if cell.covered_by else "–" if cell.without_effect else ""  # noqa: RUF001 # a dash


def _share(found: int, count: int) -> str:
    """Return a share as a percentage that is 0 or 100 only if it is exactly that."""
    share = 100 * found / count
    return "<1 %" if share < 1 else ">99 %" if 99 < share < 100 else f"{share:.0f} %"  # noqa: PLR2004 # percentages


def where(snapshot: Snapshot, identity: str, usage: str) -> list[str]:
    """Return one line for each grant that allows a usage to an identity in some scope."""
    return [
        str(scope) + ("" if name == usage else f", through {name}")
        for scope in snapshot.policies
        for name in dict.fromkeys((usage, ALL))
        if name in snapshot.usages_of(scope, identity) and not without_effect(scope, usage)
    ]


def rows(cells: Cells, draft: Draft, listed: Iterable[list[str]]) -> list[str]:
    """Return the rows without ticks, with a cell for each usage of the draft."""
    read, usages = replace(draft, ticks={}), draft.usages
    return [cells.row(read, identity, usages) for identity, _, _ in listed]


def edited(cells: Cells, draft: Draft) -> dict[str, str]:
    """Return only the rows that ticks change, by identity, so that the message for a tick is short."""
    touched = {identity for scope, identity, _ in draft.ticks if scope in (draft.scope, Scope.cluster())}
    usages = draft.usages
    return {identity: cells.row(draft, identity, usages) for identity in touched}


def scope_states(scopes: Iterable[Scope], draft: Draft, refused: Container[Scope]) -> str:
    """Return a letter for each scope: ``u`` unread, ``x`` refused, ``r`` read, ``c`` with unapplied changes."""
    read, changed = draft.read.policies, {*draft.scopes}
    return "".join(
        "x" if scope in refused else "u" if scope not in read else "c" if scope in changed else "r" for scope in scopes
    )


def report(draft: Draft, cluster: str) -> Report:
    """Return a report with the first rows of the matrix."""
    rows = tuple((name, identity, *cells.values()) for identity, name, cells in islice(marks(draft), _MOST))
    unread = "" if draft.scope in draft.read.policies else ", not read"
    more = len(draft.read.identities) - _MOST
    notes = (f"{more} more identities: %kqlmi show lists all.",) if more > 0 else ()
    title = f"kqlmi panel: {cluster}, {draft.scope}{unread}"
    return Report(title, blocks=(Rows(("identity", "object ID", *draft.usages), rows),), notes=notes)
