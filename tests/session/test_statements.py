"""Tests that refusals on the local cluster are explained, and that every printed fix works."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import ApplyError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.explain.explanation import verdict_rows
from kqlmi.model.statement import Statement
from kqlmi.session import Session
from tests.printed_lines import run_printed_line

CONTAINER = "https://acct.blob.core.windows.net/data"
CALLOUT = "sandbox_artifacts"


class World:
    """A cluster on which the identity ``mine`` may do nothing yet."""

    def __init__(self, cluster: LocalCluster, session: Session, folder: Path) -> None:
        self.cluster, self.session, self.folder = cluster, session, folder
        self.mine, self.store = (one.object_id for one in cluster.identities)
        cluster.add_storage(CONTAINER, folder)
        (folder / "a.csv").write_text("x,1\ny,2\n")
        cluster.assign_role(self.store, CONTAINER, "Storage Blob Data Contributor")
        for text in (
            f'.alter cluster policy managed_identity \'[{{"ObjectId": "{self.store}", "AllowedUsages": "All"}}]\'',
            ".create table R (a: string, b: long)",
            ".create table Made (a: string, b: long)",
            ".create database ['My other db']",
            ".enable plugin python",
        ):
            session.run(text)

    def refusal(self, text: str, database: str = "") -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            self.session.run(text, database or None)
        return caught.value

    def fix(self, line: str) -> None:
        run_printed_line(self.cluster, self.session, line)

    def fix_until_it_works(self, text: str) -> list[str]:
        """Run a text, apply the fix that each refusal prints, and repeat; return the gates that were closed."""
        gates: list[str] = []
        for _ in range(6):
            try:
                self.session.run(text)
            except ServiceError:
                assert self.session.refusal
                explained = self.session.refusal.explanation
                assert explained
                assert explained.certain
                gates.append(explained.kind)
                self.fix(explained.fixes[0])
            else:
                return gates
        raise AssertionError(gates)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "container"
    folder.mkdir()
    with kqlmi.local.start(databases=["My db"], identities=["mine", "store"]) as cluster:
        session = kqlmi.connect(cluster.url, token=cluster.token, database="My db", name="here")
        yield World(cluster, session, folder)
        session.close()


def at(identity: str, path: str = "") -> str:
    return f"h@'{CONTAINER}{path};managed_identity={identity}'"


SHAPE = "(a: string, b: long) kind=storage dataformat=csv"
READ, WRITE = ["grant", "azure role"], ["grant", "azure role"]
FLOWS: dict[str, tuple[str, list[str], str]] = {
    # a text, the gates that it meets one after another, and the preparation
    "externaldata": ("externaldata (a: string, b: long) [{0}]", READ, ""),
    "inline": (f"inline_external_table {SHAPE} ({{1}})", READ, ""),
    "infer": ("evaluate infer_storage_schema(dynamic({{'StorageContainers': [{1}], 'DataFormat': 'csv'}}))", READ, ""),
    "ingest": (".ingest into table R ({0}) with (format='csv')", READ, ""),
    "export": (".export to csv ({2}) <| print a = 'x'", WRITE, ""),
    "define": (f".create-or-alter external table T {SHAPE} ({{1}})", ["grant"], ""),
    "read table": ("external_table('T')", ["grant", "azure role"], "table"),
    "export to table": (".export to table T <| print a = 'x', b = 1", ["grant", "azure role"], "table"),
    "python": (
        "print a = 'x' | evaluate python(typeof(*), 'result = df', external_artifacts=bag_pack('a', {0}))",
        ["grant", "callout", "azure role"],
        "",
    ),
    "update policy": (
        '.alter table Made policy update \'[{{"Source": "R", "Query": "R", "ManagedIdentity": "{3}"}}]\'',
        ["grant", "database role"],
        "",
    ),
    "continuous export": (
        ".create-or-alter continuous-export E over (R) to table S with (managedIdentity='{3}', intervalBetweenRuns=1h) <| R",
        ["grant", "database role"],
        "store",
    ),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_each_printed_fix_opens_its_gate_and_the_text_then_succeeds(world: World, flow: str) -> None:
    text, gates, before = FLOWS[flow]
    places = (at(world.mine, "/a.csv"), at(world.mine), at(world.mine, "/out"), world.mine)
    if before == "table":
        grant = world.session.grant(world.mine, "ExternalTable", databases=["My db"])
        world.session.apply(grant)
        world.session.run(f".create external table T {SHAPE} ({at(world.mine)})")
        world.session.undo()
    if before == "store":
        world.session.run(f".create external table S {SHAPE} ({at(world.store, '/s')})")
    assert world.fix_until_it_works(text.format(*places)) == gates


def test_the_error_of_a_cell_ends_with_the_narrowest_grant(world: World) -> None:
    error = world.refusal(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    assert str(error).endswith(f'To fix it: %kqlmi grant {world.mine} ExternalDataRequest --database="My db" --on=here')
    artifact = f"external_artifacts=bag_pack('a', {at(world.mine, '/a.csv')})"
    error = world.refusal(f"print 1 | evaluate python(typeof(*), 'result = df', {artifact})")
    assert error.hint.endswith(f"%kqlmi grant {world.mine} SandboxArtifacts --cluster --on=here")


def test_an_unassigned_identity_and_a_flow_without_identities_are_distinguished(world: World) -> None:
    stranger = "11111111-2222-3333-4444-555555555555"
    assert gate(world, f"externaldata (a: string) [{at(stranger, '/a.csv')}]") == ("assignment", ())
    assert gate(world, "evaluate http_request('https://example.org;managed_identity=system')") == ("flow", ())


def gate(world: World, text: str) -> tuple[str, tuple[str, ...]]:
    world.refusal(text)
    assert world.session.refusal
    assert world.session.refusal.explanation
    return world.session.refusal.explanation.kind, world.session.refusal.explanation.fixes


def test_a_refusal_for_another_reason_blames_no_identity(world: World) -> None:
    assert world.refusal("print nope").hint == ""
    assert world.session.refusal
    assert world.session.refusal.explanation is None


def test_without_a_local_clusters_details_the_policies_still_explain_it(world: World) -> None:
    error = world.refusal(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    bare = ServiceError("Access denied", code="BadRequest", type_name="Some.Exception", status=400)
    text = Statement(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    from kqlmi.session.statements import explain

    guessed = explain(world.session, bare, text).explanation
    assert guessed
    assert (guessed.kind, guessed.certain) == ("grant", False)
    assert guessed.fixes[0] in error.hint
    for unrelated in (401, 429, 500):
        other = ServiceError("no", status=unrelated)
        assert explain(world.session, other, text).explanation is None
    named = ServiceError("Denied", type_name="X.ManagedIdentityNotAllowedByPolicyException", status=400)
    by_name = explain(world.session, named, text).explanation
    assert by_name
    # The name is known only from a third party.
    assert (by_name.kind, by_name.certain) == ("grant", False)


@pytest.mark.parametrize(
    "text",
    [
        ".ingest into table Nope ({0})",
        "externaldata (a: string) [{0}] | | take 1",
        "Nope | union (externaldata (a: string) [{0}])",
    ],
)
def test_an_unrelated_error_is_not_blamed_on_the_missing_grant(world: World, text: str) -> None:
    assert "grant" not in world.refusal(text.format(at(world.mine, "/a.csv"))).hint


def test_check_reports_what_would_be_allowed_and_sends_nothing(world: World) -> None:
    text = f"externaldata (a: string) [{at(world.mine, '/a.csv')}] | union (external_table('T'))"
    (verdict,) = world.session.check(text)
    assert verdict.access.allowed is False
    assert any("Storage Blob Data Reader" in need for need in verdict.needs)
    world.session.apply(world.session.grant(world.mine, "ExternalDataRequest", databases=["My db"]))
    assert world.session.check(text)[0].access.allowed is True
    assert world.session.check(text, "My other db")[0].access.allowed is False
    ran = [row[0] for row in world.session.run(".show queries | project Text").rows]
    assert not any("externaldata" in str(one) for one in ran)


def test_check_reports_what_is_unknown_and_what_takes_no_identity(world: World) -> None:
    unknown, none = world.session.check(
        "declare query_parameters(u: string); externaldata (a: string) [u] "
        "| union (evaluate http_request('https://example.org;managed_identity=system'))"
    )
    assert (unknown.access.allowed, none.access.allowed) == (None, False)
    assert "disabled" in none.access.reason
    (name,) = world.session.check(f"externaldata (a: string) [{at('loader', '/a.csv')}]")
    assert "neither an object ID nor" in name.access.reason
    assert world.session.check("print 1") == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("T | evaluate new_plugin('{0}')", "new_plugin"),
        ("T | invoke NewFunction('{0}')", "NewFunction"),
        (".create table T2 based-on (x: long) kind=delta (h'{0}')", ".create table"),
        ('.alter cluster policy new \'{{"ManagedIdentity":"system"}}\'', ".alter cluster policy new"),
    ],
)
def test_check_reports_an_identity_in_a_flow_that_it_does_not_know(world: World, text: str, what: str) -> None:
    statement = Statement(text.format("https://acct.blob.core.windows.net/data;managed_identity=system"))
    (verdict,) = world.session.check(statement)
    assert verdict.access.allowed is None
    assert verdict.access.reason == f"{what} is not known to take a managed identity"
    rows = verdict_rows([verdict], statement)
    (row,) = (dict(zip(rows.columns, one, strict=True)) for one in rows.rows)
    assert (row["workflow"], row["identity"], row["allowed"]) == (f"unknown flow: {what}", "system", None)
    world.refusal(statement)
    assert f"{what} is not known to take a managed identity" in str(world.session.refusal)


def test_check_expands_the_stored_functions_and_external_tables_that_a_query_calls(world: World) -> None:
    # The service masks what is hidden, as h'…', when it shows a function.
    body = f"{{ externaldata (a: string) [{at(world.mine, '/a.csv').removeprefix('h')}] }}"
    world.session.run(f".create-or-alter function Landing () {body}")
    world.session.run(
        f".create-or-alter external table Stored (a: string) kind=storage dataformat=csv ({at(world.store, '/x')})"
    )
    (verdict,) = world.session.check("R | union (Landing())")
    assert (verdict.access.allowed, verdict.reference.flow) == (False, "externaldata")
    world.refusal("Landing()")
    world.session.apply(world.session.grant(world.mine, "ExternalDataRequest", databases=["My db"]))
    world.cluster.assign_role(world.mine, CONTAINER, "Storage Blob Data Reader")
    assert world.session.check("R | union (Landing())")[0].access.allowed is True
    world.session.run("Landing()")
    (verdict,) = world.session.check("external_table('Stored') | count")
    assert verdict.reference.flow == "external_table.storage"


def test_check_reads_only_the_policies_that_decide(world: World) -> None:
    before = len(world.session.run(".show commands").rows)
    world.session.check("print 1")
    assert len(world.session.run(".show commands").rows) == before + 1
    world.session.check(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    assert len(world.session.run(".show commands").rows) == before + 4


def test_a_user_who_may_read_no_policy_sees_that(world: World) -> None:
    token = world.cluster.token_for("ingestor", database="My db")
    with kqlmi.connect(world.cluster.url, token=token, database="My db") as session:
        (verdict,) = session.check(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    assert verdict.access.allowed is None
    assert "was not read" in verdict.access.reason


def test_explain_reads_the_gates_that_a_cell_does_not(world: World) -> None:
    from kqlmi.session.statements import explain

    world.session.apply(world.session.grant(world.mine, "ExternalDataRequest", databases=["My db"]))
    denied = f"Access to persistent storage path '{CONTAINER}/a.csv' was denied"
    bare = ServiceError(denied, code="Download_Forbidden", type_name="X.DownloadException", status=403)
    text = Statement(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    world.session.refusal = explain(world.session, bare, text)
    assert world.session.refusal.explanation is None
    found = world.session.explain()
    assert found
    assert found.explanation is None
    assert "Probably" not in str(found)
    assert "az role assignment create" in str(found)


def test_a_refused_plan_is_explained_and_not_the_cell_before_it(world: World) -> None:
    world.refusal("print nope")
    stranger = "11111111-2222-3333-4444-555555555555"
    with pytest.raises(ApplyError):
        world.session.apply(world.session.grant(stranger, "ExternalTable", databases=["My db"]))
    found = world.session.explain()
    assert found
    assert found.explanation
    assert (found.explanation.kind, found.explanation.certain) == ("assignment", True)
    assert stranger in found.explanation.sentence


def test_a_plan_that_is_refused_because_of_drift_explains_itself(world: World) -> None:
    world.refusal(f"externaldata (a: string) [{at(world.mine, '/a.csv')}]")
    scope = kqlmi.Scope.database("My db")
    plan = world.session.plan({scope: kqlmi.Policy.empty().grant(world.mine, "ExternalTable")})
    world.session.apply(world.session.grant(world.store, "ExternalTable", databases=["My db"]))
    with pytest.raises(ApplyError):
        world.session.apply(plan)
    found = world.session.explain()
    assert found
    assert found.explanation is None
    assert "changed" in str(found)
