"""Tests that the access map agrees with ``access`` and ``audit``, and that it stays small for large clusters."""

import time
from collections.abc import Iterable, Mapping
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.audit.accessmap import AccessMap, access_map
from kqlmi.model.audit.audit import audit
from kqlmi.model.audit.findings import Facts
from kqlmi.model.entities import ALL, SYSTEM, Identity, ObjectId, Scope
from kqlmi.model.policy.access import access
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES
from kqlmi.model.uses.needs import (
    ACCELERATION,
    EXPORTS,
    EXTERNAL_TABLES,
    UPDATE_POLICIES,
    Discovery,
    Evidence,
    Need,
    Source,
)
from kqlmi.report import Grid, Tile, to_html

ONE, TWO, GONE, OWN = (ObjectId(f"{n}1111111-2222-3333-4444-555555555555") for n in (1, 2, 9, 5))
DATABASES = ("A", "B", "C", "D")
SCOPES = tuple(map(Scope.database, DATABASES))
NAMES = (*(usage.name for usage in USAGES), "FutureFlow")
ENTRIES = st.builds(
    lambda who, usages: Entry(who, tuple(usages), is_system=who == OWN),
    st.sampled_from([ONE, TWO, GONE, OWN]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
)
POLICIES = st.none() | st.builds(lambda entries: Policy(tuple(entries)), st.lists(ENTRIES, max_size=3))
SNAPSHOTS = st.builds(Snapshot, st.dictionaries(st.sampled_from([Scope.cluster(), *SCOPES]), POLICIES))
NEEDS = st.builds(
    lambda who, usage, scope: Need(who, usage, scope, (Evidence("a source", "a table"),)),
    st.sampled_from([None, ONE, TWO, GONE, SYSTEM]),
    st.sampled_from([usage.name for usage in USAGES if usage.name != ALL]),
    st.sampled_from(SCOPES),
)
ASSIGNED = st.none() | st.lists(st.sampled_from([Identity(ONE), Identity(TWO), Identity(SYSTEM, principal_id=OWN)]))
FOUND = st.builds(
    lambda policies, needs, assigned: Facts.of(policies, discovered(*needs), assigned),
    SNAPSHOTS,
    st.lists(NEEDS, max_size=4),
    ASSIGNED,
)


def discovered(*needs: Need, databases: Iterable[Scope] = SCOPES) -> Discovery:
    places = tuple(databases)
    names = (EXTERNAL_TABLES, UPDATE_POLICIES, ACCELERATION, EXPORTS)
    return Discovery(places, tuple(Source(name, str(one.name), "read") for name in names for one in places), needs)


def facts(
    held: Mapping[str, Mapping[ObjectId, str]], *needs: Need, assigned: Iterable[Identity] | None = None
) -> Facts:
    """Return the facts for the policies of the cluster (an empty name) and of databases, as identities with usages."""
    policies = {
        Scope.database(name) if name else Scope.cluster(): Policy(
            tuple(Entry(who, tuple(usages.split())) for who, usages in held.get(name, {}).items())
        )
        for name in ("", *DATABASES)
    }
    return Facts.of(Snapshot(policies), discovered(*needs), assigned)


def shown(found: AccessMap, identity: str, usage: str) -> Tile:
    """Return a cell as the report shows it."""
    grid = next(block for block in found.report().blocks if isinstance(block, Grid))
    place = [row.identity for row in found.identities].index(identity)
    return grid.rows[place].tiles[found.usages.index(usage)]


@given(FOUND)
def test_a_cell_holds_the_databases_that_access_allows(known: Facts) -> None:
    found = access_map("c", known, DATABASES)
    for row in found.identities:
        for usage, cell in zip(found.usages, row.cells, strict=True):
            answers = {
                name: access(known.live, row.identity, usage, Scope.database(name)).allowed for name in DATABASES
            }
            assert cell.allowed == tuple(name for name in DATABASES if answers[name])
            if not row.group.startswith("Not assigned"):
                assert cell.unknown == tuple(name for name in DATABASES if answers[name] is None)


@given(FOUND)
def test_every_grant_is_in_the_map_as_allowed_or_as_without_effect(known: Facts) -> None:
    found = access_map("c", known, DATABASES)
    for scope, policy in known.policies.policies.items():
        for identity, usage in policy.grants if policy else ():
            for name in [str(scope.name)] if scope.name else DATABASES:
                for column in [usage] if usage != ALL else ["ExternalTable"]:
                    cell = found.cell(identity, column)
                    assert name in cell.allowed + cell.inert


@given(FOUND)
def test_the_marks_for_unused_and_missing_grants_are_the_findings_of_the_audit(known: Facts) -> None:
    found, findings = access_map("c", known, DATABASES), audit(known)
    cells = [(row.identity, usage, cell) for row in found.identities for usage, cell in zip(found.usages, row.cells)]  # noqa: B905
    unused = {(identity, usage, scope) for identity, usage, cell in cells for scope in cell.unused}
    assert unused == {(one.identity, one.usage, one.scope) for one in findings if one.rule == "unused"}
    missing = {(identity, usage) for identity, usage, cell in cells if cell.needs}
    assert missing == {(one.identity, one.usage) for one in findings if one.rule == "missing"}


@given(FOUND)
def test_orphans_are_those_of_the_audit(known: Facts) -> None:
    found = access_map("c", known, DATABASES)
    listed = {row.identity for row in found.identities if row.group.startswith("Not assigned")}
    named = {one.identity for one in audit(known) if one.rule == "orphan"}
    assert named <= listed | {OWN}
    assert listed == set() or known.assigned is not None


@pytest.mark.parametrize(
    ("held", "usage", "text"),
    [
        ({}, "ExternalTable", "·"),
        ({"A": {ONE: "AzureAI"}}, "AzureAI", "25 %"),
        ({"A": {ONE: "All"}}, "AzureAI", "25 % ✱"),
        ({"A": {ONE: "All AzureAI"}}, "AzureAI", "25 %"),
        ({"": {ONE: "AzureAI"}}, "AzureAI", "100 % ◆"),
        ({"": {ONE: "All"}}, "AzureAI", "100 % ◆✱"),
        ({"": {ONE: "SandboxArtifacts"}}, "SandboxArtifacts", "100 % ◆"),
        ({"A": {ONE: "SandboxArtifacts"}}, "SandboxArtifacts", "▲1"),
        ({"A": {ONE: "ExternalTable"}}, "ExternalTable", "25 % ○"),
    ],
)
def test_a_cell_holds_its_percentage_and_marks_as_text(
    held: dict[str, dict[ObjectId, str]], usage: str, text: str
) -> None:
    held["D"] = {ONE: "FutureFlow"}
    assert shown(access_map("c", facts(held), DATABASES), ONE, usage).text == text


def test_a_use_without_a_grant_is_counted_and_named() -> None:
    need = Need(ONE, "ExternalTable", SCOPES[1], (Evidence("a source", "external table T"),))
    tile = shown(access_map("c", facts({"A": {ONE: "AzureAI"}}, need), DATABASES), ONE, "ExternalTable")
    assert (tile.text, tile.mark) == ("!1", "-")
    assert tile.lines == ("Used without a grant in 1 of 4: B", "database B: external table T")


def test_an_orphan_is_apart_and_its_grants_are_without_effect() -> None:
    found = access_map("c", facts({"A": {GONE: "All"}, "B": {ONE: "All"}}, assigned=[Identity(ONE)]), DATABASES)
    assert [row.identity for row in found.identities] == [ONE, GONE]
    assert shown(found, GONE, "AzureAI").text == "▲1"
    assert "▲ orphan: not assigned" in found.identities[1].notes


def test_a_policy_that_was_not_read_leaves_its_database_unknown() -> None:
    policies = {Scope.cluster(): None, SCOPES[0]: Policy((Entry(ONE, ("AzureAI",)),))}
    found = access_map("c", Facts.of(Snapshot(policies), discovered()), DATABASES)
    assert shown(found, ONE, "AzureAI").text == "25 % ?"
    assert shown(found, ONE, "SqlRequest").text == "?"


def test_the_shorter_of_in_and_all_but_is_listed() -> None:
    held = {"A": {ONE: "AzureAI"}, "B": {ONE: "AzureAI"}, "C": {ONE: "AzureAI"}}
    assert shown(access_map("c", facts(held), DATABASES), ONE, "AzureAI").lines == ("Allowed in all but 1 of 4: D",)
    held["D"] = {ONE: "AzureAI"}
    assert shown(access_map("c", facts(held), DATABASES), ONE, "AzureAI").lines == ("Allowed in all 4 databases",)


@pytest.mark.parametrize(("granted", "text"), [(1, "<1 %"), (500, "50 %"), (999, ">99 %"), (1000, "100 %")])
def test_a_share_is_0_or_100_percent_only_if_it_is_exactly_that(granted: int, text: str) -> None:
    names = [f"Db{number:03}" for number in range(1000)]
    policies: dict[Scope, Policy | None] = {
        Scope.database(name): Policy((Entry(ONE, ("AzureAI",)),)) for name in names[:granted]
    }
    policies |= {Scope.database(name): Policy() for name in names[granted:]}
    found = access_map("c", Facts.of(Snapshot({Scope.cluster(): None, **policies}), Discovery()), names)
    assert shown(found, ONE, "AzureAI").text == text


def test_fifty_names_are_listed_and_then_a_count() -> None:
    names = [f"Db{number:03}" for number in range(300)]
    policies: dict[Scope, Policy | None] = {
        Scope.database(name): Policy((Entry(ONE, ("AzureAI",)),)) for name in names[:120]
    }
    found = access_map("c", Facts.of(Snapshot({Scope.cluster(): None, **policies}), Discovery()), names)
    [line, _unread] = shown(found, ONE, "AzureAI").lines
    assert line.startswith("Allowed in 120 of 300: Db000, Db001, ")
    assert line.endswith(", Db049, and 70 more")


@pytest.mark.parametrize("density", [20, 2])
def test_200_identities_and_1000_databases_take_seconds_and_at_most_1_mb(density: int) -> None:
    people = [ObjectId(str(UUID(int=number << 90))) for number in range(1, 201)]
    names = [f"Telemetry-{number:04}" for number in range(1000)]
    policies: dict[Scope, Policy | None] = {Scope.cluster(): Policy((Entry(people[0], ("All",)),))}
    for place, name in enumerate(names):
        entries = (
            Entry(who, (NAMES[(place * number) % 9], NAMES[(place + number) % 9]), display_name=f"mi-{number:03}")
            for number, who in enumerate(people)
            if (place * 7 + number * number) % density == 0
        )
        policies[Scope.database(name)] = Policy(tuple(entries))
    scopes = tuple(map(Scope.database, names))
    needs = (Need(one, "ExternalTable", scope, (Evidence("x", "y"),)) for scope in scopes for one in people[:5])
    known = Facts.of(Snapshot(policies), discovered(*needs, databases=scopes), None)
    start = time.process_time()
    found = access_map("c", known, names)
    page = to_html(found.report()).encode()
    assert len(found.identities) == len(people)
    assert len(page) <= 1_000_000
    # About 2 s. One call of access for each of the 1,800,000 combinations would take at least ten times as long.
    assert time.process_time() - start < 15
