"""Tests of discovery: it reads what it may, reports the outcome of each source, and treats nothing unread as unused."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kqlmi
from kqlmi.cluster.discovery.discovery import discover
from kqlmi.cluster.discovery.sources import SOURCES
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ConnectionFailedError, ForbiddenError, KqlmiError, ServiceError
from kqlmi.model.entities import Scope
from kqlmi.model.uses.needs import DATA_CONNECTIONS, Discovery, Need
from tests.audited import CONTAINER, NEEDED, Busy, start

ONE, TWO = "11111111-2222-3333-4444-555555555555", "22222222-2222-3333-4444-555555555555"
SAMPLES = Scope.database("Samples")
BLOB = "https://acct.blob.core.windows.net/data"


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    folder = tmp_path / "container"
    folder.mkdir()
    with start(("spare",)) as cluster:
        held = Busy(cluster, folder)
        held.furnish()
        yield held
        held.close()


def table(*names: str, rows: list[list[Any]] | None = None) -> Table:
    return Table(tuple(Column(name, "string") for name in names), tuple(rows or ()))


EMPTY = {
    ".show external tables": table("TableName", "TableType", "ConnectionStrings"),
    ".show table * policy update": table("EntityName", "Policy"),
    ".show external table * policy query_acceleration": table("EntityName", "Policy"),
    ".show external tables details": table("TableName", "QueryAccelerationPolicy", "QueryAccelerationState"),
    ".show continuous-exports": table("Name", "ExternalTableName", "ExportProperties", "IsDisabled", "Query"),
    ".show functions": table("Name", "Parameters", "Body"),
    ".show database ['Samples'] schema as csl script": table("DatabaseSchemaScript"),
    ".show databases entities": table("DatabaseName", "EntityType", "EntityName", "Content"),
    ".show queries": table("Text", "Database", "State"),
    ".show commands-and-queries": table("Text", "Database", "State"),
    ".show ingestion failures": table("Database", "Table", "Details"),
    ".show databases": table("DatabaseName", "DatabaseAccessMode", rows=[["Samples", "ReadWrite"]]),
}


class Answers:
    """A connection that answers each command as the test specifies."""

    def __init__(self) -> None:
        self.answers: dict[str, Table | KqlmiError] = dict(EMPTY)

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        del database, timeout, client_request_id
        answer = self.answers[text.partition(" | ")[0]]
        if isinstance(answer, KqlmiError):
            raise answer
        return answer

    def close(self) -> None:
        pass


class Together(Answers):
    """A connection that answers in a database only once four requests are waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(4, timeout=20)

    def execute(self, text: str, database: str | None = None, **options: Any) -> Table:
        if database:
            self.barrier.wait()
        return super().execute(text, database, **options)


def found(answers: dict[str, Table | KqlmiError]) -> Discovery:
    connection = Answers()
    assert answers.keys() <= EMPTY.keys()
    connection.answers |= answers
    return discover(connection)


def needs(discovery: Discovery) -> set[tuple[str | None, str, str]]:
    return {(one.identity, one.usage, str(one.scope.name)) for one in discovery.needs}


def outcomes(discovery: Discovery) -> dict[str, str]:
    return {f"{one.name} {one.database}".strip(): one.outcome for one in discovery.sources}


def test_every_workflow_that_the_cluster_shows_is_found_with_its_evidence(busy: Busy) -> None:
    busy.work(slow=True)
    discovery = busy.session.discover()
    shown = {(busy.ids[name], usage) for name, places in NEEDED.items() for usage in places.values()}
    hidden = {(busy.ids["receiver"], "DataConnection")}
    assert {(one.identity, one.usage) for one in discovery.needs if one.identity} == shown - hidden
    assert {one.scope for one in discovery.needs} == {SAMPLES}
    evidence = [one for need in discovery.needs for one in need.evidence]
    assert all(one.source and one.window and one.says for one in evidence)
    says = {one.says: one for one in evidence}
    assert "continuous export E, which writes to external table C" in says
    assert "the command .export to table, which writes to external table W" in says
    assert says["the command .ingest (Ingestion from storage (.ingest into))"].inferred
    assert "the last 30 days" in says["a query (externaldata operator)"].window
    assert says["function Fetch (externaldata operator)"].state == "idle"


def test_data_connections_are_named_as_not_read(busy: Busy) -> None:
    discovery = busy.session.discover()
    assert outcomes(discovery)[DATA_CONNECTIONS] == "not read"
    assert "Azure Resource Manager" in discovery.doubt("DataConnection", SAMPLES)


