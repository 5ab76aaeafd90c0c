"""The matrix as a view gets it: usages, identities, and for each cell the place of its state in a legend."""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from kqlmi.errors import printable
from kqlmi.model.entities import ALL, SYSTEM, Scope, known_usage
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.access import without_effect
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.notebook.panel import words

State = dict[str, Any]
"""What a cell shows: ``granted``, ``allowed``, ``changed``, and ``text`` for what is special about it."""

_FIRST = "0"
_UNKNOWN = "The catalogue does not know this usage; it is kept as it is."


def columns(draft: Draft) -> list[dict[str, Any]]:
    """Return the columns: each usage with the workflows that it opens."""
    return [_column(usage) for usage in draft.usages]


def _column(usage: str) -> dict[str, Any]:
    known = known_usage(usage)
    # All opens every workflow; to list them once more would hide the column that a search is after.
    rows = [] if usage == ALL else [row for row in WORKFLOWS if row.usage == usage]
    return {
        "usage": printable(usage),
        "summary": known.summary if known else _UNKNOWN,
        "known": known is not None,
        "cluster_only": known is not None and known.cluster_only,
        "workflows": [{"title": row.title, "sure": row.sure} for row in rows],
    }


def identities(snapshot: Snapshot, more: Iterable[str] = (), directory: Directory | None = None) -> list[list[str]]:
    """Return the rows as [object ID, name, badge]: the system identity, those of policies and assignments, then ``more``.

    ``badge`` is ``assigned`` or ``orphan``, and empty where that is not known. ``directory`` is who is who, by default as
    the policies know it.
    """
    known = directory or Directory.of(snapshot)
    rows = dict.fromkeys((*sorted(known.assigned or ()), *snapshot.identities))
    names = {one: words.label(known.identities.get(one)) for one in (*rows, *more)}
    order = sorted(rows, key=lambda one: (one != SYSTEM, names[one].casefold(), one))
    return [[one, names[one], known.state(one)] for one in dict.fromkeys((*order, *more))]


@dataclass
class Legend:
    """The states in use, each once."""

    states: list[State] = field(default_factory=list)
    _places: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def place(self, state: State) -> str:
        """Return the place of a state as a character: the widget protocol walks every list, and numbers take it longer."""
        key = tuple(state.values())
        if key not in self._places:
            self._places[key] = chr(ord(_FIRST) + len(self.states))
            self.states.append(state)
        return self._places[key]

    def read(self, row: str) -> list[State]:
        """Return the states of a row."""
        return [self.states[ord(place) - ord(_FIRST)] for place in row]


class Cells(ABC):
    """What fills the rows of a matrix; ``legend`` only grows, so that a place in it keeps its meaning."""

    def __init__(self) -> None:
        self.legend = Legend()

    def row(self, draft: Draft, identity: str, usages: Iterable[str]) -> str:
        """Return the row of an identity: for each usage a character, the place of its state from "0" on."""
        return "".join(self.legend.place(self._state(draft, identity, usage)) for usage in usages)

    @abstractmethod
    def _state(self, draft: Draft, identity: str, usage: str) -> State: ...


class ScopeCells(Cells):
    """The cells of one scope, as they are wanted; rows that hold the same are made once."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope
        self._rows: dict[tuple[Any, ...], str] = {}

    def row(self, draft: Draft, identity: str, usages: Iterable[str]) -> str:
        """Return the row of an identity, as ``Cells`` has it."""
        if draft.ticks:
            return super().row(draft, identity, usages)
        read, usages, identity = draft.read, tuple(usages), draft.directory.key(identity)
        key = (read.usages_of(self._scope, identity), read.usages_of(Scope.cluster(), identity), usages)
        if key not in self._rows:
            self._rows[key] = super().row(draft, identity, usages)
        return self._rows[key]

    def _state(self, draft: Draft, identity: str, usage: str) -> State:
        cell = draft.cell(identity, usage)
        text = cell.state(self._scope)
        return {"granted": cell.granted, "allowed": cell.allowed, "changed": cell.changed, "text": text}


class EffectiveCells(Cells):
    """Where each usage is in force, over all scopes that were read; ticks that were not applied do not count."""

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
        text = ""
        if not self._at_cluster(identity).isdisjoint({usage, ALL}):
            text = "everywhere"
        elif found := self._count(draft.read, identity, usage):
            text = f"in {found} of {len(self._databases)} databases"
        return {"granted": False, "allowed": bool(text), "changed": False, "text": text}

    def _count(self, snapshot: Snapshot, identity: str, usage: str) -> int:
        known, counts = known_usage(usage), self._counts.get(identity)
        if counts is None or (known and known.cluster_only):
            return 0
        if usage == ALL or not counts[ALL]:
            return counts[usage]
        return sum(not snapshot.usages_of(scope, identity).isdisjoint({usage, ALL}) for scope in self._databases)


def where(snapshot: Snapshot, identity: str, usage: str) -> list[str]:
    """Return the grants by which an identity may be used for a usage somewhere, a line each."""
    return [
        str(scope) + ("" if name == usage else f", through {name}")
        for scope in snapshot.policies
        for name in dict.fromkeys((usage, ALL))
        if name in snapshot.usages_of(scope, identity) and not without_effect(scope, usage)
    ]


def rows(cells: Cells, draft: Draft, listed: Iterable[list[str]]) -> list[str]:
    """Return the rows as they were read, with a place for each usage of the draft."""
    read, usages = replace(draft, ticks={}), draft.usages
    return [cells.row(read, identity, usages) for identity, _, _ in listed]


def edited(cells: Cells, draft: Draft) -> dict[str, str]:
    """Return the rows that ticks change, by identity: few, so that a tick is a short message."""
    touched = {identity for scope, identity, _ in draft.ticks if scope in (draft.scope, Scope.cluster())}
    usages = draft.usages
    return {identity: cells.row(draft, identity, usages) for identity in touched}


def scope_states(scopes: Iterable[Scope], draft: Draft, refused: Container[Scope]) -> str:
    """Return a letter for each scope: ``u`` unread, ``x`` refused, ``r`` read, ``c`` with changes that were not applied."""
    read, changed = draft.read.policies, {*draft.scopes}
    return "".join(
        "x" if scope in refused else "u" if scope not in read else "c" if scope in changed else "r" for scope in scopes
    )
