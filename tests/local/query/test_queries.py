import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from azure.kusto.data.response import KustoResponseDataSetV1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kqlmi.local.cluster import LocalCluster
from kqlmi.local.engine import kqltext
from kqlmi.local.http import wire
from kqlmi.local.query.expansion import Question
from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import Run
from kqlmi.local.values.tables import Table, columns
from tests.endless import ENDLESS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)

SLOW_ENOUGH = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

EXTREMES = [
    ("bool", "bool(null)", None),
    ("bool", "false", False),
    ("bool", "true", True),
    ("int", "int(null)", None),
    ("int", "int(-2147483648)", -(2**31)),
    ("int", "int(2147483647)", 2**31 - 1),
    ("long", "long(null)", None),
    ("long", "long(-9223372036854775808)", -(2**63)),
    ("long", "9223372036854775807", 2**63 - 1),
    ("long", "9007199254740993", 2**53 + 1),
    ("real", "real(null)", None),
    ("real", "real(nan)", "NaN"),
    ("real", "real(+inf)", "Infinity"),
    ("real", "real(-inf)", "-Infinity"),
    ("real", "5e-324", 5e-324),
    ("real", "-1.7976931348623157e308", -1.7976931348623157e308),
    ("decimal", "decimal(null)", None),
    ("decimal", "decimal(9.999999999999999999999999999999999)", "9.999999999999999999999999999999999"),
    ("decimal", "decimal(-1234567890123456789012345678901234)", "-1234567890123456789012345678901234"),
    ("string", "''", ""),
    ("string", "'\\u0000😀'", "\0😀"),
    ("datetime", "datetime(null)", None),
    ("datetime", "datetime(0001-01-01)", "0001-01-01T00:00:00.0000000Z"),
    ("datetime", "datetime(9999-12-31T23:59:59.9999999Z)", "9999-12-31T23:59:59.9999999Z"),
    ("datetime", "datetime(2020-02-29T12:34:56+02:00)", "2020-02-29T10:34:56.0000000Z"),
    ("datetime", "datetime(2020-02-29 12:34:56.1234567)", "2020-02-29T12:34:56.1234567Z"),
    ("timespan", "timespan(null)", None),
    ("timespan", "timespan(10675199.02:48:05.4775807)", "10675199.02:48:05.4775807"),
    ("timespan", "timespan(-10675199.02:48:05.4775808)", "-10675199.02:48:05.4775808"),
    ("timespan", "1tick", "00:00:00.0000001"),
    ("timespan", "-1.5h", "-01:30:00"),
    ("guid", "guid(null)", None),
    ("guid", "guid(FFFFFFFF-ffff-ffff-ffff-ffffffffffff)", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ("dynamic", "dynamic(null)", None),
    ("dynamic", "dynamic({'a': [9007199254740993, null, \"x\"]})", {"a": [2**53 + 1, None, "x"]}),
    ("dynamic", 'dynamic("text")', "text"),
]


@pytest.mark.parametrize(("kind", "literal", "value"), EXTREMES)
def test_the_extremes_of_each_type_arrive_unchanged(reader: Any, kind: str, literal: str, value: object) -> None:
    text = f"print x = {literal}"
    assert reader.types(text) == {"x": kind}
    assert reader.query(text) == [{"x": value}]
    if literal.startswith(("-1.5", "-1.7")):
        return
    assert reader.query(f"datatable(x: {kind}) [{literal}]") == [{"x": value}]


BEYOND_THE_ENGINE = {
    "datetime(9999-12-31T23:59:59.9999999Z)",
    "datetime(2020-02-29 12:34:56.1234567)",
    "timespan(10675199.02:48:05.4775807)",
    "timespan(-10675199.02:48:05.4775808)",
    "1tick",
}


@pytest.mark.parametrize(("kind", "literal", "value"), EXTREMES)
def test_the_engine_returns_a_value_unchanged_or_refuses_it(
    reader: Any, kind: str, literal: str, value: object
) -> None:
    text = f"print x = {literal} | extend y = 1"
    if kind == "decimal" or literal in BEYOND_THE_ENGINE:
        assert reader.refusal(text, query=True).status == 400
    else:
        assert reader.query(text) == [{"x": value, "y": 1}]


def test_a_text_is_repeated_as_often_as_requested(reader: Any) -> None:
    text = "print a = strrep('é😀', 2), b = strlen(strrep('xy', 1024)), c = strrep('', 5), d = strrep('x', 1)"
    assert reader.query(text) == [{"a": "é😀é😀", "b": 2048, "c": "", "d": "x"}]


@pytest.mark.parametrize("text", ["print int(2147483648)", "print 9223372036854775808", f"print decimal({'1' * 35})"])
def test_a_literal_out_of_range_is_refused(reader: Any, text: str) -> None:
    assert reader.refusal(text, query=True).status == 400


@pytest.mark.parametrize(
    "text",
    [
        "print decimal(0.1) + decimal(0.2)",
        "print todecimal('0.1')",
        "print todatetime('2020-01-01T00:00:00.1234567')",
        "print now() > datetime(2020-01-01T00:00:00.0000001)",
        "print todatetime('9999-12-31') + 10d",
        "range x from 1 to 100000000000 step 1 | count",
        "range x from 1 to 45000000 step 1 | count",
        "let n = 45000000; range x from 1 to n step 1 | count",
        "range x from 45000000 to 1 step -1 | count",
        "range t from datetime(1970-01-01) to now() step 1s | count",
        "print x = parse_json('1e999')",
        "print strrep('x', 1000000000)",
        "let n = 1000000000; print strrep('x', n)",
        "range n from 1000000000 to 1000000001 step 1 | extend x = strrep('x', n)",
        "print strrep(strrep(strrep('x', 1024), 1024), 1024)",
        "print strrep('x', 1025)",
    ],
)
def test_a_query_that_would_round_or_fill_the_memory_is_refused(reader: Any, text: str) -> None:
    assert reader.refusal(text, query=True).code == "General_BadRequest"


def _forms(value: str) -> list[str]:
    forms = [kqltext.quote(value), "h" + kqltext.quote(value)]
    forms.append("'" + "".join(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else c for c in value) + "'")
    if not set(value) & {"\r", "\n"}:
        single = value.replace("'", "''")
        forms.append(f"h@'{single}'")
    forms += [f"{f}{value}{f}" for f in ("```", "~~~") if f not in value and not value.endswith(f[0])]
    return forms


@given(value=TEXT)
@SLOW_ENOUGH
def test_every_literal_form_means_the_same_in_a_query(reader: Any, value: str) -> None:
    forms = _forms(value)
    columns = ", ".join(f"a{n} = {form}" for n, form in enumerate(forms))
    exact = reader.query(f"print {columns}")[0]
    engine = reader.query(f"print {columns} | extend e = strcat({forms[-1]}, '')")[0]
    assert set(exact.values()) == set(engine.values()) == {value}


def test_a_query_reads_tables_of_its_own_and_of_other_databases(reader: Any) -> None:
    assert reader.query("StormEvents | where State == h'FLORIDA' | count", "samples") == [{"Count": 2}]
    assert reader.query("database('field reports').Visits | count") == [{"Count": 2}]
    joined = (
        "StormEvents | join kind=inner (PopulationData) on State | summarize n = count() by State | sort by State asc"
    )
    assert [row["State"] for row in reader.query(joined)] == ["FLORIDA", "GEORGIA", "MISSISSIPPI"]


def test_the_default_database_is_the_first(reader: Any) -> None:
    for name in ("NetDefaultDB", None):
        assert reader.query("StormEvents | count", name) == [{"Count": 5}]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("NoSuchTable | count", "General_BadRequest", "NoSuchTable"),
        ("StormEvents | project nope", "General_BadRequest", "nope"),
        ("stormevents | count", "General_BadRequest", "StormEvents"),
        ("StormEvents | project state", "General_BadRequest", "State"),
        ("database('Nowhere').T", "BadRequest_DatabaseNotExist", "Nowhere"),
        ("cluster('help').database('Samples').StormEvents", "General_BadRequest", "cluster"),
        ("let d = 'Sales'; database(d).Orders", "General_BadRequest", "literal"),
        ("externaldata(x: string) ['https://a.example/b']", "General_BadRequest", "not that of a storage account"),
        ("StormEvents | | count", "BadRequest_SyntaxError", "SYN0002"),
        ("print x = 'open", "BadRequest_SyntaxError", "SYN0002"),
        ("", "BadRequest_SyntaxError", "empty"),
        ("// only a comment", "BadRequest_SyntaxError", "empty"),
        ("// a comment\n.show databases", "BadRequest", "/v1/rest/mgmt"),
        ("print 'a' * 2", "General_BadRequest", "Semantic error"),
    ],
)
def test_a_wrong_query_is_refused_in_kustos_shape(reader: Any, text: str, code: str, says: str) -> None:
    error = reader.refusal(text, query=True)
    assert (error.code, error.status) == (code, 400)
    assert says in error.description