def test_missing_permissions_degrade_the_result_and_never_fail_it(busy: Busy) -> None:
    token = busy.cluster.token_for("ingestor", database="Samples")
    with kqlmi.connect(busy.cluster.url, token=token, history=False) as session:
        assert needs(session.discover()) == set()
    token = busy.cluster.token_for("viewer", database="Samples")
    with kqlmi.connect(busy.cluster.url, token=token, history=False) as session:
        discovery = session.discover()
        audit = session.audit()
    assert discovery.databases == (SAMPLES,)
    assert (busy.ids["reader"], "ExternalTable", "Samples") in needs(discovery)
    assert (busy.ids["dumper"], "ExportRequest", "Samples") not in needs(discovery)
    # Without the cluster's policy nothing can be called missing, and what is used here is not unused.
    assert audit.findings == ()
    assert ["cluster" in one for one in audit.unread] == [True]


@pytest.mark.parametrize("refused", [name for name in EMPTY if name != ".show databases"])
def test_a_source_that_is_refused_or_broken_is_named_and_proves_nothing(refused: str) -> None:
    for error, outcome in (
        (ForbiddenError("no"), "not permitted"),
        (ServiceError("odd"), "failed"),
        (ConnectionFailedError("gone"), "failed"),
        (table("Other"), "failed"),
    ):
        discovery = found({refused: error})
        assert sorted(outcomes(discovery).values()).count(outcome) == 1
        assert len(discovery.sources) == len(SOURCES) + 1
        shows = {"external tables": "ExternalTable", "policy": "AutomatedFlows", "continuous-exports": "AutomatedFlows"}
        for word, usage in shows.items():
            if word in refused and "details" not in refused:
                assert outcome in discovery.doubt(usage, SAMPLES)


def test_discovery_fails_if_databases_cannot_be_listed() -> None:
    with pytest.raises(ForbiddenError):
        found({".show databases": ForbiddenError("no")})


def test_sources_are_read_at_the_same_time() -> None:
    connection = Together()
    connection.answers |= {
        ".show databases": table("DatabaseName", rows=[["A"], ["B"], ["C"], ["D"]]),
        **{f".show database ['{name}'] schema as csl script": table("DatabaseSchemaScript") for name in "ABCD"},
    }
    assert len(discover(connection).databases) == 4


@pytest.mark.parametrize("key", ["ManagedIdentity", "managedIdentity", "managed_identity", "MANAGEDIDENTITY"])
@pytest.mark.parametrize("form", [json.dumps, lambda value: value])
def test_the_identity_of_an_export_is_found_however_its_key_is_spelt(key: str, form: Callable[[Any], Any]) -> None:
    row = ["E", "T", form({key: ONE, "Other": 1}), False, "R"]
    discovery = found({".show continuous-exports": table(*_EXPORT, rows=[row])})
    assert needs(discovery) == {(ONE, "AutomatedFlows", "Samples")}
    assert discovery.needs[0].state == "standing"


_EXPORT = ("Name", "ExternalTableName", "ExportProperties", "IsDisabled", "Query")
_NO_KEY = table(*_EXPORT, rows=[["E", "T", "{}", 0, "R"]])


def test_an_export_without_a_key_is_read_from_the_script_and_is_unknown_without_it() -> None:
    script = table(
        "DatabaseSchemaScript",
        rows=[[f".create-or-alter continuous-export ['E'] to table ['T'] with (managedIdentity='{ONE}') <| R"]],
    )
    name = ".show database ['Samples'] schema as csl script"
    assert needs(found({".show continuous-exports": _NO_KEY, name: script})) == {(ONE, "AutomatedFlows", "Samples")}
    assert needs(found({".show continuous-exports": _NO_KEY})) == set()
    unknown = found({".show continuous-exports": _NO_KEY, name: ForbiddenError("no")})
    assert needs(unknown) == {(None, "AutomatedFlows", "Samples")}
    assert "continuous export E" in unknown.doubt("AutomatedFlows", SAMPLES)


