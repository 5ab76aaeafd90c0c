import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kqlmi import local
from kqlmi.local.engine import kqltext

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entry(object_id: str, usages: str, **more: object) -> dict[str, object]:
    return {"ObjectId": object_id, "AllowedUsages": usages, **more}


def payload(*entries: dict[str, object]) -> str:
    return kqltext.quote(json.dumps(entries))


def granted(client: Any, scope: str = "cluster") -> list[tuple[str, str]]:
    return [(one["DisplayName"], one["AllowedUsages"]) for one in json.loads(client.policy(scope)) or []]


def test_the_answer_is_the_resulting_policy_with_what_the_service_fills_in(client: Any, cluster: Any) -> None:
    loader = cluster.identities[1]
    text = f".alter database Samples policy managed_identity {payload(entry(loader.object_id.upper(), 'sqlrequest', Note=1))}"
    (row,) = client.mgmt(text)
    policy = [
        {
            "ObjectId": loader.object_id,
            "ClientId": loader.client_id,
            "TenantId": loader.tenant_id,
            "DisplayName": "loader",
            "IsSystem": False,
            "AllowedUsages": "SqlRequest",
            "Note": 1,
        }
    ]
    assert json.loads(row.pop("Policy")) == policy
    assert row == {
        "PolicyName": "ManagedIdentityPolicy",
        "EntityName": "[Samples]",
        "ChildEntities": "[]",
        "EntityType": "Database",
    }


def test_no_policy_and_the_empty_policy_are_two_states(client: Any) -> None:
    assert client.policy() == "null"
    client.mgmt(".alter cluster policy managed_identity '[]'")
    assert client.policy() == "[]"
    (row,) = client.mgmt(".delete cluster policy managed_identity")
    assert row["Policy"] == client.policy() == "null"
    client.mgmt(".alter-merge cluster policy managed_identity '[]'")
    assert client.policy() == "[]"


def test_alter_replaces_and_alter_merge_only_adds(client: Any, cluster: Any) -> None:
    system, loader, exporter = (one.object_id for one in cluster.identities)
    client.mgmt(f".alter cluster policy managed_identity {payload(entry('system', 'All'), entry(loader, 'AzureAI'))}")
    client.mgmt(
        ".alter-merge cluster policy managed_identity "
        + payload(entry(system, "SqlRequest, all"), entry(exporter, "ExportRequest"))
    )
    assert granted(client) == [("system", "All, SqlRequest"), ("loader", "AzureAI"), ("exporter", "ExportRequest")]
    client.mgmt(f".alter cluster policy managed_identity {payload(entry(loader, 'All'))}")
    assert granted(client) == [("loader", "All")]


def test_an_identity_that_is_listed_twice_gets_both_usages(client: Any, cluster: Any) -> None:
    twice = payload(entry("system", "All"), entry(cluster.identities[0].object_id, "SqlRequest"))
    client.mgmt(f".alter cluster policy managed_identity {twice}")
    assert granted(client) == [("system", "All, SqlRequest")]


USAGES = st.lists(st.sampled_from(["All", "SqlRequest", "ExternalTable", "FutureFlow", "AzureAI"]), min_size=1)
ENTRIES = st.lists(st.tuples(st.sampled_from([0, 1, 2]), USAGES), max_size=5)


@given(first=ENTRIES, second=ENTRIES)
@LAW
def test_merge_is_idempotent_and_never_removes(client: Any, cluster: Any, first: Any, second: Any) -> None:
    def written(entries: Any) -> str:
        return payload(*(entry(cluster.identities[n].object_id, ",".join(usages)) for n, usages in entries))

    def pairs() -> set[tuple[str, str]]:
        return {(name, usage) for name, usages in granted(client) for usage in usages.split(", ")}

    client.mgmt(f".alter cluster policy managed_identity {written(first)}")
    before = pairs()
    client.mgmt(f".alter-merge cluster policy managed_identity {written(second)}")
    once = client.policy()
    wanted = {(cluster.identities[n].display_name, usage) for n, usages in second for usage in usages}
    assert pairs() == before | wanted
    client.mgmt(f".alter-merge cluster policy managed_identity {written(second)}")
    assert client.policy() == once


