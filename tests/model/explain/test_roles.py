"""Tests of the spellings of roles, and of what the roles allow kqlmi to do."""

import pytest

from kqlmi.model.explain.roles import HeldRole, abilities, read_role

READ = [
    ("AllDatabasesAdmin", "Cluster", "admin", ""),
    ("all databases admins", "", "admin", ""),
    ("AllDatabasesMonitor", "Cluster", "monitor", ""),
    ("AllDatabasesViewer", "Cluster", "viewer", ""),
    ("Database Admin", "Database Samples", "admin", "Samples"),
    ("DatabaseAdmin", "Database Samples", "admin", "Samples"),
    ("Database Field Reports Unrestricted Viewer", "Database Field Reports", "unrestrictedviewer", "Field Reports"),
    ("Admin", "database Samples", "admin", "Samples"),
    ("Ingestors", "Database Samples", "ingestor", "Samples"),
]
NOT_READ = [
    ("Admin", "Cluster"),
    ("Database Admin", "Samples"),
    ("Table Logs Admin", "Database Samples"),
    ("ClusterAdmin", "Cluster"),
    ("NotAllDatabasesAdmin", "Cluster"),
    ("NonAdmin", "Database Samples"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "where", "kind", "database"), READ)
def test_a_documented_role_is_read_however_it_is_spelled(text: str, where: str, kind: str, database: str) -> None:
    assert read_role(text, where) == HeldRole(text, where, kind, database)


@pytest.mark.parametrize(("text", "where"), NOT_READ)
def test_an_unrecognised_role_is_not_guessed(text: str, where: str) -> None:
    assert read_role(text, where).kind == ""
    assert "not recognised" in str(read_role(text, where))


def answers(*roles: tuple[str, str], read_only: bool = False) -> list[str]:
    return [one.answer for one in abilities([read_role(*role) for role in roles], read_only=read_only)]


def test_roles_determine_what_a_user_can_do() -> None:
    assert answers(("AllDatabasesAdmin", "Cluster")) == ["yes", "yes", "yes", "not known"]
    assert answers(("AllDatabasesMonitor", "Cluster")) == ["no", "no", "yes", "not known"]
    assert answers(("Database Admin", "Database Samples")) == ["no", "no", "no", "not known"]
    assert answers(("Omnipotence", "Cluster")) == ["not known"] * 4
    assert answers(("Omnipotence", "Cluster"), ("AllDatabasesAdmin", "Cluster"))[0] == "yes"
    assert answers() == ["no", "no", "no", "not known"]
    assert answers(("AllDatabasesAdmin", "Cluster"), read_only=True)[0] == "no"
    assert [one.answer for one in abilities(None)] == ["not known"] * 4


def test_blanks_in_a_role_are_read_in_linear_time() -> None:
    """Quadratic time would never finish here."""
    blanks = " " * 1_000_000
    assert read_role(f"Database{blanks}x", f"Database{blanks}a\nb").kind == ""
    assert read_role(f"Database{blanks}Admin", f"Database{blanks}Samples").database == "Samples"