@pytest.mark.parametrize(
    ("strings", "identities"),
    [
        ([f"{BLOB};managed_identity={ONE}"], {ONE}),
        ([f"{BLOB};managed_identity=system", f"{BLOB};managed_identity={ONE.upper()}"], {"system", ONE}),
        ([f"{BLOB};impersonate"], set()),
        ([f"{BLOB}?sv=1&sig=******"], {None}),
        ([f"{BLOB};*****"], {None}),
        (["****"], {None}),
        ([BLOB], {None}),
        ([f"it's \"{BLOB};managed_identity={ONE}"], {ONE}),
    ],
)
def test_the_unmasked_parts_of_an_external_table_are_reported_and_the_masked_ones_are_unknown(
    strings: list[str], identities: set[str | None]
) -> None:
    for value in (strings, json.dumps(strings)):
        answer = table("TableName", "TableType", "ConnectionStrings", rows=[["T", "Blob", value]])
        discovery = found({".show external tables": answer})
        assert {one.identity for one in discovery.needs} == identities
        masked = None in identities
        assert bool(discovery.doubt("ExternalTable", SAMPLES)) == masked
        assert (outcomes(discovery)[".show external tables Samples"] == "masked") == (masked and "***" in str(strings))


def test_a_sql_table_is_read_as_one() -> None:
    login = f'Server=tcp:s,1433;Authentication="Active Directory Managed Identity";User Id={ONE};'
    answer = table("TableName", "TableType", "ConnectionStrings", rows=[["T", "Sql", json.dumps([login])]])
    assert needs(found({".show external tables": answer})) == {(ONE, "ExternalTable", "Samples")}


def test_disabled_policies_are_idle_and_null_policies_do_not_exist() -> None:
    policy = json.dumps(
        [
            {"IsEnabled": False, "Source": "S", "Query": "S", "ManagedIdentity": ONE},
            {"IsEnabled": True, "Source": "S", "Query": f"externaldata (a: int) ['{BLOB};managed_identity={TWO}']"},
        ]
    )
    rows: list[list[Any]] = [
        ["[Samples].[A]", policy],
        ["[Samples].[B]", "null"],
        ["[Samples].[C]", None],
        ["[Samples].[D]", "[]"],
    ]
    discovery = found({".show table * policy update": table("EntityName", "Policy", rows=rows)})
    states = {(one.identity, one.usage): one.state for one in discovery.needs}
    assert states == {(ONE, "AutomatedFlows"): "idle", (TWO, "ExternalDataRequest"): "standing"}
    assert "update policy of table A" in discovery.needs[0].evidence[0].says


@pytest.mark.parametrize("text", ["{", "****", '[{"IsEnabled": true, "ManagedIdentity": "****"}]', "[1, 2"])
@pytest.mark.parametrize("source", [".show table * policy update", ".show external table * policy query_acceleration"])
def test_a_policy_that_cannot_be_read_is_unknown(source: str, text: str) -> None:
    discovery = found({source: table("EntityName", "Policy", rows=[["[Samples].[A]", text]])})
    assert needs(discovery) == {(None, "AutomatedFlows", "Samples")}
    assert discovery.doubt("AutomatedFlows", SAMPLES)


def test_acceleration_of_a_table_that_impersonates_needs_an_identity() -> None:
    tables = table(
        "TableName",
        "TableType",
        "ConnectionStrings",
        rows=[[name, "Delta", json.dumps([f"{BLOB};impersonate"])] for name in ("Lacks", "Has", "Off")],
    )
    rows = [
        ["[Samples].[Lacks]", '{"IsEnabled": true, "Hot": "1.00:00:00"}'],
        ["[Samples].[Has]", json.dumps({"IsEnabled": True, "ManagedIdentity": ONE})],
        ["[Samples].[Off]", '{"IsEnabled": false}'],
    ]
    reason = "Managed identity must be specified for external tables with impersonation authentication."
    details = [["Lacks", '{"IsEnabled": true}', json.dumps({"NotHealthyReason": reason})]]
    discovery = found(
        {
            ".show external tables": tables,
            ".show external table * policy query_acceleration": table("EntityName", "Policy", rows=rows),
            ".show external tables details": table(
                "TableName", "QueryAccelerationPolicy", "QueryAccelerationState", rows=details
            ),
        }
    )
    assert [one.subject for one in discovery.gaps] == ["query acceleration of external table Lacks"]
    assert reason in discovery.gaps[0].evidence[-1].says
    assert needs(discovery) == {(ONE, "AutomatedFlows", "Samples")}


def requests(*texts: str, state: str = "Completed", database: str = "Samples") -> tuple[Need, ...]:
    answer = table("Text", "Database", "State", rows=[[text, database, state] for text in texts])
    return found({".show commands-and-queries": answer}).needs