def test_a_missing_database_is_400(reader: Any) -> None:
    error = reader.refusal("print 1", "Nowhere", query=True)
    assert (error.status, error.code) == (400, "BadRequest_DatabaseNotExist")


def test_the_caller_can_query_its_identity(reader: Any) -> None:
    row = reader.query("print d = current_principal_details(), p = current_principal(), x = 1")[0]
    assert row["d"]["FQN"] == row["p"]
    assert row["p"].startswith("aadapp=")
    assert reader.query("print p = tostring(current_principal_details().FQN)")[0]["p"] == row["p"]


def test_parameters_are_values_and_never_text(reader: Any) -> None:
    text = "declare query_parameters(s: string, n: long = 3, t: datetime = datetime(2020-01-01)); print s, n, t"
    hostile = "' | StormEvents"
    row = reader.query(text, parameters={"s": hostile, "n": "long(9)", "t": "datetime(2021-02-03)"})[0]
    assert list(row.values()) == [hostile, 9, "2021-02-03T00:00:00.0000000Z"]


def test_lists_of_dynamic_values_stay_json(reader: Any) -> None:
    text = "print d = dynamic([{'a': 1}, 'x', null]) | mv-expand d | summarize l = make_list(d)"
    assert reader.query(text)[0]["l"][:2] == [{"a": 1}, "x"]