NAMES = [
    "Samples",
    "['Samples']",
    '["Samples"]',
    "[@'Samples']",
    "[h'Samples']",
    "[ 'Sam' \"ples\" ]",
    "[\n'Samp' // a comment\n'les']",
    "'Samples'",
    '"Samples"',
    "@'Samples'",
    "[Samples]",
    "[ Samples ]",
    "sAMPLES",
    "['\\x53amples']",
    "[```Samples```]",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_of_a_name_means_the_same_in_the_four_commands(client: Any, name: str) -> None:
    for text, policy in (
        (f".alter database {name} policy managed_identity '[]'", "[]"),
        (f".show database {name} policy managed_identity", "[]"),
        (f".delete database {name} policy managed_identity", "null"),
        (f".alter-merge database {name} policy managed_identity '[]'", "[]"),
    ):
        (row,) = client.mgmt(text, "My other db")
        assert (row["EntityName"], row["Policy"]) == ("[Samples]", policy)
    assert client.policy("database ['My other db']") == "null"


def test_without_a_name_the_database_in_context_is_used(client: Any) -> None:
    client.mgmt(".alter database policy managed_identity '[]'", "My other db")
    client.mgmt(".alter-merge database policy managed_identity '[]'", "My other db")
    (row,) = client.mgmt(".show database policy managed_identity", "my OTHER db")
    assert (row["EntityName"], row["Policy"]) == ("[My other db]", "[]")
    assert client.policy("database Samples") == "null"
    (row,) = client.mgmt(".show database policy managed_identity", None)
    assert row["EntityName"] == "[Samples]"


PAYLOADS = [
    '\'[{"ObjectId": "system", "AllowedUsages": "All"}]\'',
    "\"[ { 'ObjectId' : 'system', 'AllowedUsages' : 'All' } ]\"",
    '"[{\\"ObjectId\\":\\"system\\",\\"AllowedUsages\\":\\"All\\"}]"',
    '@\'[{"ObjectId":"system","AllowedUsages":"All"}]\'',
    '@"[{""ObjectId"":""system"",""AllowedUsages"":""All""}]"',
    'h\'[{"ObjectId":"system","AllowedUsages":"All"}]\'',
    "H@\"[{'ObjectId':'system','AllowedUsages':'All'}]\"",
    '```\n[\n  {\n    "ObjectId": "SYSTEM",\n    "AllowedUsages": "all"\n  }\n]\n```',
    "```\r\n[{'ObjectId':'system','AllowedUsages':'All'}]\r\n```",
    '~~~[{"ObjectId":"system","AllowedUsages":" All , ALL "}]~~~',
    '\'[{"ObjectId":"\\\\u0073ystem","AllowedUsages":"All"}]\'',
    '\'[{"\\x4fbjectId":"system","\\101llowedUsages":"\\u0041ll"}]\'',
]


@pytest.mark.parametrize("literal", PAYLOADS)
@pytest.mark.parametrize("verb", ["alter", "alter-merge"])
def test_every_payload_literal_means_the_same(client: Any, verb: str, literal: str) -> None:
    client.mgmt(f".{verb} database Samples policy managed_identity {literal}")
    assert granted(client, "database Samples") == [("system", "All")]


@pytest.mark.parametrize(
    "text",
    [
        ".show cluster policy managed_identity",
        " \t. show\tcluster\r\npolicy\fmanaged_identity ",
        "// why\n.show cluster policy managed_identity // and because",
        "//one\r//two\u2028.show // three\n cluster policy // four\nmanaged_identity",
        "\ufeff.show\u00a0cluster\u200bpolicy\u3000managed_identity",
        ".show cluster policy managed_identity | project Policy",
        ".show cluster policy managed_identity|project Policy // end",
        ".alter cluster policy managed_identity'[]'|project Policy='null'",
    ],
)
def test_blanks_and_comments_are_allowed_anywhere(client: Any, text: str) -> None:
    (row,) = client.mgmt(text)
    assert row["Policy"] == "null"


BROKEN = [
    ".alter managed_identity policy cluster '[]'",
    ".alter cluster managed_identity policy '[]'",
    ".alter policy managed_identity cluster '[]'",
    ".show managed_identity policy",
    ".SHOW cluster policy managed_identity",
    ".show Cluster policy managed_identity",
    ".show cluster policy Managed_Identity",
    ".show cluster policy managed-identity",
    ".alter - merge cluster policy managed_identity '[]'",
    ".alter merge cluster policy managed_identity '[]'",
    ".alter -merge cluster policy managed_identity '[]'",
    ".alter_merge cluster policy managed_identity '[]'",
    ".alter-merge-x cluster policy managed_identity '[]'",
    ".alter cluster policy managed_identity",
    ".alter cluster policy managed_identity '[]' extra",
    ".alter cluster policy managed_identity '[]'; .show databases",
    ".alter cluster policy managed_identity '[]'\n.show databases",
    ".show cluster policy managed_identity '[]'",
    ".show cluster policy managed_identity\n\n.show databases",
    ".delete cluster policy managed_identity '[]'",
    ".alter cluster policy managed_identity dynamic([])",
    ".alter cluster policy managed_identity []",
    ".alter cluster policy managed_identity ('[]')",
    ".alter cluster policy managed_identity `[]`",
    ".alter cluster policy managed_identity \u2018[]\u2019",
    ".alter cluster policy managed_identity '[]",
    ".alter cluster policy managed_identity '[\n]'",
    ".alter cluster policy managed_identity @h'[]'",
    ".alter cluster policy managed_identity '[\\q]'",
    ".alter cluster policy managed_identity ```[]``",
    ".delete database policy managed_identity",
    ".show database {Samples} policy managed_identity",
    ".show database Sam ples policy managed_identity",
    ".show database My-other policy managed_identity",
    ".show database 12 policy managed_identity",
    ".show database 1d policy managed_identity",
    ".show database 11111111-1111-1111-1111-111111111111 policy managed_identity",
    ".show database Dätä policy managed_identity",
    ".show database [] policy managed_identity",
    ".show database ['Samples' policy managed_identity",
    ".show database [Sam\nples] policy managed_identity",
    ".show database policy policy managed_identity",
    ".show database schema policy managed_identity",
    ".show database true policy managed_identity",
    ".show database where policy managed_identity",
    ".alter database prettyname policy managed_identity '[]'",
    ".delete database timeline policy managed_identity",
    "#connect\n.show cluster policy managed_identity",
    "-- comment\n.show cluster policy managed_identity",
    "/* comment */ .show cluster policy managed_identity",
    "let x = 1; .show cluster policy managed_identity",
    "show cluster policy managed_identity",
    ".show database * policy managed_identity",
    ".show table T policy managed_identity",
    "",
    ".",
    "print 1",
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_command_is_a_syntax_error_and_changes_nothing(client: Any, text: str) -> None:
    error = client.refusal(text)
    assert (error.status, error.code) == (400, "BadRequest_SyntaxError")
    assert client.policy() == client.policy("database Samples") == "null"


def test_a_reserved_word_is_a_name_in_brackets(connect: Any) -> None:
    with local.start(databases=["policy", "schema", "true"]) as cluster:
        client = connect(cluster)
        for name in ("policy", "schema", "true"):
            assert client.policy(f"database ['{name}']") == "null"
        (row,) = client.mgmt(".delete database policy policy managed_identity", "schema")
        assert row["EntityName"] == "[policy]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON"),
        ("hello", "JSON"),
        ("null", "array"),
        ("{}", "array"),
        ("[1]", "object"),
        ("[null]", "object"),
        ("[{}]", "ObjectId"),
        ('[{"AllowedUsages": "All"}]', "ObjectId"),
        ('[{"ObjectId": "system"}]', "AllowedUsages"),
        ('[{"ObjectId": "", "AllowedUsages": "All"}]', "ObjectId"),
        ('[{"ObjectId": 5, "AllowedUsages": "All"}]', "ObjectId"),
        ('[{"ObjectId": "loader", "AllowedUsages": "All"}]', "'loader'"),
        ('[{"ObjectId": "11111111-1111-1111-1111-111111111111", "AllowedUsages": "All"}]', "11111111-1111"),
        ('[{"ObjectId": "system", "AllowedUsages": ""}]', "AllowedUsages"),
        ('[{"ObjectId": "system", "AllowedUsages": "All,"}]', "''"),
        ('[{"ObjectId": "system", "AllowedUsages": ["All"]}]', "AllowedUsages"),
        (
            '[{"ObjectId": "system", "AllowedUsages": "ExternalTables"}]',
            "'ExternalTables' is not a usage that this cluster knows",
        ),
        ('[{"ObjectId": "system", "AllowedUsages": "All", "x": 1e999}]', "1e999"),
        (f'[{{"ObjectId": "system", "AllowedUsages": "All", "x": {"1" * 5000}}}]', "out of range"),
        ('[{"ObjectId": "system", "AllowedUsages": "All", "x": "\\ud800"}]', "surrogate"),
        ('[{"ObjectId": "system", "AllowedUsages": "Zzz"}]', "'Zzz'"),
        ('[{"ObjectId": "system", "ObjectId": "system", "AllowedUsages": "All"}]', "twice"),
        ('[{"ObjectId": "system", "AllowedUsages": "All"},]', "JSON"),
        ('[{"ObjectId": "system", "AllowedUsages": "All"}] x', "JSON"),
        ("[" * 100 + "]" * 100, "deep"),
    ],
)
@pytest.mark.parametrize("verb", ["alter", "alter-merge"])
def test_a_payload_that_is_refused_names_the_culprit_and_changes_nothing(
    client: Any, verb: str, text: str, says: str
) -> None:
    client.mgmt(f".alter cluster policy managed_identity {payload(entry('system', 'All'))}")
    before = client.policy()
    error = client.refusal(f".{verb} cluster policy managed_identity {kqltext.quote(text)}")
    assert (error.status, error.code) == (400, "General_BadRequest")
    assert says in error.description
    assert client.policy() == before


