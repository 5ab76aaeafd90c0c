"""Needs: the uses of identities that a cluster shows, each with its evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import Scope, usage_name

Outcome = Literal["read", "not permitted", "masked", "failed", "not read"]
State = Literal["standing", "idle", "past", "refused"]
"""A definition that runs; one that is disabled or runs only when called; a request that ran; one that failed."""

STATES: Final[tuple[State, ...]] = ("standing", "idle", "past", "refused")
NOW: Final = "as of now"

EXTERNAL_TABLES: Final = ".show external tables"
UPDATE_POLICIES: Final = ".show table * policy update"
ACCELERATION: Final = ".show external table * policy query_acceleration"
EXPORTS: Final = ".show continuous-exports"
DATA_CONNECTIONS: Final = "data connections (Azure Resource Manager)"

_SHOWN_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "ExternalTable": (EXTERNAL_TABLES,),
    "AutomatedFlows": (UPDATE_POLICIES, ACCELERATION, EXPORTS),
    "DataConnection": (DATA_CONNECTIONS,),
}
"""The sources that together show every use of a usage; a usage without sources is never proven unused."""

_OLDER: Final = "the cluster keeps no record of older queries and commands"
_NEVER_SHOWN: Final[Mapping[str, str]] = {
    "NativeIngestion": "ingestion queued by an SDK or LightIngest leaves no trace of the identity in the cluster",
    "All": "it also covers future usages, whose use is not known",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence from one source: ``source`` is the command, ``window`` the time it covers, ``says`` what it shows.

    ``inferred`` means that the documentation does not state the usage of the workflow, or that it was extracted
    from free text.
    """

    source: str
    says: str
    window: str = NOW
    state: State = "standing"
    inferred: bool = False

    def __str__(self) -> str:
        notes = ["disabled, or used only when called"] * (self.state == "idle") + ["inferred"] * self.inferred
        note = f" ({'; '.join(notes)})" if notes else ""
        return f"{printable(self.says)}{note}, according to {printable(self.source)}, {self.window}"


@dataclass(frozen=True, slots=True)
class Need:
    """A usage for which an identity is used in a database; ``identity`` is None if it cannot be determined."""

    identity: str | None
    usage: str
    scope: Scope
    evidence: tuple[Evidence, ...]

    @property
    def state(self) -> State:
        """Return the strongest state of the evidence."""
        return min((one.state for one in self.evidence), key=STATES.index)


@dataclass(frozen=True, slots=True)
class Gap:
    """A flow that uses ``;impersonate`` without a managed identity, although it requires one."""

    scope: Scope
    subject: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One source of discovery; ``database`` is empty for the whole cluster, and ``detail`` is why it was not read completely."""

    name: str
    database: str
    outcome: Outcome
    window: str = NOW
    detail: str = ""

    def line(self, databases: Iterable[str]) -> str:
        """Return the source on one line, with the databases that have the same outcome; no database means the whole cluster."""
        names = listed(databases)
        where = f" in {names}" if names else ""
        why = f": {printable(self.detail)}" if self.detail else ""
        return f"{self.name}{where}: {self.outcome}{why} ({self.window})"

    def __str__(self) -> str:
        return self.line([self.database] if self.database else [])


@dataclass(frozen=True)
class Discovery:
    """The use of identities that a cluster shows, and the sources that were read for it.

    ``databases`` are those that were searched; ``followers`` are those of them that follow a database of another cluster.
    """

    databases: tuple[Scope, ...] = ()
    sources: tuple[Source, ...] = ()
    needs: tuple[Need, ...] = ()
    gaps: tuple[Gap, ...] = ()
    followers: frozenset[Scope] = frozenset()

    def with_principals(self, principals: Mapping[str, str]) -> "Discovery":
        """Return the discovery with identities as they appear in grants; ``principals`` maps object IDs to ``system``."""
        named = (replace(need, identity=principals.get(need.identity or "", need.identity)) for need in self.needs)
        return replace(self, needs=merged(named))

    def learning(self, name: str, sources: Iterable[Source], needs: Iterable[Need]) -> "Discovery":
        """Return the discovery with the results of a source, which replace its earlier ones."""
        others = (one for one in self.sources if one.name != name)
        return replace(self, sources=(*others, *sources), needs=merged((*self.needs, *needs)))

    def uses(self, identity: str, usage: str, scope: Scope) -> tuple[Need, ...]:
        """Return an identity's needs for a usage (``All``: for any usage) in a database (the cluster: in all databases)."""
        return self._uses.get((identity, usage_name(usage), None if scope.is_cluster else scope), ())

    def doubt(self, usage: str, scope: Scope) -> str:
        """Return why finding no use does not prove a usage unused in a database (the cluster: in all), or an empty string."""
        wanted = usage_name(usage)
        if wanted not in _SHOWN_BY:
            return _NEVER_SHOWN.get(wanted, _OLDER)
        places = self.databases if scope.is_cluster else (scope,)
        return next((why for place in places if (why := self._doubt(wanted, place))), "")

    def evidence_of_absence(self, usage: str, scope: Scope) -> tuple[Evidence, ...]:
        """Return the sources that would show a usage, as evidence that it is not used."""
        found = []
        for name in _SHOWN_BY.get(usage_name(usage), ()):
            places = self.databases if scope.is_cluster else (scope,)
            sources = dict.fromkeys(one for place in places if (one := self._source(name, place)))
            where = [one.database for one in sources if one.database]
            says = f"no use in {listed(where)}" if where else "no use"
            found += [Evidence(name, says, one.window) for one in list(sources)[:1]]
        return tuple(found)

    def _doubt(self, usage: str, scope: Scope) -> str:
        for name in _SHOWN_BY[usage]:
            found = self._source(name, scope)
            if found is None or found.outcome not in ("read", "masked"):
                return str(found) if found else f"{name} in {printable(scope.name or '')} was not read"
        hidden = self._uses.get((None, usage, scope), ())
        return f"in the {scope}, {hidden[0].evidence[0]}" if hidden else ""

    def _source(self, name: str, scope: Scope) -> Source | None:
        return self._sources.get((name, scope)) or self._sources.get((name, None))

    @cached_property
    def _sources(self) -> Mapping[tuple[str, Scope | None], Source]:
        return {(one.name, Scope.database(one.database) if one.database else None): one for one in self.sources}

    @cached_property
    def _uses(self) -> Mapping[tuple[str | None, str, Scope | None], tuple[Need, ...]]:
        """Return the needs by identity, usage (``All``: any) and scope (None: any)."""
        found: dict[tuple[str | None, str, Scope | None], list[Need]] = {}
        for need in self.needs:
            for usage in (need.usage, "All"):
                for scope in (need.scope, None):
                    found.setdefault((need.identity, usage, scope), []).append(need)
        return {key: tuple(needs) for key, needs in found.items()}


def merged(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Return one need for each identity, usage and database, with their evidence merged."""
    found: dict[tuple[str | None, str, Scope], dict[Evidence, None]] = {}
    for need in needs:
        found.setdefault((need.identity, need.usage, need.scope), {}).update(dict.fromkeys(need.evidence))
    return tuple(
        Need(identity, usage, scope, tuple(sorted(evidence, key=lambda one: STATES.index(one.state))))
        for (identity, usage, scope), evidence in found.items()
    )


def listed(names: Iterable[str]) -> str:
    """Return the first few names for display, and the number of the others."""
    shown = [printable(name) for name in names]
    most = 5
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
