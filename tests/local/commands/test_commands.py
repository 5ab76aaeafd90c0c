import itertools
import json
import threading
import time
from typing import Any

import pytest

from tests.endless import ENDLESS

CALLOUT = '[{"CalloutType": "sql", "CalloutUriRegex": "a\\\\\\\\.b", "CanCall": %s}]'


def test_databases_are_shown_to_those_who_may_see_them(cluster: Any, connect: Any, client: Any) -> None:
    rows = client.mgmt(".show databases", "My other db")
    assert [(row["DatabaseName"], row["IsCurrent"]) for row in rows] == [("Samples", 0), ("My other db", 1)]
    viewer = connect(cluster, cluster.token_for("viewer", database="My other db"))
    assert [row["DatabaseName"] for row in viewer.mgmt(".show databases")] == ["My other db"]
    columns = "DatabaseName PersistentStorage Version IsCurrent DatabaseAccessMode PrettyName ReservedSlot1 DatabaseId"
    assert [*rows[0]] == [*columns.split(), "InTransitionTo", "SuspensionState"]


def test_databases_are_created_once_and_dropped(client: Any) -> None:
    client.mgmt(".create database ['New one']")
    assert client.refusal(".create database ['NEW ONE']").code == "BadRequest"
    client.mgmt(".create database ['NEW ONE'] ifnotexists")
    assert client.policy("database ['new one']") == "null"
    client.mgmt(".drop database ['new ONE']")
    assert client.refusal(".drop database ['new one']").code == "BadRequest_DatabaseNotExist"
    assert client.refusal(".create database ['']").code == "General_BadRequest"


def test_a_table_is_created_filled_queried_and_dropped(client: Any) -> None:
    schema = "a: string, ['b c']: long, d: datetime, t: timespan, r: real, g: guid, y: dynamic, o: bool, i: int"
    client.mgmt(f".create table T ({schema})")
    guid = "11111111-1111-1111-1111-111111111111"
    first = (
        f'"it\'s, ""x""",9007199254740993,2020-01-01T00:00:00.123456Z,-1.02:03:04,NaN,{guid},"{{""k"": [1]}}",true,-5'
    )
    client.mgmt(f".ingest inline into table T <|\n{first}\n,,,,,,,,\n")
    filled, empty = client.query("T | sort by i desc nulls last")
    assert list(filled.values()) == [
        *('it\'s, "x"', 9007199254740993, "2020-01-01T00:00:00.1234560Z", "-1.02:03:04", "NaN", guid),
        *({"k": [1]}, True, -5),
    ]
    assert list(empty.values()) == ["", *[None] * 8]
    assert client.mgmt(".show tables | project TableName") == [{"TableName": "T"}]
    assert client.mgmt(".drop table T") == []
    assert client.refusal(".drop table T").code == "BadRequest_EntityNotFound"
    assert client.mgmt(".drop table T ifexists") == []
    assert "resolve" in client.refusal("T", query=True).description


def test_a_query_fills_a_table(client: Any) -> None:
    (row,) = client.mgmt(".set-or-append T <| datatable(x: long, s: string) [1, 'a', 2, h'b']")
    assert row["RowCount"] == 2
    client.mgmt(".set-or-append T <| T | where x == 2")
    client.mgmt(".append T <| print x = 9, s = 'c'")
    assert [row["x"] for row in client.query("T | sort by x asc")] == [1, 2, 2, 9]
    assert client.refusal(".set T <| print 1").code == "BadRequest"
    assert "schema" in client.refusal(".append T <| print 'x'").description
    assert client.refusal(".append Nope <| print 1").code == "BadRequest_EntityNotFound"
    client.mgmt(".set U <| T | count")
    assert client.query("U") == [{"Count": 4}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".create table t (x: long)", "case"),
        (".create table V (x: long, X: long)", "case"),
        (".create table V (x: decimal)", "decimal"),
        (".create table V (x: datetime) | count", ""),
        (".ingest inline into table T <| 1\n2,3", "Inconsistent number of fields"),
        (".set-or-append W <| print t = 1tick", "seventh"),
        (".create table V ([''] : int)", "empty"),
        (".create table [''] (x: int)", "empty"),
        (r".create table V (['a\ud800b']: int)", "surrogate"),
        (r".create table ['a\ud800b'] (x: int)", "surrogate"),
        (r".set V <| print x = '\ud800'", "surrogate"),
        (r'.set V <| print x = dynamic({"a": "\ud800"})', "surrogate"),
        ('.ingest inline into table T <| "1"2', "CSV"),
    ],
)
def test_what_the_engine_would_change_is_refused(client: Any, text: str, says: str) -> None:
    client.mgmt(".create table T (x: long)")
    if says:
        assert says in client.refusal(text).description
        assert client.query("T | count") == [{"Count": 0}]
    else:
        assert client.mgmt(text) == [{"Count": 1}]


