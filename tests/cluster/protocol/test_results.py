"""Tests that an answer is returned whole, with every table, or raises."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.cluster.protocol import results
from kqlmi.cluster.protocol.response_checks import PartialAnswerError
from kqlmi.cluster.protocol.table import SeveralTablesWarning
from kqlmi.credentials import sign_in
from kqlmi.errors import AnswerError, ServiceError
from kqlmi.session import Session
from tests.cluster.service import Service, one_api, v1, v2

BROKE = "It broke in the end."
ERROR = one_api(BROKE, "LimitsExceeded")
CONTENTS = ("Ordinal", "Kind", "Name", "Id", "PrettyName")
STATUS = ("Timestamp", "Severity", "SeverityName", "StatusCode", "StatusDescription")
PROPERTIES = json.dumps({"Visualization": None})


def table(name: str, rows: Sequence[Any], *columns: str) -> dict[str, Any]:
    return {
        "TableName": name,
        "Columns": [{"ColumnName": column, "DataType": "String", "ColumnType": "string"} for column in columns],
        "Rows": list(rows),
    }


def set_of_tables(found: Mapping[str, Sequence[Any]], severity: int = 4, words: Any = BROKE) -> dict[str, Any]:
    """Return results in the form of a v1 answer to a query or piped command, which adds three tables."""
    parts = [("QueryResult", name, table("", rows, "a", "b")) for name, rows in found.items()]
    parts.append(("QueryProperties", "@ExtendedProperties", table("", [[PROPERTIES]], "Value")))
    status = ["2026-01-01T00:00:00Z", severity, "Error", 1, words]
    parts.append(
        ("QueryStatus", "QueryStatus", table("", [["", 6, "Stats", 0, {"ExecutionTime": 0}], status], *STATUS))
    )
    listed = [[place, kind, name, "id", ""] for place, (kind, name, _) in enumerate(parts)]
    tables = [one for _, _, one in parts]
    return {
        "Tables": [
            {**one, "TableName": f"Table_{at}"} for at, one in enumerate([*tables, table("", listed, *CONTENTS)])
        ]
    }


def frames(found: Mapping[str, Sequence[Any]], completion: Sequence[Any] = ()) -> list[dict[str, Any]]:
    header, _, primary, end = v2([], list(completion))
    kinds = {"FrameType": "DataTable", "TableKind": "PrimaryResult", "TableId": 1}
    return [header, *({**table(name, rows, "a", "b"), **kinds} for name, rows in found.items()), primary, end]


def within(answer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a v1 answer with the given fields in its first table."""
    first, *others = answer["Tables"]
    return {**answer, "Tables": [{**first, **fields}, *others]}


@pytest.fixture
def connection(service: Service) -> Iterator[KustoConnection]:
    retrying = Retrying(Patience(sleep=lambda _: None))
    with closing(KustoConnection(Target(service.url, sign_in("none")), timeout=5, retrying=retrying)) as made:
        yield made


