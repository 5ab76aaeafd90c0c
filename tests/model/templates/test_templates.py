"""Tests of every template's text: the identity is found in it, and no name can break it."""

import ast
import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.local.language import lexer
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope
from kqlmi.model.explain.observations import Observations
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.templates import FORMS, Form, Place, Template, fill, form
from kqlmi.model.templates.fields import columns
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.notebook.invocation import parse_cell
from kqlmi.verbs.arguments import split

MINE = Identity(
    ObjectId("aaaaaaaa-1111-2222-3333-444444444444"), "mine", client_id="cccccccc-1111-2222-3333-444444444444"
)
ENGINE = Identity(SYSTEM, "engine", is_system=True)
PLACE = Place("here", "https://c.westeurope.kusto.windows.net", "", "https://ingest-c.westeurope.kusto.windows.net")
DB = Scope.database("Samples")
GROUP = "/subscriptions/s/resourceGroups/g/providers"
VALUES = {
    "name": "N",
    "text": "t",
    "query": "print 1",
    "uri": "https://acct.blob.core.windows.net/data/a.csv",
    "model uri": "https://a.openai.azure.com/openai/deployments/m/embeddings?api-version=1",
    "endpoint": "https://ingest-c.westeurope.kusto.windows.net",
    "schema": "x: int",
    "format": "csv",
    "written format": "csv",
    "event format": "csv",
    "interval": "1h",
    "days": "1d",
    "value": "s.database.windows.net",
    "guid": MINE.client_id,
    "resource": f"{GROUP}/Microsoft.Kusto/clusters/c",
}
NAMES = st.text(min_size=1, max_size=12).filter(str.strip)
KQL = [one for one in FORMS.values() if one.kind == "kql"]


def field_values(one: Form, **others: str) -> dict[str, str]:
    return {field.name: others.get(field.kind, VALUES[field.kind]) for field in one.fields}


def template(one: Form, identity: Identity = MINE, database: str = "Samples", **others: str) -> Template:
    scope = Scope.database(database)
    return fill(one, field_values(one, **others), identity, scope, place=PLACE, snapshot=Snapshot({scope: None}))


def by_flow(one: Form) -> str:
    return one.flow


def test_every_flow_of_the_catalogue_has_a_form_in_its_order() -> None:
    assert list(FORMS) == [row.id for row in WORKFLOWS]


@pytest.mark.parametrize("one", KQL, ids=by_flow)
@pytest.mark.parametrize("identity", [MINE, ENGINE], ids=str)
def test_the_reference_finder_finds_the_identity(one: Form, identity: Identity) -> None:
    found = [(each.flow, each.identity, each.workflow) for each in Statement(template(one, identity).text).references]
    if one.flow == "export.to_external_table":
        assert found == []
        assert any("the command does not specify one" in note for note in template(one).notes)
    else:
        assert found == [(one.flow, identity.object_id, one.workflow)]


def strings(text: str) -> set[str]:
    """Return the values of all literals, and of strings in JSON literals, as the local cluster's lexer reads them."""
    found = {token.value for token in lexer.tokens(text) if token.kind is lexer.Kind.STRING}
    waiting: list[Any] = [json.loads(value) for value in found if value.startswith(("[{", "[\n", "{\n"))]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.add(each)
        elif isinstance(each, dict | list):
            waiting += each.values() if isinstance(each, dict) else each
    return found


@given(st.sampled_from(KQL), NAMES, NAMES, NAMES)
def test_a_hostile_name_survives_in_a_command(one: Form, name: str, text: str, database: str) -> None:
    found = template(one, database=database, name=name, text=text)
    kinds = {field.kind for field in one.fields}
    wanted = ({name} if "name" in kinds else set()) | ({text} if "text" in kinds else set())
    assert wanted <= strings(found.text)
    assert len(Statement(found.text).references) == (one.flow != "export.to_external_table")
    line, _, body = found.cell.partition("\n")
    assert parse_cell(line.removeprefix("%%kqlmi"), body).statement == found.text
    said_there = parse_cell(line.removeprefix("%%kqlmi"), body).database
    assert said_there == database or any("make it the current database" in note for note in found.notes)


