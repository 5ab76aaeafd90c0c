"""Tests of databases with pretty names, and of those whose policy is elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

import kqlmi
from kqlmi.cluster.connection import Target
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.credentials import sign_in
from kqlmi.errors import ApplyError, InputError, NoSuchPolicyError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.session import Session


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with (
        kqlmi.local.start(databases=["a1", "b2", "c3"], identities=["loader"]) as started,
        kqlmi.connect(started.url, token=started.token) as admin,
    ):
        admin.run(".alter database a1 prettyname 'Field reports'")
        admin.run(".alter database b2 prettyname 'Twins'")
        admin.run(".alter database c3 prettyname 'Twins'")
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token) as opened:
        opened.databases()
        yield opened


def test_a_pretty_name_refers_to_its_database(cluster: LocalCluster, session: Session) -> None:
    loader = cluster.identities[0].object_id
    assert session.database_scope("field REPORTS") == Scope.database("a1")
    assert session.databases("Field reports") == ("a1",)
    assert session.grant(loader, "All", databases=["Field reports"]).steps[0].scope == Scope.database("a1")
    session.run(".create table Here (x: int)", "Field reports")
    assert session.run(".show tables", "a1").column("TableName") == ["Here"]
    show = ".show database policy managed_identity"
    found = session.policy_in(session.run(show, "Field reports"), show, "Field reports")
    assert found is not None
    assert list(found.policies) == [Scope.database("a1")]


def test_a_pretty_name_of_two_databases_refers_to_neither(session: Session) -> None:
    assert session.databases("Twins") == ()
    with pytest.raises(InputError, match=r"'Twins' is the pretty name of several databases .*: b2, c3"):
        session.database_scope("Twins")
    with pytest.raises(ServiceError, match="Twins"):
        session.run("print 1", "Twins")


def test_a_name_takes_precedence_over_a_pretty_name(session: Session) -> None:
    session.run(".alter database c3 prettyname 'b2'")
    assert session.database_scope("B2") == Scope.database("b2")
    session.run(".alter database c3 prettyname 'Twins'")


def test_a_pretty_name_is_dropped(session: Session) -> None:
    session.run(".alter database b2 prettyname 'Other'")
    assert session.databases("Other") == ("b2",)
    session.run(".drop database b2 prettyname")
    assert session.databases("Other") == ()
    session.run(".alter database b2 prettyname 'Twins'")


@dataclass
class Elsewhere:
    """A cluster that does not have the policy, or only a leader's; it records what was sent."""

    error: ServiceError | None = None
    sent: list[str] = field(default_factory=list)

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        _ = (database, timeout, client_request_id)
        self.sent.append(text)
        if text == ".show databases":
            names = ("DatabaseName", "DatabaseAccessMode")
            return Table(
                tuple(Column.of(name, "string") for name in names), (("F", "ReadOnlyFollowing"), ("Own", "ReadWrite"))
            )
        if self.error:
            raise self.error
        return Table(tuple(Column.of(name, "string") for name in ("EntityName", "Policies")), (("", None),))

    def close(self) -> None:
        """Do nothing."""


def test_an_eventhouse_and_a_follower_are_named_at_connect() -> None:
    target = Target("https://trd-1.z0.kusto.fabric.microsoft.com", sign_in("none"))
    session = Session("there", Elsewhere(), history=False, target=target)
    session.databases()
    eventhouse, follower = session.notes()
    assert "Eventhouse in Microsoft Fabric" in eventhouse
    assert follower.endswith("cluster: F.")


def test_the_policy_of_a_follower_is_not_changed_here() -> None:
    connection = Elsewhere()
    session = Session("there", connection, history=False)
    loader = "11111111-2222-4333-8444-555555555555"
    # This holds for a name in any letter case, and if the databases were never listed.
    plan = session.plan({Scope.database("f"): kqlmi.Policy.empty().grant(loader, "All")})
    with pytest.raises(InputError, match="can only be changed on the leader cluster"):
        session.apply(plan)
    assert all(text.startswith(".show") for text in connection.sent)


def test_a_change_of_the_cluster_alone_needs_no_list_of_databases() -> None:
    connection = Elsewhere()
    session = Session("there", connection, history=False)
    plan = session.plan({Scope.cluster(): kqlmi.Policy.empty().grant("system", "All")})
    with pytest.raises(ApplyError, match="not what the plan expected"):
        session.apply(plan)
    assert plan.steps[0].command in connection.sent
    assert ".show databases" not in connection.sent


def test_a_cluster_without_the_policy_is_reported_in_one_sentence() -> None:
    refusal = ServiceError("Syntax error: token not recognised", code="BadRequest_SyntaxError", status=400)
    session = Session("there", Elsewhere(refusal), history=False)
    for ask in (session.read, lambda: session.run(".show cluster policy managed_identity")):
        with pytest.raises(
            NoSuchPolicyError,
            match=r"does not seem to support .*: Syntax error.*a free cluster or an Eventhouse does not have it",
        ):
            ask()


def test_an_error_in_a_cell_is_not_taken_for_a_missing_policy() -> None:
    refusal = ServiceError("Syntax error: unexpected ')'", code="BadRequest_SyntaxError", status=400)
    session = Session("there", Elsewhere(refusal), history=False)
    for text in (
        ".show cluster policy managed_identity)",
        ".show cluster policy managed_identity | whre x == 1",
        ".show tables",
        "print (",
    ):
        with pytest.raises(ServiceError) as caught:
            session.run(text)
        assert not isinstance(caught.value, NoSuchPolicyError)
