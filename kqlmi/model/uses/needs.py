"""Needs: what identities are really used for, as far as a cluster shows it, with the evidence of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import Scope, usage_name

Outcome = Literal["read", "not permitted", "masked", "failed", "not read"]
State = Literal["standing", "idle", "past", "refused"]
"""A definition that runs; one that rests, or runs when it is called; a request that ran; one that failed."""

STATES: Final[tuple[State, ...]] = ("standing", "idle", "past", "refused")
NOW: Final = "as it is now"

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
"""The sources that together show every use of a usage; a usage without any is never proven unused."""

_OLDER: Final = "queries and commands that are older than what the cluster keeps are not known"
_NEVER_SHOWN: Final[Mapping[str, str]] = {
    "NativeIngestion": "ingestion that an SDK or LightIngest queues leaves no trace of the identity in the cluster",
    "All": "what usages that do not exist yet would be needed for is not known",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one source says: ``source`` is the command, ``window`` the time that it covers, ``says`` what it shows.

    ``inferred`` tells what no documentation page says of the workflow, or what was read out of free text.
    """

    source: str
    says: str
    window: str = NOW
    state: State = "standing"
    inferred: bool = False

    def __str__(self) -> str:
        notes = ["disabled, or used when it is called"] * (self.state == "idle") + ["inferred"] * self.inferred
        note = f" ({'; '.join(notes)})" if notes else ""
        return f"{printable(self.says)}{note}, by {printable(self.source)}, {self.window}"


@dataclass(frozen=True, slots=True)
class Need:
    """A usage for which an identity is used in a database; ``identity`` is None where that cannot be told."""

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
    """A flow that goes by ``;impersonate`` and has no identity to impersonate with."""

    scope: Scope
    subject: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A place where discovery looked: ``database`` is empty for the whole cluster; ``detail`` says what stood against it."""

    name: str
    database: str
    outcome: Outcome
    window: str = NOW
    detail: str = ""

    def line(self, databases: Iterable[str]) -> str:
        """Return it on one line, for all the databases where it ended alike; none is the whole cluster."""
        names = listed(databases)
        where = f" in {names}" if names else ""
        why = f": {printable(self.detail)}" if self.detail else ""
        return f"{self.name}{where}: {self.outcome}{why} ({self.window})"

    def __str__(self) -> str:
        return self.line([self.database] if self.database else [])


@dataclass(frozen=True)
class Discovery:
    """What a cluster shows of the use of identities, and how far it was looked.

    ``databases`` are those that were looked into; ``followers`` are those of them that follow another cluster's.
    """

    databases: tuple[Scope, ...] = ()
    sources: tuple[Source, ...] = ()
    needs: tuple[Need, ...] = ()
    gaps: tuple[Gap, ...] = ()
    followers: frozenset[Scope] = frozenset()

    def with_principals(self, principals: Mapping[str, str]) -> "Discovery":
        """Return the needs with identities as grants compare them: ``principals`` gives ``system`` for its own object ID."""
        named = (replace(need, identity=principals.get(need.identity or "", need.identity)) for need in self.needs)
        return replace(self, needs=merged(named))

    def learning(self, name: str, sources: Iterable[Source], needs: Iterable[Need]) -> "Discovery":
        """Return what is known once a source was read that was not before."""
        others = (one for one in self.sources if one.name != name)
        return replace(self, sources=(*others, *sources), needs=merged((*self.needs, *needs)))

    def uses(self, identity: str, usage: str, scope: Scope) -> tuple[Need, ...]:
        """Return the needs of an identity for a usage (or, of ``All``, for any) in a database, or at the cluster in all."""
        found = self._uses.get((identity, usage_name(usage)), ())
        return found if scope.is_cluster else tuple(need for need in found if need.scope == scope)

    def doubt(self, usage: str, scope: Scope) -> str:
        """Return why silence does not prove that a usage is unused in a database, or at the cluster in any; empty if it does."""
        wanted = usage_name(usage)
        if wanted not in _SHOWN_BY:
            return _NEVER_SHOWN.get(wanted, _OLDER)
        places = self.databases if scope.is_cluster else (scope,)
        return next((why for place in places if (why := self._doubt(wanted, place))), "")

    def evidence_of_absence(self, usage: str, scope: Scope) -> tuple[Evidence, ...]:
        """Return the sources that would show a usage, as evidence that they do not."""
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
        hidden = next((one for one in self._uses.get((None, usage), ()) if one.scope == scope), None)
        return f"in the {scope}, {hidden.evidence[0]}" if hidden else ""

    def _source(self, name: str, scope: Scope) -> Source | None:
        return self._sources.get((name, scope)) or self._sources.get((name, None))

    @cached_property
    def _sources(self) -> Mapping[tuple[str, Scope | None], Source]:
        return {(one.name, Scope.database(one.database) if one.database else None): one for one in self.sources}

    @cached_property
    def _uses(self) -> Mapping[tuple[str | None, str], tuple[Need, ...]]:
        """Return the needs of each identity by usage, and all of them by ``All``."""
        found: dict[tuple[str | None, str], list[Need]] = {}
        for need in self.needs:
            for usage in (need.usage, "All"):
                found.setdefault((need.identity, usage), []).append(need)
        return {key: tuple(needs) for key, needs in found.items()}


def merged(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Return one need for each identity, usage and database, with the evidence of all."""
    found: dict[tuple[str | None, str, Scope], dict[Evidence, None]] = {}
    for need in needs:
        found.setdefault((need.identity, need.usage, need.scope), {}).update(dict.fromkeys(need.evidence))
    return tuple(
        Need(identity, usage, scope, tuple(sorted(evidence, key=lambda one: STATES.index(one.state))))
        for (identity, usage, scope), evidence in found.items()
    )


def listed(names: Iterable[str]) -> str:
    """Return the first names for people, and how many more there are."""
    shown = [printable(name) for name in names]
    most = 5
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