def test_granted_roles_take_effect_and_end(cluster: Any, connect: Any, client: Any) -> None:
    token = cluster.token_for("viewer", database="My other db")
    someone = connect(cluster, token)
    fqn = someone.query("print x = current_principal()", "My other db")[0]["x"]
    refused = someone.refusal("print 1", query=True)
    assert (refused.status, refused.code) == (403, "Forbidden")
    assert fqn in refused.description
    (row,) = client.mgmt(f".add database Samples viewers ('{fqn}')")
    assert (row["Role"], row["PrincipalFQN"]) == ("Database Samples Viewer", fqn)
    assert someone.query("print x = 1") == [{"x": 1}]
    assert [row["Role"] for row in someone.mgmt(".show principal roles", None)] == ["Database Viewer"] * 2
    assert client.mgmt(".show database Samples principals | count") == [{"Count": 1}]
    client.mgmt(f".drop database Samples viewers ('{fqn.partition(';')[0]}')")
    assert someone.refusal("print 1", query=True).status == 403
    assert client.refusal(".add database Samples viewers ('nobody')").code == "General_BadRequest"
    assert client.refusal(".add database Samples kings ('aaduser=a')").code == "BadRequest_SyntaxError"


def test_a_managed_identity_is_known_by_either_id(cluster: Any, client: Any) -> None:
    loader = cluster.identities[1]
    (row,) = client.mgmt(f".add database Samples ingestors ('aadapp={loader.client_id}')")
    assert (row["PrincipalDisplayName"], row["PrincipalObjectId"]) == ("loader", loader.object_id)


COMMANDS = (
    ".show cluster policy managed_identity",
    ".show database Samples policy managed_identity",
    ".alter-merge database Samples policy managed_identity '[]'",
    ".add database Samples viewers ('aaduser=a@b.example')",
)


@pytest.mark.parametrize(
    ("role", "database", "allowed"),
    [
        ("admin", None, (True, True, True, True)),
        ("monitor", None, (True, True, False, False)),
        ("monitor", "Samples", (False, True, False, False)),
        ("viewer", None, (False, True, False, False)),
        ("viewer", "Samples", (False, True, False, False)),
        ("viewer", "My other db", (False, False, False, False)),
        ("database admin", "Samples", (False, True, False, True)),
        ("database admin", None, (False, True, False, True)),
        ("database admin", "My other db", (False, False, False, False)),
    ],
)
def test_each_role_may_do_what_is_documented(
    cluster: Any, connect: Any, role: str, database: str | None, allowed: tuple[bool, ...]
) -> None:
    someone = connect(cluster, cluster.token_for(role, database=database))
    for text, may in zip(COMMANDS, allowed, strict=True):
        if may:
            someone.mgmt(text)
        else:
            error = someone.refusal(text)
            assert (error.status, error.code) == (403, "Forbidden")
            assert "is not authorized to perform operation" in error.description
    assert connect(cluster).policy("database Samples") == ("[]" if role == "admin" else "null")


def test_a_token_is_never_given_for_an_unknown_role(cluster: Any) -> None:
    for role, database in (("king", None), ("admin", "Samples")):
        with pytest.raises(ValueError, match=r"use admin \(all databases\), monitor"):
            cluster.token_for(role, database=database)


