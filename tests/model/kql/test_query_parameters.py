"""Tests of query parameters: what a query declares, and the literals that are sent for Python values."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from kqlmi.errors import InputError
from kqlmi.model.kql.query_parameters import bound, declared
from kqlmi.model.kql.tokenizer import tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("declare query_parameters(a:string);\nT", {"a": "string"}),
        ("declare query_parameters ( a : long = 5 , b: datetime ) ; print a", {"a": "long", "b": "datetime"}),
        ("declare query_parameters(a:date=datetime(2024-01-01, x:y), b:boolean);", {"a": "datetime", "b": "bool"}),
        (
            "// declare query_parameters(no:string);\ndeclare query_parameters(a:time='b:int, c:int');",
            {"a": "timespan"},
        ),
        ("declare query_parameters(a:dynamic);\nT | extend x = iff(a, b:c, d:e)", {"a": "dynamic"}),
        ("print 'declare query_parameters(a:string)'", {}),
        ("declare pattern p; T", {}),
        ("declare query_parameters", {}),
        ("declare query_parameters(", {}),
        ("", {}),
    ],
)
def test_declared_parameters_have_their_types(text: str, expected: dict[str, str]) -> None:
    assert declared(tokens(text)) == expected


EAST = timezone(timedelta(hours=2))
GUID = UUID("11111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [
        ("string", "Flash Flood", "Flash Flood"),
        ("string", "'; drop", "'; drop"),
        ("long", "5", 5),
        ("long", 2**62, 2**62),
        ("long", np.int64(-7), -7),
        ("long", None, "long(null)"),
        ("int", 5, "int(5)"),
        ("int", "5", "int(5)"),
        ("bool", True, "bool(true)"),
        ("bool", np.bool_(False), "bool(false)"),  # noqa: FBT003 - the value that is sent
        ("bool", pd.NA, "bool(null)"),
        ("real", 1.5, "real(1.5)"),
        ("real", 3, "real(3)"),
        ("real", float("nan"), "real(nan)"),
        ("real", float("inf"), "real(+inf)"),
        ("real", -float("inf"), "real(-inf)"),
        ("real", 1e-300, "real(1e-300)"),
        ("decimal", Decimal("1.50"), "decimal(1.50)"),
        ("guid", GUID, f"guid({GUID})"),
        ("datetime", date(2024, 1, 31), "datetime(2024-01-31)"),
        ("datetime", "2024-01-31", "datetime(2024-01-31)"),
        ("datetime", "datetime(2024-01-31)", "datetime(2024-01-31)"),
        ("datetime", datetime(2024, 1, 31, 12, tzinfo=UTC), "datetime(2024-01-31T12:00:00.0000000Z)"),
        ("datetime", datetime(2024, 1, 31, 1, tzinfo=EAST), "datetime(2024-01-30T23:00:00.0000000Z)"),
        ("datetime", datetime(2024, 1, 31), "datetime(2024-01-31T00:00:00.0000000Z)"),  # noqa: DTZ001
        ("datetime", pd.Timestamp("2024-01-31T00:00:00.1234567Z"), "datetime(2024-01-31T00:00:00.1234567Z)"),
        ("datetime", pd.NaT, "datetime(null)"),
        ("timespan", timedelta(days=1, hours=2, minutes=3, seconds=4), "time(1.02:03:04.0000000)"),
        ("timespan", -timedelta(days=2, microseconds=1), "time(-2.00:00:00.0000010)"),
        ("timespan", pd.Timedelta(100, "ns"), "time(0.00:00:00.0000001)"),
        ("timespan", "1d", "time(1d)"),
        ("dynamic", ["A", None, {"b": np.int64(1)}], 'dynamic(["A", null, {"b": 1}])'),
        ("dynamic", 5, "dynamic(5)"),
        ("dynamic", True, "dynamic(true)"),
        ("dynamic", '["A"]', 'dynamic(["A"])'),
    ],
)
def test_a_value_is_sent_as_the_documentation_says(kind: str, value: object, sent: object) -> None:
    found = bound({"x": kind}, {"x": value})
    assert found == {"x": sent}
    assert type(found["x"]) is type(sent)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("string", 5, "of type string cannot be sent from a value of type int"),
        ("string", None, "a string cannot be null"),
        ("long", 1.5, "from a value of type float"),
        ("int", True, "from a value of type bool"),
        ("decimal", 1.5, "from a value of type float"),
        ("decimal", Decimal("NaN"), "not finite"),
        ("datetime", 5, "from a value of type int"),
        ("datetime", pd.Timestamp("2024-01-31T00:00:00.123456789Z"), "100 nanoseconds"),
        ("datetime", np.datetime64("2024-01-31"), "from a value of type numpy.datetime64"),
        ("dynamic", {"PLANTED": float("nan")}, "JSON cannot express"),
        ("dynamic", ["PLANTED", object()], "JSON cannot express"),
        ("dynamic", pd.Series(["PLANTED"]), r"Series\.$"),
    ],
)
def test_a_value_that_its_type_cannot_contain_is_refused_and_not_quoted(kind: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        bound({"x": kind}, {"x": value})
    assert "PLANTED" not in str(caught.value)


def test_a_parameter_that_the_query_does_not_declare_is_refused() -> None:
    with pytest.raises(InputError, match=r"does not declare the parameter 'stat'. Did you mean state\?"):
        bound({"state": "string"}, {"stat": "PLANTED"})
    with pytest.raises(InputError, match=r"Begin the query with declare query_parameters\(state:string\);"):
        bound({}, {"state": "PLANTED"})