ROWS = [["1", "2"]]
ONE = {"PrimaryResult": ROWS}
BROKEN = {
    "v1: severity 0": set_of_tables(ONE, severity=0),
    "v1: severity 1": set_of_tables(ONE, severity=1),
    "v1: severity 2": set_of_tables(ONE, severity=2),
    "v1: severity 2, in JSON": set_of_tables(ONE, 2, json.dumps({"Count": 1, "Text": BROKE})),
    "v1: severity 2, in an object": set_of_tables(ONE, 2, {"Text": BROKE}),
    "v1: severity 2 without contents": {"Tables": set_of_tables(ONE, 2)["Tables"][:-1]},
    "v1: exceptions at the top": {**v1(ROWS, "a", "b"), "Exceptions": [BROKE]},
    "v1: an exception at the top": {**v1(ROWS, "a", "b"), "Exceptions": BROKE},
    "v1: exceptions alone": {"Exceptions": [BROKE]},
    "v1: exceptions in a table": within(v1(ROWS, "a", "b"), Exceptions=[BROKE]),
    "v1: exceptions in one of several": within(set_of_tables(ONE), Exceptions=[BROKE]),
    "v1: exceptions among the rows": v1([*ROWS, {"Exceptions": [BROKE]}], "a", "b"),
    "v1: errors among the rows": v1([*ROWS, {"OneApiErrors": [ERROR]}], "a", "b"),
    "v1: errors among the rows of the second": set_of_tables({"x": ROWS, "y": [*ROWS, {"OneApiErrors": [ERROR]}]}),
    "v1: errors at the top": {**v1(ROWS, "a", "b"), "OneApiErrors": [ERROR]},
    "v2: level 2": frames(ONE, [["kqlmi;1", 2, BROKE]]),
    "v2: level 2, in JSON": frames(ONE, [["kqlmi;1", 2, json.dumps({"Count": 1, "Text": BROKE})]]),
    "v2: errors among the rows": frames({"x": [*ROWS, {"OneApiErrors": [ERROR]}]}),
    "v2: errors among the rows of the second": frames({"x": ROWS, "y": [{"OneApiErrors": [ERROR]}]}),
    "v2: exceptions among the rows": frames({"x": [*ROWS, {"Exceptions": [BROKE]}]}),
    "v2: errors at the end": [
        *frames(ONE)[:-1],
        {"FrameType": "DataSetCompletion", "HasErrors": True, "OneApiErrors": [ERROR]},
    ],
    "v2: errors at the end, cut short": [*frames({"x": [{"OneApiErrors": [ERROR]}]})[:-1]],
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_an_error_anywhere_in_an_answer_raises_in_its_own_words(
    service: Service, connection: KustoConnection, answer: Any
) -> None:
    service.answer(200, answer)
    with pytest.raises(ServiceError) as caught:
        connection.execute("print 1" if isinstance(answer, list) else ".show databases")
    assert caught.value.message == BROKE


def test_of_several_errors_the_one_with_a_code_is_raised(service: Service, connection: KustoConnection) -> None:
    end = {"FrameType": "DataSetCompletion", "HasErrors": True, "Cancelled": False, "OneApiErrors": [ERROR]}
    service.answer(200, [*frames(ONE, [["kqlmi;1", 2, "E_QUERY_RESULT_SET_TOO_LARGE"]])[:-1], end])
    with pytest.raises(ServiceError, match=BROKE) as caught:
        connection.execute("print 1")
    assert caught.value.code == "LimitsExceeded"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (frames(ONE, [["kqlmi;1", 2, '{"Count": 1}']]), "without a message"),
        ([*frames(ONE)[:-1], {"FrameType": "DataSetCompletion", "HasErrors": True}], "without a message"),
        ([*frames(ONE)[:-1], {"FrameType": "DataSetCompletion", "Cancelled": True}], "was cancelled"),
        (frames({"x": [{"what": 1}]}), "without a message"),
        (set_of_tables(ONE, 2, None), "Error"),
    ],
)
def test_an_error_without_a_message_is_still_an_error(
    service: Service, connection: KustoConnection, answer: Any, says: str
) -> None:
    service.answer(200, answer)
    with pytest.raises(ServiceError, match=says):
        connection.execute("print 1" if isinstance(answer, list) else ".show databases")


@pytest.mark.parametrize("row", [["1"], [], ["1", "2", "3"]])
@pytest.mark.parametrize("shape", [set_of_tables, frames, lambda found: v1(found["x"], "a", "b")])
def test_a_row_that_does_not_fit_the_columns_is_named(
    service: Service, connection: KustoConnection, shape: Callable[[Any], Any], row: list[str]
) -> None:
    service.answer(200, shape({"x": [*ROWS, *ROWS, row, *ROWS]}))
    with pytest.raises(AnswerError, match=f"row 3 of .+ has {len(row)} values for 2 columns"):
        connection.execute("print 1" if shape is frames else ".show databases")


NAMES = st.text(st.characters(categories=["L"]), min_size=1)
CELLS = st.lists(st.tuples(st.text(), st.text()).map(list), max_size=3)