def test_a_query_that_lasts_too_long_ends_at_servertimeout(reader: Any) -> None:
    error = reader.refusal(ENDLESS, query=True, servertimeout=timedelta(seconds=1))
    assert (error.status, error.permanent) == (504, False)
    assert "servertimeout" in error.description


def test_decimals_travel_as_text(reader: Any) -> None:
    table = reader.sdk.execute_query("Samples", "print decimal(1.10)").primary_results[0]
    assert table.rows[0][0] == Decimal("1.10")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("print bool(1), 1==1", [[True, True]]),
        ("print x = bool(2) | extend y = 1", [[True, 1]]),
        ("datatable(a: bool) [bool(1), bool(0)] | extend y = 1", [[True, 1], [False, 1]]),
        ("range x from 1 to 1000000 step 1 | count", [[1_000_000]]),
        ("range x from 5 to 1 step -2", [[5], [3], [1]]),
        ("range t from datetime(2020-01-01) to datetime(2020-01-02) step 1h | count", [[25]]),
        ("range t from bin(now(), 1h) to now() step 1h | count", [[1]]),
        ("print x = 'UNNEST(generate_series(' | extend y = 1", [["UNNEST(generate_series(", 1]]),
    ],
)
def test_text_that_the_engine_would_misinterpret_gives_the_right_result(
    reader: Any, text: str, rows: list[Any]
) -> None:
    assert [[*row.values()] for row in reader.query(text)] == rows