WRITES = [
    ".alter cluster policy managed_identity '[]'",
    ".alter-merge database Samples policy managed_identity '[]'",
    ".delete cluster policy managed_identity",
    ".create table T (x: long)",
    ".set-or-append T <| print 1",
    ".ingest inline into table T <| 1",
    ".drop database Samples",
    ".add database Samples viewers ('aaduser=a')",
    ".alter cluster policy callout '[]'",
]


@pytest.mark.parametrize("text", WRITES)
@pytest.mark.parametrize("value", [True, "true"])
def test_request_readonly_allows_no_writes(client: Any, text: str, value: object) -> None:
    assert "request_readonly" in client.refusal(text, request_readonly=value).description
    assert client.mgmt(".show journal", request_readonly=True) == []


def test_the_journal_orders_changes_and_keeps_both_states(client: Any) -> None:
    for n, text in enumerate(
        (".alter cluster policy managed_identity '[]'", ".delete cluster policy managed_identity")
    ):
        client.mgmt(text, client_request_id=f"me;{n}")
    first, second = client.mgmt(".show journal")
    assert [first["ClientRequestId"], second["ClientRequestId"]] == ["me;0", "me;1"]
    assert (first["OriginalEntityState"], first["UpdatedEntityState"]) == ("null", "[]")
    assert (second["OriginalEntityState"], second["UpdatedEntityState"]) == ("[]", "null")
    assert first["ChangeCommand"] == ".alter cluster policy managed_identity '[]'"
    assert first["Principal"].startswith("aadapp=")
    for _ in range(40):
        client.mgmt(".delete cluster policy managed_identity")
    times = [row["EventTimestamp"] for row in client.mgmt(".show journal")]
    assert all(one < two for one, two in itertools.pairwise(times))
    assert client.mgmt(".show journal | where EventTimestamp <= now() | count") == [{"Count": 42}]


def test_requests_are_listed_for_their_owners_and_for_monitors(cluster: Any, connect: Any, client: Any) -> None:
    viewer = connect(cluster, cluster.token_for("viewer", database="Samples"))
    viewer.query("print x = h'secret'", client_request_id="mine;1")
    viewer.refusal("Nope", query=True)
    client.mgmt(".show version", client_request_id="yours;1")
    failed = {row["Text"]: (row["State"], row["FailureReason"]) for row in viewer.mgmt(".show queries")}
    assert failed["print x = h'****'"] == ("Completed", "")
    assert failed["Nope"][0] == "Failed"
    assert all("yours" not in row["ClientActivityId"] for row in viewer.mgmt(".show commands-and-queries"))
    assert client.mgmt(".show queries | where ClientActivityId == 'mine;1' | count") == [{"Count": 1}]
    (row,) = client.mgmt(".show commands | where ClientActivityId == 'yours;1'")
    assert (row["CommandType"], row["State"]) == ("VersionShow", "Completed")
    assert client.mgmt(".show commands-and-queries | where Text has 'version' or Text has 'secret' | count")


def test_a_running_query_is_cancelled_by_its_client_request_id(cluster: Any, connect: Any, client: Any) -> None:
    errors: list[Any] = []
    owner = connect(cluster, cluster.token_for("viewer", database="Samples"))
    owner.query("print strcat('the engine', ' is loaded')")
    thread = threading.Thread(
        target=lambda: errors.append(owner.refusal(ENDLESS, query=True, client_request_id="long;1"))
    )
    thread.start()
    while not client.mgmt(".show running queries"):
        time.sleep(0.02)
    stranger = connect(cluster, cluster.token_for("viewer", database="Samples"))
    assert stranger.mgmt(".cancel query 'long;1'")[0]["RunningQueryCanceled"] == 0
    (row,) = client.mgmt(".cancel query 'long;1' with (reason = 'too long')")
    assert row == {"ClientRequestId": "long;1", "ReasonPhrase": "too long", "RunningQueryCanceled": 1}
    thread.join()
    assert errors[0].code == "BadRequest_QueryCanceled"
    assert "too long" in errors[0].description
    assert client.mgmt(".show queries | where ClientActivityId == 'long;1' | project State") == [{"State": "Canceled"}]
    assert client.mgmt(".cancel query 'long;1'")[0]["RunningQueryCanceled"] == 0


