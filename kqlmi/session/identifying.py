"""Who is meant: what a session asks, and in which order, until it knows the identities that somebody names."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from kqlmi.cluster.policies import Policies
from kqlmi.errors import KqlmiError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.entities import SYSTEM, Scope, is_guid
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session.azure import assigned

if TYPE_CHECKING:
    from kqlmi.session.session import Session


def look_up(session: "Session", texts: Iterable[str]) -> None:
    """Ask until the directory of a session knows who ``texts`` name, or nothing is left to ask."""
    names = tuple(texts)
    if _unknown(session, names):
        _ask(session)
    if _unknown(session, names):
        _ = session.read().permitted


def read(
    session: "Session", texts: Iterable[str], scopes: Iterable[Scope] | None = None, *, progress: Progress = unseen
) -> Policies:
    """Read the policies of some scopes, by default all, and ask what else it takes to know who ``texts`` name.

    An object ID, ``system`` and names that the session knows take nothing. Any other name takes Azure Resource Manager,
    where it can be asked, then the policies of the scopes, then all others. The entries of an earlier system identity
    are kept apart, where Azure Resource Manager shows another.
    """
    names, places = tuple(texts), None if scopes is None else tuple(scopes)
    asked = _unknown(session, names) and _ask(session)
    reading = session.read(places, progress=progress)
    if places is not None and _unknown(session, names):
        others = [Scope.cluster(), *map(Scope.database, session.met.databases or session.databases())]
        _ = session.read([one for one in others if one not in places]).permitted
    if _is_doubtful(session, names, reading.snapshot, asked=asked):
        _ask(session)
    return replace(reading, snapshot=reading.snapshot.marking(session.met.directory.earlier))


def _unknown(session: "Session", names: tuple[str, ...]) -> bool:
    directory = session.met.directory
    return any(not is_guid(directory.key(name)) and not directory.find(name) for name in names)


def _ask(session: "Session") -> bool:
    """Ask Azure Resource Manager what is assigned, where that is possible."""
    if session.resource is None:
        return False
    with suppress(KqlmiError):
        assigned(session)
        return True
    return False


def _is_doubtful(session: "Session", names: tuple[str, ...], policies: Snapshot, *, asked: bool) -> bool:
    """Return whether policies may take an earlier system identity for the one that is meant."""
    directory = session.met.directory
    if SYSTEM not in {directory.key(name) for name in names}:
        return False
    ids = {
        entry.object_id
        for policy in policies.policies.values()
        if policy
        for entry in policy.entries
        if entry.identity == SYSTEM
    }
    now = directory.identities[SYSTEM].principal_id if SYSTEM in directory.identities else ""
    return bool(ids - {SYSTEM, *([now] if asked else [])})
