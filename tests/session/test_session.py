"""Tests of sessions on the local cluster, over the real protocol."""

from collections.abc import Iterator

import pytest

import kqlmi
from kqlmi.errors import ForbiddenError, InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy
from kqlmi.session import Session

SAMPLES = Scope.database("Samples")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples", "Field Reports"], identities=["loader", "system"]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token, timeout=60) as opened:
        yield opened
        for scope in (Scope.cluster(), SAMPLES):
            if opened.policy(scope) is not None:
                opened.apply(opened.plan({scope: None}))


def loader(cluster: LocalCluster) -> str:
    return cluster.identities[0].object_id


def test_the_example_of_the_design_works(cluster: LocalCluster, session: Session) -> None:
    assert session.run(".show databases").to_dataframe()["DatabaseName"].tolist() == ["Samples", "Field Reports"]
    policy = session.policy(SAMPLES) or Policy.empty()
    done = session.apply(session.plan({SAMPLES: policy.grant(loader(cluster), "ExternalTable")}))
    assert done.outcome == "applied"
    assert session.access(loader(cluster), "ExternalTable", database="Samples").allowed
    assert not session.access(loader(cluster), "ExternalTable", database="Field Reports").allowed


def test_a_plan_then_apply_reaches_what_was_desired_and_a_second_plan_is_empty(
    cluster: LocalCluster, session: Session
) -> None:
    desired = {
        Scope.cluster(): Policy.empty().grant("system", "All").grant(loader(cluster), "SandboxArtifacts"),
        SAMPLES: Policy.empty().grant(loader(cluster), "ExternalTable", "SqlRequest"),
    }
    session.apply(session.plan(desired))
    assert session.plan(desired).steps == ()
    fewer = {
        scope: policy.revoke(loader(cluster), "ExternalTable", "SandboxArtifacts") for scope, policy in desired.items()
    }
    session.apply(session.plan(fewer))
    assert session.plan(fewer).steps == ()
    session.apply(session.plan(dict.fromkeys(desired, None)))
    assert [session.policy(scope) for scope in desired] == [None, None]


def test_the_system_identity_granted_by_word_is_recognised_in_the_answer(session: Session) -> None:
    session.apply(session.plan({SAMPLES: Policy.empty().grant("system", "ExportRequest")}))
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert policy.grants == {("system", "ExportRequest")}
    assert policy.entries[0].object_id != "system"


def test_the_system_identity_may_be_named_by_its_guid(cluster: LocalCluster, session: Session) -> None:
    guid = cluster.identities[1].object_id
    done = session.apply(session.plan({SAMPLES: Policy.empty().grant(guid, "ExternalTable")}))
    assert done.outcome == "applied"
    for name in (guid, guid.upper(), "system"):
        assert session.access(name, "externaltable", database="samples").allowed


def test_access_returns_no_verdict_for_a_missing_database(session: Session) -> None:
    with pytest.raises(InputError, match="Did you mean Samples"):
        session.access("system", "ExternalTable", database="Sampels")
    with pytest.raises(InputError, match="Did you mean ExternalTable"):
        session.access("system", "ExternalTables")
    with pytest.raises(InputError, match="nobody"):
        session.access("nobody", "ExternalTable")


def test_policies_that_may_not_be_read_do_not_fail_the_rest(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token_for("viewer", database="Samples")) as viewer:
        reading = viewer.read()
        assert list(reading.snapshot.policies) == [SAMPLES]
        assert isinstance(reading.refused[Scope.cluster()], ForbiddenError)
        assert viewer.access("system", "SqlRequest", database="Samples").allowed is None


@pytest.mark.parametrize("role", ["viewer", "monitor", "database admin"])
def test_a_write_by_anyone_but_an_all_databases_admin_is_forbidden(cluster: LocalCluster, role: str) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token_for(role, database="Samples")) as session:
        with pytest.raises(ForbiddenError) as caught:
            session.run(".delete database ['Samples'] policy managed_identity")
        assert caught.value.type_name == "Kusto.Common.Svc.Exceptions.UnauthorizedOperationException"


def test_a_read_only_session_refuses_writes_before_they_are_sent(cluster: LocalCluster) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, read_only=True) as session:
        with pytest.raises(InputError, match="read-only"):
            session.run(".delete database ['Samples'] policy managed_identity")
        with pytest.raises(InputError, match="read-only"):
            session.apply(session.plan({SAMPLES: Policy.empty().grant("system", "All")}))
        with pytest.raises(InputError, match="read-only"):
            session.run("// new\n.create table T (a: string)", "Samples")
        assert session.run(".show tables", "Samples").rows == ()


def test_a_plan_for_another_cluster_is_refused(cluster: LocalCluster, session: Session) -> None:
    with kqlmi.connect(cluster.url, token=cluster.token, name="elsewhere") as other:
        plan = other.plan({SAMPLES: Policy.empty().grant("system", "All")})
    with pytest.raises(InputError, match="made for elsewhere"):
        session.apply(plan)


def test_a_database_is_found_in_any_letter_case_and_a_missing_one_gets_a_suggestion(session: Session) -> None:
    assert session.database_scope("sAmPlEs").name == "Samples"
    with pytest.raises(InputError, match="Did you mean Samples"):
        session.database_scope("Sample")


def test_databases_are_found_by_glob(session: Session) -> None:
    assert session.databases("field*") == ("Field Reports",)


@pytest.mark.parametrize(
    "url",
    [
        "a" * 41,
        "https://user:secret@cluster.invalid",
        "https://cluster.invalid;AppKey=secret",
        "https://cluster.invalid?sig=secret",
        "https://cluster.invalid/secret",
        "https://a b",
        "https://a=b",
        "http://[::1",
        "https://x:99999",
    ],
)
def test_a_url_that_may_contain_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="not the URL") as caught:
        kqlmi.connect(url)
    assert "secret" not in str(caught.value)


def test_local_starts_a_separate_cluster_that_ends_with_the_session() -> None:
    with kqlmi.connect("local") as session:
        url = session.connection._target.query_url  # type: ignore[attr-defined]
        assert len(session.databases()) == 4
    with (
        kqlmi.connect(url, auth="none") as late,
        pytest.raises(kqlmi.errors.ConnectionFailedError, match="cannot be reached"),
    ):
        late.databases()


def test_no_repr_shows_a_token(cluster: LocalCluster, session: Session) -> None:
    for thing in (cluster, session, session.connection):
        assert cluster.token not in repr(thing)