def test_a_number_in_an_unknown_property_is_kept_to_the_last_digit(client: Any) -> None:
    array = payload({**entry("system", "All"), "x": 7}).replace(": 7", ": 0.1000000000000000000001")
    client.mgmt(f".alter cluster policy managed_identity {array}")
    assert '"x":0.1000000000000000000001}' in client.policy()
    (row,) = client.mgmt(".show cluster policy managed_identity | project Policy")
    assert row["Policy"] == client.policy()


def test_a_refused_usage_is_named_and_suggestions_are_left_to_the_client(client: Any) -> None:
    array = payload(entry("system", "ExternalTables"))
    detail = client.refusal(f".alter cluster policy managed_identity {array}").description
    assert "'ExternalTables'" in detail
    assert "did you mean" not in detail.lower()


def test_one_identity_that_is_not_assigned_refuses_the_whole_array(client: Any) -> None:
    stranger = "22222222-2222-2222-2222-222222222222"
    array = payload(entry("system", "All"), entry(stranger, "All"))
    assert stranger in client.refusal(f".alter-merge database Samples policy managed_identity {array}").description
    assert client.policy("database Samples") == "null"


def test_a_future_usage_is_known_only_if_the_cluster_was_started_with_it(client: Any, reader: Any) -> None:
    text = f".alter cluster policy managed_identity {payload(entry('system', 'futureflow'))}"
    client.mgmt(text)
    assert granted(client) == [("system", "FutureFlow")]
    assert "futureflow" in reader.refusal(text).description


