"""Tests of whoami: who signed in, and what they can do, with all roles, with hardly any, and with unknown ones."""

from collections.abc import Iterator

import pytest

import kqlmi
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ConnectionFailedError, ForbiddenError, InputError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.session import Session


@pytest.fixture
def admin(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token, name="mine", history=False) as opened:
        yield opened


def as_(cluster: LocalCluster, role: str, database: str | None = None) -> Session:
    token = cluster.token_for(role, database=database)
    return kqlmi.connect(cluster.url, token=token, name="mine", history=False)


def answers(session: Session) -> dict[str, str]:
    return {one.what: one.answer for one in session.whoami().abilities}


def test_an_administrator_sees_everything(admin: Session) -> None:
    found = admin.whoami()
    assert (found.display_name, found.kind) == ("kqlmi local admin", "application")
    assert len(found.object_id) == len(found.tenant) == 36
    assert [str(role) for role in found.roles or ()] == ["AllDatabasesAdmin (Cluster)"]
    assert answers(admin) == {
        "read the policy of the cluster": "yes",
        "read the policy of the database Samples": "yes",
        "change policies": "yes",
        "see changes by others in the journal": "yes",
        "see queries and commands of others for the audit": "yes",
        "assign identities to the cluster": "not known",
    }
    assert found.unread == ()
    assert str(found).startswith(f"kqlmi local admin (application, object ID {found.object_id}) on mine\n")


def test_a_viewer_sees_once_what_may_not_be_read(cluster: LocalCluster) -> None:
    with as_(cluster, "viewer", "Samples") as viewer:
        found = viewer.whoami()
        assert [str(role) for role in found.roles or ()] == ["Database Viewer (Database Samples)"]
        assert answers(viewer)["read the policy of the cluster"] == "no"
        assert answers(viewer)["read the policy of the database Samples"] == "yes"
        assert answers(viewer)["change policies"] == "no"
        assert found.unread == (
            "the roles in Samples. The caller lacks a Kusto role for this; one granted just now can take minutes to take effect.",
        )
        assert found.display_name == "viewer of Samples"


def test_a_database_admin_may_not_change_its_policy(cluster: LocalCluster) -> None:
    with as_(cluster, "database admin", "Samples") as session:
        assert answers(session)["change policies"] == "no"
        assert [role.kind for role in session.whoami("samples").roles or ()] == ["admin"]
        denial = session.denial()
        assert denial
        assert "AllDatabasesAdmin" in denial.reason
        assert not denial.certain


def test_a_read_only_session_changes_nothing(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, read_only=True) as session:
        assert answers(session)["change policies"] == "no"


def test_a_database_that_is_not_there(admin: Session) -> None:
    with pytest.raises(InputError, match="Sampels"):
        admin.whoami("Sampels")


class Telling:
    """A connection that returns the given answers, and refuses other requests."""

    def __init__(self, **given: list[list[object]]) -> None:
        self.given = given

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        del database, timeout, client_request_id
        columns = {
            ".show databases": ["DatabaseName"],
            ".show principal roles": ["Scope", "DisplayName", "AADObjectID", "Role"],
            "print details = current_principal_details()": ["details"],
        }
        key = {".show databases": "databases", ".show principal roles": "roles"}.get(text, "details")
        if text not in columns or key not in self.given:
            raise ForbiddenError("Refused.", hint="Ask somebody.")
        return Table(tuple(Column.of(name, "string") for name in columns[text]), tuple(self.given[key]))

    def close(self) -> None:
        pass


def test_without_any_role_that_is_reported_once_and_the_rest_is_shown() -> None:
    found = Session("mine", Telling(databases=[]), history=False).whoami()
    assert found.roles is None
    assert found.unread == ("the principal, your own list of roles. Ask somebody.",)
    assert [one.answer for one in found.abilities] == ["no"] + ["not known"] * 4
    assert str(found).splitlines()[:3] == ["Unnamed principal on mine", "tenant  not reported", "roles   not reported"]


def test_an_undocumented_role_gives_no_answer_and_cannot_colour_the_page() -> None:
    roles: list[list[object]] = [["Cluster", "a\x1b[31mda", "0B-1", "Grand\x1b[0mVizier"]]
    session = Session(
        "mine", Telling(databases=[["D\x07"]], roles=roles, details=[['{"Type": "AadUser"}']]), history=False
    )
    found = session.whoami()
    assert [one.answer for one in found.abilities if "polic" in one.what][-1] == "not known"
    assert (found.kind, found.object_id) == ("user", "0B-1")
    assert "\x1b" not in str(found)
    assert "\x07" not in str(found)
    assert "not recognised" in str(found)
    denial = session.denial()
    assert denial
    assert denial.reason.startswith("kqlmi could not determine whether you may change policies")
    assert "\x1b" not in denial.reason
    assert not denial.certain


class WithoutPolicies(Telling):
    """A cluster that does not support the policy."""

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        if "policy managed_identity" in text:
            raise ServiceError("Syntax error.", code="BadRequest_SyntaxError", status=400)
        return super().execute(text, database, timeout=timeout, client_request_id=client_request_id)


def test_if_the_policy_is_not_supported_the_rest_is_shown() -> None:
    roles: list[list[object]] = [["Cluster", "ada", "0B-1", "AllDatabasesAdmin"]]
    session = Session(
        "mine", WithoutPolicies(databases=[["D"]], roles=roles, details=[['{"Type": "AadUser"}']]), history=False
    )
    given = str(session.whoami())
    assert given.startswith("ada (user, object ID 0B-1) on mine\n")
    for scope in ("cluster", "database D"):
        assert f"no         read the policy of the {scope}: this cluster does not seem to support the policy\n" in given


def test_a_cluster_that_does_not_answer_leaves_the_answer_unknown() -> None:
    with kqlmi.connect("http://127.0.0.1:9", token="t", history=False) as session, pytest.raises(ConnectionFailedError):  # noqa: S106
        session.whoami()