@pytest.mark.parametrize(
    "text",
    [
        "StormEvents | where DeathsDirect = 0",
        "print datetime(2020) | extend y = 1",
        "print datetime('bad')",
        "print x = {digits}",
        "print x = 1 + {digits}",
        "print x = -{digits}d",
        "print x = dynamic([{digits}d]), y = 1 + 1",
        "print x = 1.{digits}",
        "print x = 0x{digits}",
        "print x = int({digits})",
        "print x = timespan({digits})",
        "range x from 1 to {digits} step 1",
        "print x = parse_json('{digits}')",
        "print x = {nested}",
    ],
)
def test_text_without_a_correct_answer_is_400(reader: Any, text: str) -> None:
    written = text.format(digits="1" * 5000, nested="(" * 5000 + "1" + ")" * 5000)
    assert reader.refusal(written, query=True).status == 400


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("print x = 1; print y = 'a;b'", [[1], ["a;b"]]),
        ("let n = 1; print n; let m = 2; print n + m;", [[1], [3]]),
        ("declare query_parameters(n: long = 3); print n; range x from n to n step 1; print n", [[3], [3], [3]]),
        ("print x = 1;", [[1]]),
        (";; print x = 1", [[1]]),
        ("print x = dynamic({'a': ';'}); // ; print\n print 2", [[{"a": ";"}], [2]]),
    ],
)
def test_each_statement_returns_its_own_result(reader: Any, text: str, found: list[list[object]]) -> None:
    results = reader.sdk.execute_query("Samples", text).primary_results
    assert [row for table in results for row in table.raw_rows] == found
    streamed = reader.sdk.execute_streaming_query("Samples", text)
    streamed.set_skip_incomplete_tables(True)
    assert len(list(streamed.iter_primary_results())) == len(found)


def test_the_statements_of_a_query_share_its_time(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def ask(_queries: Queries, question: Question, _text: str, _context: object) -> Table:
        given.append(question.seconds)
        return Table(())

    monkeypatch.setattr(Queries, "ask", ask)
    run = Run(is_query=True, text="", principal=cluster._admin.principal)
    Queries(cluster._state).run("print 1; print 2; print 3", cluster._admin, "Samples", run=run, seconds=1e-9)
    assert given == [1e-9, 0, 0]


def test_several_results_have_a_table_of_contents_in_v1() -> None:
    found = json.loads(wire.v1(*(Table(columns("x: long"), ((n,),)) for n in range(2))))
    results = KustoResponseDataSetV1(found).primary_results
    assert [[row["x"] for row in table] for table in results] == [[0], [1]]


def test_more_results_than_a_query_may_have_are_refused(reader: Any) -> None:
    assert "does not support" in reader.refusal("print 1;" * 1000, query=True).description


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # The first five are from the SDK's own tests, with the answers of the service.
        ("dynamic(123)", 123),
        ('dynamic("123")', "123"),
        ('dynamic("test bad json")', "test bad json"),
        ("dynamic('{\"rowId\":2}')", '{"rowId":2}'),
        ('dynamic({"rowId":2,"arr":[0,2]})', {"rowId": 2, "arr": [0, 2]}),
        # Documented: values that JSON cannot represent become text.
        ('dynamic({"a": 1d, "b": [1.5h, time(2)], "c": timespan(1.00:00:01)})',
         {"a": "1.00:00:00", "b": ["01:30:00", "2.00:00:00"], "c": "1.00:00:01"}),
        ('dynamic({"a": datetime(2020-01-01)})', {"a": "2020-01-01T00:00:00.0000000Z"}),
        ('bag_pack("a", real(nan), "b", real(-inf))', {"a": "NaN", "b": "-Infinity"}),
    ],
)  # fmt: skip
def test_dynamic_values_arrive_as_the_service_returns_them(reader: Any, expression: str, value: object) -> None:
    assert reader.query(f"print x = {expression}, y = tostring(1h)") == [{"x": value, "y": "01:00:00"}]
    assert reader.query(f"print x = {expression}")[0]["x"] == value


def test_the_permissions_of_a_query_are_validated_without_running_it(cluster: Any, connect: Any) -> None:
    viewer = connect(cluster, cluster.token_for("viewer", database="Samples"))

    def result(text: str, database: str = "Samples") -> list[Any]:
        return [*viewer.query(text, database, validatepermissions=True)[0].values()]

    assert result("NoTable | where x == 'database('") == ["OK"]
    assert result("let d = 'My other db'; database(d).T") == ["Incomplete"]
    for text, database in (("print 1", "My other db"), ("database('My other db').T", "Samples")):
        assert viewer.refusal(text, database, query=True, validatepermissions=True).code == "Forbidden"