@given(st.dictionaries(NAMES, CELLS, min_size=1, max_size=4))
def test_no_table_of_an_answer_is_dropped(found: dict[str, list[list[str]]]) -> None:
    for answer, version in ((set_of_tables(found), 1), (frames(found), 2)):
        first = results.read(answer, version=version)
        assert {one.name: list(one.rows) for one in first.tables} == found
        assert first.tables[0] is first
        assert all(one.tables == (one,) for one in first.others)


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_without_contents_every_table_but_the_properties_is_a_result(found: list[list[list[str]]]) -> None:
    tables = [table(f"Table_{at}", rows, "a", "b") for at, rows in enumerate(found)]
    beside = table(f"Table_{len(found)}", [[PROPERTIES]], "Value")
    first = results.read({"Tables": [*tables, beside]}, version=1)
    assert [list(one.rows) for one in first.tables] == found
    assert [one.name for one in first.tables] == [one["TableName"] for one in tables]


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_a_table_that_the_contents_list_and_that_is_not_there_is_an_error(missing: int) -> None:
    tables = set_of_tables({"x": ROWS, "y": ROWS})["Tables"]
    with pytest.raises(PartialAnswerError):
        results.read({"Tables": tables[:missing] + tables[missing + 1 :]}, version=1)


@pytest.mark.parametrize("severity", [3, 4, 6])
def test_a_status_that_is_not_an_error_does_not_raise(severity: int) -> None:
    assert results.read(set_of_tables(ONE, severity), version=1).rows == tuple(ROWS)
    assert results.read(frames(ONE, [["kqlmi;1", 4 + severity, "Stats"]]), version=2).rows == tuple(ROWS)
    assert results.read({**v1(ROWS, "a", "b"), "Exceptions": []}, version=1).rows == tuple(ROWS)


@pytest.mark.parametrize(
    "kinds", [[], ["QueryProperties"], ["QueryCompletionInformation"], ["QueryProperties", "QueryPlan"]]
)
def test_an_answer_without_a_result_is_not_whole(kinds: list[str]) -> None:
    header, *_, end = frames({})
    beside = [{**table(kind, ROWS, "a", "b"), "FrameType": "DataTable", "TableKind": kind} for kind in kinds]
    with pytest.raises(PartialAnswerError):
        results.read([header, *beside, end], version=2)


@given(st.data())
def test_a_truncated_answer_is_never_taken_for_a_complete_one(data: st.DataObject) -> None:
    whole = frames({"x": ROWS, "y": ROWS}, [["kqlmi;1", 4, "{}"]])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(PartialAnswerError):
        results.read(whole[:cut], version=2)
    with pytest.raises(PartialAnswerError):
        results.read({"Tables": []}, version=1)


def test_run_returns_the_first_of_several_tables_with_all_of_them_and_warns(
    service: Service, connection: KustoConnection
) -> None:
    service.answer(200, frames({"one": ROWS, "two": []}))
    session = Session("test", connection, history=False)
    with pytest.warns(SeveralTablesWarning, match=r"has 2 tables, .* the first; all are in \.tables") as warned:
        found = session.run("range x from 1 to 3 step 1 | fork one=(take 1) two=(count)", "D")
    assert warned[0].filename == __file__
    assert [(one.name, len(one)) for one in found.tables] == [("one", 1), ("two", 0)]
    assert found.to_dataframe().to_dict("records") == [{"a": "1", "b": "2"}]
    service.answer(200, frames(ONE))
    assert session.run("print 1", "D").tables[0].rows == tuple(ROWS)


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        ({"Visualization": "piechart", "Title": None}, "piechart"),
        ({"Visualization": "table"}, ""),
        ({"Visualization": None}, ""),
        ({"Visualization": ["piechart"]}, ""),
        ({"Cursor": "x"}, ""),
        ("piechart", ""),
        ("{", ""),
    ],
)
def test_the_chart_that_a_query_requests_is_kept_with_its_table(described: Any, kind: str) -> None:
    text = described if isinstance(described, str) else json.dumps(described)
    properties = {"FrameType": "DataTable", "TableKind": "QueryProperties", "TableId": 0}
    shown = {**table("@ExtendedProperties", [[1, "Visualization", text]], "TableId", "Key", "Value"), **properties}
    header, *rest = frames({"t": [["1", "2"]]})
    assert results.read([header, shown, *rest], version=2).visualization == kind
    answer = set_of_tables({"t": [["1", "2"]]})
    answer["Tables"][1]["Rows"] = [[text]]
    assert results.read(answer, version=1).visualization == kind