def test_callout_rules_are_shown_replaced_merged_and_deleted(client: Any) -> None:
    (row,) = client.mgmt(f".alter cluster policy callout '{CALLOUT % 'true'}'")
    assert (row["PolicyName"], row["EntityType"], row["ChildEntities"]) == ("CalloutPolicy", "", "")
    assert json.loads(row["Policy"]) == [{"CalloutType": "sql", "CalloutUriRegex": "a\\.b", "CanCall": True}]
    (row,) = client.mgmt(f".alter-merge cluster policy callout '{CALLOUT % 'false'}'")
    assert [one["CanCall"] for one in json.loads(row["Policy"])] == [False]
    own, *predefined = client.mgmt(".show cluster policy callout")
    assert own["EntityType"] == "Cluster"
    assert {row["EntityType"] for row in predefined} == {"Cluster immutable policy"}
    types = [json.loads(row["Policy"])[0]["CalloutType"] for row in predefined]
    assert types == ["kusto", "kusto", "kusto", "sql", "sql", "external_data", "azure_digital_twins"]
    assert client.mgmt(".delete cluster policy callout")[0]["Policy"] == "null"
    for wrong in ("{}", "[1]", '[{"CalloutType": "sql"}]', CALLOUT % "1", (CALLOUT % "true").replace("sql", "fax")):
        assert client.refusal(f".alter cluster policy callout '{wrong}'").code == "General_BadRequest"


def test_the_cluster_describes_itself(reader: Any) -> None:
    assert "kqlmi local cluster" in reader.mgmt(".show version")[0]["ProductVersion"]
    assert reader.mgmt(".show cluster | project IsAdmin") == [{"IsAdmin": 1}]


@pytest.mark.parametrize(
    "text",
    [".show capacities", ".show databases details", ".create view V on table T { T }", ".drop tablets"],
)
def test_an_unknown_command_is_refused(reader: Any, text: str) -> None:
    error = reader.refusal(text)
    assert (error.status, error.code) == (400, "BadRequest_SyntaxError")


def test_concurrent_merges_are_all_kept(client: Any) -> None:
    usages = ["SqlRequest", "AzureAI", "ExportRequest", "ExternalTable", "DataConnection", "FutureFlow"]

    def grant(usage: str) -> None:
        array = f'[{{"ObjectId": "system", "AllowedUsages": "{usage}"}}]'
        client.mgmt(f".alter-merge cluster policy managed_identity '{array}'")

    threads = [threading.Thread(target=grant, args=(usage,)) for usage in usages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (held,) = json.loads(client.policy())
    assert sorted(held["AllowedUsages"].split(", ")) == sorted(usages)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [(".whoami", "'whoami'"), (".show tabel A", "'tabel'"), (".show", "ends too early"), (".alter x y", "'x'")],
)
def test_an_error_for_a_typo_names_the_unknown_word(reader: Any, text: str, culprit: str) -> None:
    detail = reader.refusal(text).description
    assert culprit in detail
    assert "expected" not in detail
    assert len(detail) < 200


def test_a_table_gains_columns_and_keeps_its_rows(client: Any) -> None:
    client.mgmt(".create-merge table T (a: string)")
    client.mgmt(".ingest inline into table T <| x")
    assert (
        client.mgmt(".create-merge table T (a: string, n: long, s: string)")[0]["Schema"] == "a:string,n:long,s:string"
    )
    assert client.query("T") == [{"a": "x", "n": None, "s": ""}]
    assert client.refusal(".create-merge table T (a: long)").code == "BadRequest"
    assert "differ only in case" in client.refusal(".create-merge table T (N: long)").description
    assert client.mgmt(".create-merge table T (n: long)")[0]["Schema"] == "a:string,n:long,s:string"
