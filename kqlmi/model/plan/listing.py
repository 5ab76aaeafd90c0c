"""Rows that list policies and what they allow."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from kqlmi.errors import printable
from kqlmi.model.catalogue import NO_EFFECT_TAGS, USAGE_TAGS
from kqlmi.model.entities import ALL, SYSTEM, Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.access import access, without_effect
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.vocabulary import checked_usage
from kqlmi.report import YES_NO, Kind, Rows

NO_NAME = "(no name)"


def policy_rows(policies: Snapshot) -> Rows:
    """Return a row for each identity of each scope.

    Columns: ``scope``, ``display_name``, ``object_id``, ``is_system``, ``usages`` (a list of names) and
    ``without_effect`` (the usages that have no effect in this scope).
    """
    return Rows.of(
        ((scope, entry) for scope, policy in policies.policies.items() for entry in (policy.entries if policy else ())),
        {
            "scope": lambda row: str(row[0]),
            "display_name": lambda row: row[1].display_name,
            "object_id": lambda row: row[1].object_id,
            "is_system": lambda row: row[1].identity == SYSTEM,
            "usages": lambda row: list(row[1].usages),
            "without_effect": lambda row: [usage for usage in row[1].usages if without_effect(row[0], usage)],
        },
        {"is_system": "bool"},
        {"object_id": "id", "usages": USAGE_TAGS, "without_effect": NO_EFFECT_TAGS},
    )


def access_rows(
    snapshot: Snapshot,
    identity: str,
    usage: str,
    databases: Iterable[str],
    names: Mapping[str, str] = MappingProxyType({}),
) -> Rows:
    """Return a row for each database, identity and usage; ``names`` adds display names to those of the policies.

    If the identity or the usage is empty, all of them are listed, but only the combinations that are allowed.
    Columns: ``database``, ``display_name``, ``object_id``, ``usage``, ``allowed`` (missing if it is not known) and
    ``reason``.
    """
    known = {key: one.display_name for key, one in snapshot.identities.items() if one.display_name}
    display_names = {**names, **known}
    holders, shown = [identity] if identity else list(snapshot.identities), _usages(snapshot, usage)
    asked, cluster = bool(identity and usage), Scope.cluster()
    found = (
        (scope.name, display_names.get(holder, ""), holder, name, answer.allowed, answer.reason)
        for scope in map(Scope.database, databases)
        for holder in holders
        # Only what is granted can be allowed, and most identities have few grants in most databases.
        for granted in (snapshot.usages_of(scope, holder) | snapshot.usages_of(cluster, holder),)
        for name in shown
        if asked or not granted.isdisjoint((name, ALL))
        if (answer := access(snapshot, holder, name, scope)).allowed or asked
    )
    kinds: dict[str, Kind] = {"object_id": "id", "usage": USAGE_TAGS, "allowed": YES_NO}
    columns = ("database", "display_name", "object_id", "usage", "allowed", "reason")
    return Rows(columns, tuple(found), {"allowed": "boolean"}, kinds)


def access_matrix(snapshot: Snapshot, identity: str, usage: str, databases: Iterable[str]) -> Rows:
    """Return a row for each database and identity, with a column for each usage that shows how it is allowed."""
    draft, shown = Draft.start(snapshot, Scope.cluster()), _usages(snapshot, usage)
    found = (
        # A grant to an earlier system identity allows nothing.
        (database, name, holder, *("" if holder in snapshot.earlier else cells[usage] for usage in shown))
        for database in databases
        for holder, name, cells in marks(draft.at(Scope.database(database)))
        if identity in {"", holder} and (identity or holder not in snapshot.earlier)
    )
    return Rows(("database", "display_name", "object_id", *shown), tuple(found), kinds={"object_id": "id"})


def marks(draft: Draft) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield each identity of the policies with its name and, by usage, a short text of how it was granted when read."""
    read, usages = replace(draft, ticks={}), draft.usages
    names = {
        key: printable(one.display_name) or (SYSTEM if key == SYSTEM else NO_NAME)
        for key, one in read.read.identities.items()
    }
    for identity in sorted(names, key=lambda key: (key != SYSTEM, names[key].casefold(), key)):
        cells = {usage: read.cell(identity, usage) for usage in usages}
        yield (
            identity,
            names[identity],
            {usage: cell.state(draft.scope) or ("granted" if cell.granted else "") for usage, cell in cells.items()},
        )


def _usages(snapshot: Snapshot, usage: str) -> tuple[str, ...]:
    """Return the given usage; if it is empty, all usages of the catalogue and the unknown ones of the policies."""
    known = Draft.start(snapshot, Scope.cluster()).usages
    return (checked_usage(usage, known),) if usage else known