@pytest.mark.parametrize("verb", ["show", "delete"])
def test_a_database_that_does_not_exist_is_400(client: Any, verb: str) -> None:
    error = client.refusal(f".{verb} database ['No such'] policy managed_identity")
    assert (error.status, error.code) == (400, "BadRequest_DatabaseNotExist")
    assert "'No such'" in error.description
    assert client.refusal(f".{verb} database [''] policy managed_identity").status == 400


@given(
    name=TEXT,
    shown=TEXT,
    usage=st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc"], exclude_characters=","), min_size=1),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_names_survive(connect: Any, name: str, shown: str, usage: str) -> None:
    if shown == "system":
        return
    with local.start(databases=[name], identities=[shown], usages=[usage]) as cluster:
        client = connect(cluster)
        scope = f"database [{kqltext.quote(name)}]"
        grant = payload(entry(cluster.identities[0].object_id, usage))
        (row,) = client.mgmt(f".alter-merge {scope} policy managed_identity {grant}", None)
        assert row["EntityName"] == f"[{name}]"
        (held,) = json.loads(client.policy(scope))
        assert held["DisplayName"] == shown
        assert held["AllowedUsages"].lower() == usage.strip().lower()
        assert client.query("print x = current_database()", name) == [{"x": name}]


def test_pipes_keep_types_and_see_all_rows(reader: Any) -> None:
    rows = reader.mgmt(
        ".show databases | where DatabaseName startswith h'Sa' | project DatabaseName, IsCurrent, DatabaseId"
    )
    assert [(row["DatabaseName"], row["IsCurrent"]) for row in rows] == [("Samples", 1), ("Sales", 0)]
    assert reader.mgmt(".show cluster policy managed_identity | project n = array_length(parse_json(Policy))") == [
        {"n": 2}
    ]
    assert reader.refusal(".show databases | nope").code == "BadRequest_SyntaxError"
    assert reader.refusal(".show databases | project Nope").code == "General_BadRequest"