def test_commands_that_define_something_are_not_a_use_on_their_own() -> None:
    where = f"'{BLOB};managed_identity={ONE}'"
    assert not requests(
        f".create external table T (a: int) kind=storage dataformat=csv ({where})",
        f".create-or-alter function F() {{ externaldata (a: int) [{where}] }}",
        f'.alter table T policy update \'[{{"Query": "S", "ManagedIdentity": "{ONE}"}}]\'',
        f".execute database script <|\n.create function F() {{ externaldata (a: int) [{where}] }}",
        f'.alter cluster policy managed_identity \'[{{"ObjectId": "{ONE}", "AllowedUsages": "All"}}]\'',
        f"print '{ONE}'",
    )
    assert not requests(f"externaldata (a: int) [{where}]", database="Dropped")
    assert not requests(f"externaldata (a: int) [{where}]", database="")


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("externaldata (a: int) [{}]", "ExternalDataRequest"),
        (".set-or-append T <| externaldata (a: int) [{}]", "ExternalDataRequest"),
        (".export async to csv ({}) <| T", "ExportRequest"),
        (".ingest into table T ({})", "NativeIngestion"),
        (".ingest-from-storage-queued into table T <| .list blobs ({})", "NativeIngestion"),
    ],
)
def test_requests_that_ran_are_distinguished_from_those_that_failed(text: str, usage: str) -> None:
    where = f"'{BLOB};managed_identity={ONE}'"
    for state, reported in (("Completed", "past"), ("Failed", "refused")):
        [need] = requests(text.format(where), state=state)
        assert (need.identity, need.usage, need.state) == (ONE, usage, reported)


def test_a_failed_ingestion_shows_the_identity_that_it_names() -> None:
    rows = [
        ["Samples", "T", f"the managed identity 'loader' ({ONE}) may not be used"],
        ["Samples", "T", f"operation {TWO} failed"],
    ]
    discovery = found({".show ingestion failures": table("Database", "Table", "Details", rows=rows)})
    assert needs(discovery) == {(ONE, "NativeIngestion", "Samples")}
    assert discovery.needs[0].evidence[0].inferred
    assert discovery.needs[0].state == "refused"


def test_what_other_sources_repeat_counts_if_the_first_source_is_silent() -> None:
    where = f"'{BLOB};managed_identity={ONE}'"
    script = f".create-or-alter external table ['T'] (a: int) kind=storage dataformat=csv ({where})"
    name = ".show database ['Samples'] schema as csl script"
    written = table("DatabaseSchemaScript", rows=[[script], [".create table ['x'] (a: int)"]])
    alone = found({name: written, ".show external tables": ForbiddenError("no")})
    assert needs(alone) == {(ONE, "ExternalTable", "Samples")}
    assert alone.needs[0].evidence[0].source == ".show database schema as csl script"
    # The script masks hidden strings; if the table itself was read unmasked, the mask raises no doubt.
    masked = table("DatabaseSchemaScript", rows=[[script.replace(where, "h'****'")]])
    clear = table("TableName", "TableType", "ConnectionStrings", rows=[["T", "Blob", [where.strip("'")]]])
    both = found({name: masked, ".show external tables": clear})
    assert needs(both) == {(ONE, "ExternalTable", "Samples")}
    assert both.doubt("ExternalTable", SAMPLES) == ""


def test_hidden_strings_leave_a_doubt_and_names_stay_data(busy: Busy) -> None:
    hostile = "x'] (a: int) // \n;managed_identity=system"
    shape = "(a: string, b: long) kind=storage dataformat=csv"
    literal = hostile.replace("'", "\\'").replace("\n", "\\n")
    busy.run(f".create external table ['{literal}'] {shape} ({busy.where('reader', 'in')})")
    busy.run(f".create function Veiled() {{ externaldata (a: string) [h'{CONTAINER}/in;managed_identity=system'] }}")
    discovery = busy.session.discover()
    assert outcomes(discovery)[".show functions Samples"] == "masked"
    [veiled] = [one for one in discovery.needs if one.identity is None]
    assert "function Veiled" in veiled.evidence[0].says
    assert "masked" in veiled.evidence[0].says
    assert not any(one.identity == "system" for one in discovery.needs)
    assert not any("\n" in str(one) for need in discovery.needs for one in need.evidence)


def test_follower_databases_are_reported() -> None:
    listed = table("DatabaseName", "DatabaseAccessMode", rows=[["Samples", "ReadOnlyFollowing"]])
    assert found({".show databases": listed}).followers == {SAMPLES}
