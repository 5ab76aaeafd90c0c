"""The databases, policies and identities of a cluster, as a session reads and remembers them."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from kqlmi.cluster import policies
from kqlmi.cluster.policies import Policies
from kqlmi.errors import InputError, KqlmiError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.entities import SYSTEM, ObjectId, Scope, did_you_mean, is_guid
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.session.core import Core
from kqlmi.session.resource_manager import assigned


def databases(core: Core, pattern: str = "") -> tuple[str, ...]:
    """Return the databases that are visible to the caller, or those that match a glob."""
    core.known = core.known.with_databases(core.connection.execute(".show databases"))
    return core.known.matching(pattern) if pattern else core.known.databases


def database_scope(core: Core, name: str) -> Scope:
    """Return the scope of a database, with the name spelled as on the cluster.

    Raises:
        InputError: The database does not exist, or its pretty name is ambiguous. The hint suggests a name.
    """
    databases(core)
    found = core.known.database(name)
    if found not in core.known.databases:
        if twins := core.known.called(name):
            raise InputError(
                f"{name!r} is the pretty name of several databases on {core.name}: {', '.join(twins)}.",
                hint="Pass the name of one of them.",
            )
        hint = did_you_mean(name, [*core.known.databases, *core.known.pretty.values()])
        raise InputError(f"Database {name!r} does not exist on {core.name}.", hint=hint)
    return Scope.database(found)


def policy(core: Core, scope: Scope) -> Policy | None:
    """Return the policy of a scope, or None if it has none."""
    found = policies.read_policy(core.connection, scope)
    return found and found.marking(core.known.directory.earlier)


def identity(core: Core, text: str) -> ObjectId:
    """Return the identity that ``text`` names. If the name is unknown, query Azure and then read the policies."""
    if _unknown(core, (text,)):
        _ask(core)
    if _unknown(core, (text,)):
        _ = read(core).permitted
    return holder(core, text)


def holder(core: Core, text: str) -> ObjectId:
    """Return the identity that ``text`` names among those read so far.

    Raises:
        InputError: No identity has the name, or several do.
    """
    return core.known.directory.resolve(text).object_id


def readable(core: Core, scopes: Iterable[Scope], *, about: Iterable[str] = ()) -> Snapshot:
    """Return policies, or raise the first error if any of them cannot be read."""
    reading = read(core, scopes, about=about)
    for error in reading.refused.values():
        raise error
    return reading.snapshot


def read(
    core: Core, scopes: Iterable[Scope] | None = None, *, about: Iterable[str] = (), progress: Progress = unseen
) -> Policies:
    """Read the policies of some scopes, by default all, and whatever else identifies the names in ``about``.

    An object ID, ``system`` and names that the session knows need no further reads. Any other name is looked up in Azure
    Resource Manager, if it can be queried, then in the policies of the scopes, and then in all others. The entries of an
    earlier system identity are marked if Azure Resource Manager shows that the current one differs.
    """
    names, given = tuple(about), None if scopes is None else tuple(scopes)
    refreshed = _unknown(core, names) and _ask(core)
    every = [Scope.cluster(), *map(Scope.database, databases(core))] if given is None else []
    reading = _read(core, given or every, progress)
    if given is not None and _unknown(core, names):
        others = [Scope.cluster(), *map(Scope.database, core.known.databases or databases(core))]
        _ = _read(core, [one for one in others if one not in given]).permitted
    if _is_doubtful(core, names, reading.snapshot, refreshed=refreshed):
        _ask(core)
    return _marked(core, reading)


def _read(core: Core, scopes: Iterable[Scope], progress: Progress = unseen) -> Policies:
    found = _marked(core, policies.read_policies(core.connection, scopes, progress))
    core.known = core.known.with_policies(found.snapshot)
    return found


def _marked(core: Core, reading: Policies) -> Policies:
    """Return the policies with the entries of an earlier system identity marked."""
    return replace(reading, snapshot=reading.snapshot.marking(core.known.directory.earlier))


def _unknown(core: Core, names: tuple[str, ...]) -> bool:
    directory = core.known.directory
    return any(not is_guid(directory.key(name)) and not directory.find(name) for name in names)


def _ask(core: Core) -> bool:
    """Read the assigned identities from Azure Resource Manager, and return whether that succeeded."""
    with suppress(KqlmiError):
        assigned(core)
        return True
    return False


def _is_doubtful(core: Core, names: tuple[str, ...], found: Snapshot, *, refreshed: bool) -> bool:
    """Check whether ``system`` is among the names, and the policies list what may be an earlier system identity."""
    directory = core.known.directory
    if SYSTEM not in {directory.key(name) for name in names}:
        return False
    now = directory.identities[SYSTEM].principal_id if refreshed and SYSTEM in directory.identities else ""
    return bool(Directory.of(found).systems - {now})