@given(st.sampled_from([one for one in FORMS.values() if one.kind == "python"]), NAMES, NAMES)
def test_a_hostile_name_survives_in_python(one: Form, name: str, database: str) -> None:
    found = template(one, database=database, name=name)
    constants = {node.value for node in ast.walk(ast.parse(found.text)) if isinstance(node, ast.Constant)}
    assert {name, database} <= constants
    if found.line:
        assert split(found.line) == [
            *("%kqlmi", "ingest", VALUES["uri"], "into", name, "--identity", MINE.object_id),
            *("--database", database, "--format", "csv", "--on=here"),
        ]


UNSAFE = frozenset('"$`\\%!{}\n\r')


@given(NAMES, NAMES)
def test_a_name_survives_in_a_shell_or_is_refused(name: str, database: str) -> None:
    if UNSAFE & set(name + database):
        with pytest.raises(InputError, match="cannot be written on a shell line"):
            template(FORMS["ingest.lightingest"], database=database, name=name)
        return
    found = template(FORMS["ingest.lightingest"], database=database, name=name)
    words = shlex.split(found.text)
    assert words[2:4] == [f"-database:{database}", f"-table:{name}"]
    assert words[-1] == f"-ingestmi:{MINE.client_id}"
    assert found.cell == f"!{found.text}"


@given(st.lists(st.tuples(NAMES, st.sampled_from(["int", "string"])), min_size=1, unique_by=lambda pair: pair[0]))
def test_a_schema_reads_back_as_the_columns_that_it_was_written_from(wanted: list[tuple[str, str]]) -> None:
    from kqlmi.model.kql import quoting

    written = ", ".join(f"{quoting.name(name)}: {kind}" for name, kind in wanted)
    assert list(columns(written)) == wanted


def test_a_schema_is_read_in_the_usual_spellings() -> None:
    assert columns("x:int, my col : string,['a,b']:long, 1st: real") == (
        *(("x", "int"), ("my col", "string")),
        *(("a,b", "long"), ("1st", "real")),
    )
    for wrong in ("x", "x:", ":int", "x:integer", "x:int,", "x:int, x:long", "['']:int"):
        with pytest.raises(InputError):
            columns(wrong)


def test_the_identity_is_written_in_the_form_of_each_flow() -> None:
    assert "User Id=" in template(FORMS["sql_request"]).text
    assert "User Id" not in template(FORMS["sql_request"], ENGINE).text
    assert "-ingestmi:system" in template(FORMS["ingest.lightingest"], ENGINE).text
    unknown = replace(MINE, client_id="")
    one = FORMS["ingest.lightingest"]
    given_values = {key: value for key, value in field_values(one).items() if key != "client_id"}
    with pytest.raises(InputError, match="client ID") as caught:
        fill(one, given_values, unknown, DB, place=PLACE, snapshot=Snapshot({}))
    assert "--client-id" in caught.value.hint
    assert "identity = cluster.id" in template(FORMS["dataconnection.eventhub"], ENGINE).text
    assert MINE.object_id in template(FORMS["dataconnection.eventhub"]).text
    assert all('"kind": ' in template(each).text for each in FORMS.values() if each.flow.startswith("dataconnection"))


PLANTED = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
LEAKY = [
    f"https://acct.blob.core.windows.net/data/a.csv?sv=2024&sig={PLANTED}",
    f"https://acct.blob.core.windows.net/data;{PLANTED}",
    f"https://acct.blob.core.windows.net/data;managed_identity={PLANTED}",
    f"https://me:{PLANTED}@acct.blob.core.windows.net/data",
    f"https://a.openai.azure.com/m?api-key={PLANTED}",
]


@pytest.mark.parametrize("uri", LEAKY)
@pytest.mark.parametrize("flow", ["externaldata", "ingest.into", "ai_embeddings"])
def test_a_credential_in_a_url_is_refused_and_not_repeated(flow: str, uri: str) -> None:
    one = FORMS[flow]
    with pytest.raises(InputError) as caught:
        fill(one, {**field_values(one), "uri": uri}, MINE, DB, place=PLACE, snapshot=Snapshot({}))
    assert PLANTED not in str(caught.value)


