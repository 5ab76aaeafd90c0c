"""Tests of finding identities in scripts, ARM templates, policies as JSON, Bicep files and LightIngest lines."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.model.kql import quoting
from kqlmi.model.statement import Statement
from kqlmi.model.uses.documents import DocumentKind, uses
from kqlmi.model.uses.references import named_by
from tests.model.uses.test_references import SYS, URL, WHOLE, A, B
from tests.work import grows_no_faster_than_its_input

RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/loader"
SCRIPT = f".create external table D kind=delta (h'{SYS}')\n\n.alter table T policy update '[{{\"ManagedIdentity\":\"{A}\"}}]'"
ENTRY = f'[{{"ObjectId":"{A}","AllowedUsages":"All"}},{{"ObjectId":"system","AllowedUsages":"AzureAI"}}]'


def found(text: str, kind: DocumentKind = "kql") -> list[tuple[str, str | None, int]]:
    statement = Statement(text)
    return [(one.flow, one.identity, statement.line(one.start)) for one in named_by(uses(text, kind))]


def template(**properties: object) -> str:
    kind = properties.pop("kind", None)
    resource = {"type": "Microsoft.Kusto/clusters/databases/scripts", "properties": properties}
    return json.dumps(
        {"$schema": "deploymentTemplate.json#", "resources": [resource | ({"kind": kind} if kind else {})]}, indent=1
    )


JSON: list[tuple[str, list[tuple[str, str | None, int]]]] = [
    (template(scriptContent=SCRIPT), [("external_table.delta", "system", 7), ("update_policy", A, 7)]),
    (template(scriptContent=f"[concat('.list blobs (''{SYS}', ''') ', variables('x'))]"), [("list_blobs", "system", 7)]),
    (template(scriptContent=f"[concat('.list blobs (''{URL};managed_identity=', parameters('id'), ''')')]"), [("list_blobs", None, 7)]),
    (template(scriptContent=f".alter cluster policy managed_identity '{ENTRY}'"), [("ManagedIdentity policy", A, 7), ("ManagedIdentity policy", "system", 7)]),
    (template(managedIdentityResourceId=RESOURCE, kind="EventHub"), [("dataconnection.eventhub", RESOURCE, 7)]),
    (template(managedIdentityResourceId=RESOURCE, kind="EventGrid"), [("dataconnection.eventgrid", RESOURCE, 7)]),
    (template(managedIdentityResourceId=A, kind="CosmosDb"), [("dataconnection.cosmosdb", A, 7)]),
    (template(managedIdentityResourceId="[resourceId('x', 'y')]", kind="CosmosDb"), [("dataconnection.cosmosdb", None, 7)]),
    (template(managedIdentityResourceId=RESOURCE, scriptUrl="https://a/b"), [("unknown flow: managedIdentityResourceId", RESOURCE, 7)]),
    (template(other=SYS), [("unknown flow: other", "system", 7)]),
    (template(description="a text; managed_identity=system"), []),
    (f"// a comment\n/* '\n{SYS} */ [\n\"{SYS}\"]", [("unknown flow: string", "system", 4)]),
    (ENTRY.replace(",{", ",\n{"), [("ManagedIdentity policy", A, 1), ("ManagedIdentity policy", "system", 2)]),
    (f'[{{"Query": "externaldata(x:int)[\'{SYS}\']", "ManagedIdentity": "{A}"}}]', [("externaldata", "system", 1), ("update_policy", A, 1)]),
    (f'{{"IsEnabled": true, "Hot": "1.00:00:00", "ManagedIdentity": "{A}"}}', [("query_acceleration", A, 1)]),
    ('{"objectId": "x", "tenantId": "y"}', []),
    ("[]", []),
    ("null", []),
]  # fmt: skip
BICEP: list[tuple[str, list[tuple[str, str | None, int]]]] = [
    (f"param id string\nvar a = '{SYS}'", [("unknown flow: string", "system", 2)]),
    (f"scriptContent: '''\n{SCRIPT}\n'''", [("external_table.delta", "system", 2), ("update_policy", A, 4)]),
    (f"scriptContent: '.list blobs (\\'{SYS}\\')'", [("list_blobs", "system", 1)]),
    (f"x: '.list blobs (\\'{URL};managed_identity=${{id}}\\')'", [("list_blobs", None, 1)]),
    (f"x: '.list blobs (\\'{URL};managed_identity=${{f('a')}}\\')'\ny: '{SYS}'", [("list_blobs", None, 1), ("unknown flow: y", "system", 2)]),
    (f"kind: 'EventHub'\nproperties: {{\n managedIdentityResourceId: '{RESOURCE}'\n}}", [("dataconnection.eventhub", RESOURCE, 3)]),
    (f"// it's '{SYS}'\n/* '{SYS}' */", []),
    ("managedIdentityResourceId: identity.id", []),
    (f"x: '\\u{{2e}}list blobs (\"{SYS}\")'", [("list_blobs", "system", 1)]),
]  # fmt: skip
SCRIPTS: list[tuple[str, list[tuple[str, str | None, int]]]] = [
    (SCRIPT, [("external_table.delta", "system", 1), ("update_policy", A, 3)]),
    (f".execute database script <|\n{SCRIPT}", [("external_table.delta", "system", 2), ("update_policy", A, 4)]),
    (f"T\n\n.alter-merge database D policy managed_identity '{ENTRY[:30]}' '{ENTRY[30:]}'", [("ManagedIdentity policy", A, 3), ("ManagedIdentity policy", "system", 3)]),
    (f".execute cluster script <|\n.alter cluster policy managed_identity ```{ENTRY}```", [("ManagedIdentity policy", A, 2), ("ManagedIdentity policy", "system", 2)]),
    (f'LightIngest.exe "https://ingest-c.kusto.windows.net" -source:"{URL}" -ingestmi:{B}', [("ingest.lightingest", B, 1)]),
    (f"set x=1\nlightingest https://a -db:D -IngestMI:system\nLightIngest https://a -mi:{A} -storageMi:{A}", [("ingest.lightingest", "system", 2)]),
    ("LightIngest https://a\n-ingestmi:system", []),
    (".show cluster policy managed_identity | where Policy has '{\"a\":\"b\"}'", []),
]  # fmt: skip
CASES: list[tuple[str, DocumentKind, list[tuple[str, str | None, int]]]] = [
    *[(text, "json", expected) for text, expected in JSON],
    *[(text, "bicep", expected) for text, expected in BICEP],
    *[(text, "kql", expected) for text, expected in SCRIPTS],
]


@pytest.mark.parametrize(("text", "kind", "expected"), CASES)
def test_each_file_uses_exactly_the_identities_written_in_it(
    text: str, kind: DocumentKind, expected: list[tuple[str, str | None, int]]
) -> None:
    assert found(text, kind) == expected


def test_the_database_of_a_lightingest_line_is_the_one_that_it_names() -> None:
    (one,) = named_by(uses('LightIngest https://a -database:"My" -ingestmi:system\nLightIngest x -database:Other'))
    assert one.database == "My"


# A string that is no command or query is a value of the template.
STATEMENTS = [text for text in WHOLE if Statement(text).references and not text.startswith("[")]


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_command_or_query_uses_the_same_in_an_arm_template_and_in_bicep(text: str) -> None:
    expected = sorted((one.flow, str(one.identity)) for one in Statement(text).references)
    script = json.dumps({"scriptContent": text})
    bicep = f"scriptContent: {quoting.literal(text).replace('$', chr(92) + '$')}"
    assert sorted((flow, str(identity)) for flow, identity, _ in found(script, "json")) == expected
    assert sorted((flow, str(identity)) for flow, identity, _ in found(bicep, "bicep")) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("", "line 1, column 1"),
        ("[" * 100_000, "JSON"),
        ('{"a":1,"a":2}', "twice"),
    ],
)
def test_a_file_that_is_not_json_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(uses(text, "json"))


def test_a_secret_is_in_no_error_and_no_reference() -> None:
    secret = "sig=" + "9c2d1b7e0a3f4c5d6e7f8a9b0c1d2e3f"
    with pytest.raises(InputError) as caught:
        list(uses(f'{{"a": "https://a/b?{secret}" oops', "json"))
    assert secret not in str(caught.value)
    text = json.dumps(
        {
            "x": f"{URL}/f?{secret};managed_identity={secret}",
            "y": f".list blobs ('{URL}?{secret};managed_identity=system')",
        }
    )
    assert secret not in str(named_by(uses(text, "json")))


@given(st.text(st.characters(exclude_categories=[])), st.sampled_from(["kql", "bicep"]))
def test_no_text_raises(text: str, kind: DocumentKind) -> None:
    assert all(0 <= one.start <= one.end <= len(text) for one in named_by(uses(text, kind)))


@given(
    st.recursive(
        st.none() | st.text() | st.sampled_from([SCRIPT, SYS, ENTRY, f"[concat('{SYS}')]"]),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["ObjectId", "AllowedUsages", "kind", "x", "managedIdentityResourceId"]), inner
            )
        ),
    )
)
def test_no_json_raises_and_every_place_lies_in_it(value: object) -> None:
    text = json.dumps(value)
    assert all(0 <= one.start <= one.end <= len(text) for one in named_by(uses(text, "json")))


@pytest.mark.parametrize("kind", ["bicep", "kql"])
@pytest.mark.parametrize("piece", ["'", "'''", "${", "'${", "/*", "//", "\\u{", "LightIngest -ingestmi ", "x: 'a'\n"])
def test_a_long_bicep_file_or_script_is_read_in_linear_time(piece: str, kind: DocumentKind) -> None:
    def reading(size: int) -> Callable[[], object]:
        return lambda: list(uses(piece * (size // len(piece)), kind))

    assert grows_no_faster_than_its_input(reading, 4_000)
