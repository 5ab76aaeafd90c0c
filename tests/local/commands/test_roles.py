"""Tests of the roles of databases, tables, external tables and functions, in the documented spellings."""

from typing import Any

import pytest

ME = "aaduser=imikeoein@fabrikam.com"
YOU = "aadapp=4c7e82bd-6adb-46c3-b413-fdd44834c69b;fabrikam.com"
SECURABLES = {
    "database Samples": ("Database Samples", "admins"),
    "table T": ("Table T", "ingestors"),
    "external table E": ("External Table E", "admins"),
    "function F": ("Function F", "admins"),
}


@pytest.fixture
def made(client: Any) -> Any:
    client.mgmt(".create table T (a: string)")
    client.mgmt(".create function F() { print 1 }")
    client.mgmt(
        ".create external table E (a: string) kind=storage dataformat=csv (h'https://acct.blob.core.windows.net/data;impersonate')"
    )
    for of in ("table T", "function F"):
        client.mgmt(f".set {of} admins none")  # the creator, who became an admin
    return client


@pytest.mark.parametrize("of", SECURABLES)
def test_a_role_is_added_set_shown_and_dropped(made: Any, of: str) -> None:
    named, role = SECURABLES[of]

    def held() -> list[tuple[str, str, str]]:
        rows = made.mgmt(f".show {of} principals")
        assert rows == made.mgmt(f".show {of} {role}")
        return [(row["Role"], row["PrincipalFQN"], row["Notes"]) for row in rows]

    title = f"{named} {role[:-1].capitalize()}"
    made.mgmt(f".add {of} {role} ('{ME}') 'Test ' 'user'")
    assert held() == [(title, ME, "Test user")]
    assert made.mgmt(f".add {of} {role} ('{YOU}', '{ME}') skip-results") == []
    assert held() == [(title, YOU, ""), (title, ME, "")]
    assert made.mgmt(f".set {of} {role} ('{YOU}') skip-results 'x'") == []
    assert held() == [(title, YOU, "x")]
    own = made.mgmt(f".show {of} principal '{YOU}' roles")
    assert [(row["Scope"], row["Role"].endswith("dmin") or row["Role"].endswith("ngestor")) for row in own] == [
        (named, True)
    ]
    made.mgmt(f".drop {of} {role} ('{YOU}')")
    made.mgmt(f".set {of} {role} none")
    assert held() == []


def test_a_role_of_an_entity_counts_there_and_only_there(cluster: Any, connect: Any, made: Any) -> None:
    viewer = connect(cluster, cluster.token_for("viewer", database="Samples"))
    (me,) = viewer.mgmt(".show principal roles | project FQN = strcat('aadapp=', AADObjectID)")
    drop = ".drop external table E"
    assert viewer.refusal(drop).code == viewer.refusal(".ingest inline into table T <| a").code == "Forbidden"
    made.mgmt(f".add table T ingestors ('{me['FQN']}')")
    made.mgmt(f".add external table E admins ('{me['FQN']}')")
    viewer.mgmt(".ingest inline into table T <| a")
    assert viewer.refusal(".drop table T").code == "Forbidden"
    viewer.mgmt(drop)
    assert [row["Role"] for row in viewer.mgmt(".show table T principal roles")] == ["Table T Ingestor"]
    assert made.refusal(drop).code == "BadRequest_EntityNotFound"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            ".add table T viewers ('aaduser=a')",
            "role 'viewers' is not valid for table 'T'; valid roles: admins, ingestors",
        ),
        (".add function F ingestors ('aaduser=a')", "valid roles: admins"),
        (".add table Nope admins ('aaduser=a')", "'Nope'"),
        (".add database Samples users none", "SYN0002"),
        (".add database Samples unrestrictedviewers ('aaduser=a')", "does not support the role unrestrictedviewers"),
    ],
)
def test_a_wrong_role_is_refused(made: Any, text: str, says: str) -> None:
    assert says in made.refusal(text).description