def test_a_missing_wrong_or_unknown_value_is_named() -> None:
    one = FORMS["external_table.storage"]
    for given_values, words in [
        ({}, "--name and --uri"),
        ({**field_values(one), "uri": ""}, "--uri"),
        ({**field_values(one), "format": "xls"}, "not a file format"),
        ({**field_values(one), "server": "s"}, "has no option --server"),
        ({**field_values(FORMS["continuous_export"]), "every": "often"}, "has no option|--every"),
    ]:
        with pytest.raises(InputError, match=words):
            fill(one, given_values, MINE, DB, place=PLACE, snapshot=Snapshot({}))
    with pytest.raises(InputError, match="--every has the wrong form"):
        FORMS["continuous_export"].checked({**field_values(FORMS["continuous_export"]), "every": "often"}, PLACE)
    with pytest.raises(InputError, match="connection string"):
        FORMS["sql_request"].checked({**field_values(FORMS["sql_request"]), "catalog": "d;User Id=x"}, PLACE)
    with pytest.raises(InputError, match="not a command"):
        FORMS["export.to_storage"].checked(
            {**field_values(FORMS["export.to_storage"]), "query": ".drop table T"}, PLACE
        )
    with pytest.raises(InputError, match="Flow 'externaldat' does not exist") as caught:
        form("externaldat")
    assert "externaldata" in caught.value.hint


def test_an_omitted_value_is_filled_in_and_shown() -> None:
    one = FORMS["externaldata"]
    found = fill(one, {"uri": VALUES["uri"]}, MINE, DB, place=PLACE, snapshot=Snapshot({}))
    assert found.filled == {"--schema": "line: string", "--format": "csv"}
    assert "Filled in: --format csv" in str(found)


def item(found: Template, gate: str) -> Any:
    return next(each for each in found.checklist if each.kind == gate)


def test_the_checklist_shows_what_is_done_what_is_not_and_what_cannot_be_checked() -> None:
    one = FORMS["externaldata"]
    grants = Policy.parse(f'[{{"ObjectId": "{MINE.object_id}", "AllowedUsages": "ExternalDataRequest"}}]')

    def check(snapshot: Snapshot, assigned: list[str] | None = None) -> Template:
        return fill(
            one,
            field_values(one),
            MINE,
            DB,
            place=PLACE,
            snapshot=snapshot,
            observed=Observations() if assigned is None else Observations(assigned=assigned),
        )

    nothing, cluster = Snapshot({DB: None, Scope.cluster(): None}), Scope.cluster()
    assert item(check(Snapshot({DB: grants})), "grant").state == "done"
    assert item(check(Snapshot({cluster: grants, DB: None})), "grant").state == "done"
    assert item(check(Snapshot({})), "grant").state == "not checked"
    missing = item(check(nothing), "grant")
    assert missing.state == "not done"
    assert missing.fixes == (f"%kqlmi grant {MINE.object_id} ExternalDataRequest --database=Samples --on=here",)
    assert item(check(nothing), "assignment").state == "not checked"
    assert item(check(nothing, [MINE.object_id]), "assignment").state == "done"
    assert item(check(nothing, []), "assignment").state == "not done"
    assert item(check(nothing), "callout").state == "not checked"
    text = str(check(nothing, []))
    assert text.count("[ ]") == 2
    assert "(documented)" in text
    assert "inferred" in str(template(FORMS["inline_external_table"]))


def test_a_cluster_only_usage_is_granted_at_the_cluster() -> None:
    one = FORMS["python.external_artifacts"]
    snapshot = Snapshot({DB: None, Scope.cluster(): None})
    found = fill(one, field_values(one), MINE, DB, place=PLACE, snapshot=snapshot)
    assert item(found, "grant").fixes == (f"%kqlmi grant {MINE.object_id} SandboxArtifacts --cluster --on=here",)


def test_a_command_of_the_ingestion_endpoint_states_where_it_runs() -> None:
    one = FORMS["list_blobs"]
    found = fill(one, {"uri": VALUES["uri"]}, MINE, DB, place=PLACE, snapshot=Snapshot({}))
    ingest = "https://ingest-c.westeurope.kusto.windows.net"
    assert item(found, "endpoint").fixes == (f"%kqlmi connect {ingest} --database=Samples",)
    assert found.cell.startswith("%%kqlmi --database=Samples\n")
    there = fill(one, {"uri": VALUES["uri"]}, MINE, DB, place=Place("there", ingest, "", ingest), snapshot=Snapshot({}))
    assert item(there, "endpoint").state == "done"
    assert found.text == there.text
    assert there.cell.startswith("%%kqlmi --database=Samples --on=there\n")
