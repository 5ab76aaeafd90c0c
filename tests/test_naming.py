"""Tests of database names: client and local cluster compare them alike, in independent code, and names precede globs."""

import pytest

import kqlmi
from kqlmi import policyfile
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.local.state import state
from kqlmi.local.world import build
from kqlmi.model.entities import Scope, database_key
from kqlmi.session.known_names import KnownNames

# A name, spellings that name the same database, and spellings that do not.
SPELLINGS = [
    ("Samples", ("samples", "SAMPLES", "sAmPlEs"), ("Sample", "Samples ")),
    ("Straße", ("STRAßE", "straße"), ("STRASSE", "strasse", "STRAẞE")),
    ("Ärger Ñandú", ("ärger ñandú", "ÄRGER ÑANDÚ"), ("Arger Nandu",)),
    ("Kelvin", ("KELVIN",), ("\u212aelvin",)),
    ("izmir", ("IZMIR",), ("\u0130zmir", "\u0131zm\u0131r")),
    ("Поле", ("поле", "ПОЛЕ"), ("Поля",)),
    ("\ufb01le", (), ("file", "FILE")),
]
LETTERS = [one for one in map(chr, range(0x1F000)) if not one.upper() == one == one.lower()]


@pytest.mark.parametrize(("name", "same", "others"), SPELLINGS)
def test_spellings_of_a_name_are_one_database_for_the_client_and_for_the_local_cluster(
    name: str, same: tuple[str, ...], others: tuple[str, ...]
) -> None:
    for key in (database_key, state.key):
        assert {key(one) for one in (name, *same)} == {key(name)}
        assert key(name) not in {key(one) for one in others}
    assert {Scope.database(one) for one in (name, *same)} == {Scope.database(name)}


def test_client_and_local_cluster_treat_the_same_letters_as_equal() -> None:
    def classes(key: object) -> set[frozenset[str]]:
        assert callable(key)
        found: dict[str, set[str]] = {}
        for letter in LETTERS:
            found.setdefault(key(letter), set()).add(letter)
        return {frozenset(letters) for letters in found.values()}

    assert classes(database_key) == classes(state.key)


def test_a_name_is_compared_letter_by_letter_so_that_its_key_has_the_same_length() -> None:
    for letter in LETTERS:
        key = database_key(letter)
        assert (len(key), database_key(key)) == (1, key)


def names(*databases: str, **pretty: str) -> KnownNames:
    rows = tuple((name, pretty.get(name, "")) for name in databases)
    return KnownNames().with_databases(
        Table(tuple(Column.of(one, "string") for one in ("DatabaseName", "PrettyName")), rows)
    )


@pytest.mark.parametrize(
    ("known", "pattern", "found"),
    [
        (names("a*", "ab", "ac"), "a*", ("a*",)),
        (names("a*", "ab", "ac"), "A*", ("a*",)),
        (names("a?", "ab"), "a?", ("a?",)),
        (names("a[b]", "ab"), "a[b]", ("a[b]",)),
        (names("ab", "ac", "b"), "A?", ("ab", "ac")),
        (names("ab", "all", ab="a*"), "a*", ("ab",)),
        (names("Straße", "STRASSE"), "strasse", ("STRASSE",)),
        (names("Straße", "STRASSE"), "STRA*", ("Straße", "STRASSE")),
        (names("Straße"), "STRASSE", ()),
        (names("K", "\u212a"), "k", ("K",)),
    ],
)
def test_an_existing_name_takes_precedence_over_the_glob_that_it_would_be(
    known: KnownNames, pattern: str, found: tuple[str, ...]
) -> None:
    assert known.matching(pattern) == found


def test_the_local_cluster_distinguishes_the_names_that_the_client_distinguishes() -> None:
    databases = ["Straße", "STRASSE", "Kelvin", "\u212aelvin"]
    world = build(databases, ["loader"], ())
    assert [world.database(name).name for name in databases] == databases
    with pytest.raises(ValueError, match="differ by more than case"):
        build(["Ärger", "ÄRGER"], ["loader"], ())


def test_a_policy_file_lists_distinct_databases_and_none_twice() -> None:
    text = "kqlmi: 1\nmode: complete\ndatabases:\n  Straße: none\n  {}: none\n"
    assert len(policyfile.read(text.format("STRASSE")).sections) == 2
    with pytest.raises(policyfile.PolicyFileError, match="occurs twice"):
        policyfile.read(text.format("STRAßE"))


def test_a_grant_reaches_only_one_of_two_names_that_full_case_folding_would_merge() -> None:
    with (
        kqlmi.local.start(databases=["Straße", "STRASSE"], identities=["loader"]) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token) as session,
    ):
        loader = cluster.identities[0].object_id
        session.apply(session.grant(loader, "SqlRequest", databases=["straße"]))
        assert session.access(loader, "SqlRequest", database="Straße").allowed
        assert not session.access(loader, "SqlRequest", database="strasse").allowed
        found = session.read().snapshot
        assert [len(found.grants(Scope.database(name))) for name in ("Straße", "STRASSE")] == [1, 0]
