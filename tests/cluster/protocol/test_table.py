import math
import warnings
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from kqlmi.cluster.protocol.table import Column, ColumnTypeWarning, Table
from kqlmi.errors import KqlmiError


def series(type_name: str, *values: Any) -> "pd.Series[Any]":
    return Table((Column.of("c", type_name),), [[value] for value in values]).to_dataframe()["c"]


def fallback(type_name: str, *values: Any) -> "pd.Series[Any]":
    with pytest.warns(ColumnTypeWarning, match="Column 'c'"):
        return series(type_name, *values)


def test_bool_is_nullable_and_a_null_is_not_false() -> None:
    found = series("bool", True, 0, None)  # noqa: FBT003
    assert found.dtype == "boolean"
    assert found.tolist() == [True, False, pd.NA]


def test_int_holds_its_limits() -> None:
    found = series("int", -(2**31), 2**31 - 1, None)
    assert found.dtype == "Int32"
    assert found.tolist() == [-(2**31), 2**31 - 1, pd.NA]


def test_long_beside_a_null_keeps_every_digit() -> None:
    found = series("long", 2**53 + 1, -(2**63), 2**63 - 1, None)
    assert found.dtype == "Int64"
    assert found.tolist() == [2**53 + 1, -(2**63), 2**63 - 1, pd.NA]


def test_a_long_that_64_bits_cannot_hold_stays_an_integer() -> None:
    found = fallback("long", 2**63, None)
    assert found.dtype == object
    assert found.tolist() == [2**63, None]


def test_real_holds_infinities_and_nulls() -> None:
    found = series("real", "Infinity", "-Infinity", 1.7976931348623157e308, None)
    assert found.dtype == "Float64"
    assert found.tolist() == [math.inf, -math.inf, 1.7976931348623157e308, pd.NA]


def test_nan_without_null_is_a_plain_float() -> None:
    found = fallback("real", "NaN", 1.5)
    assert found.dtype == "float64"
    assert math.isnan(found[0])


def test_nan_beside_null_keeps_both() -> None:
    found = fallback("real", "NaN", None, 1.5)
    assert found.dtype == object
    assert math.isnan(found[0])
    assert found[1] is None


def test_decimal_keeps_34_digits() -> None:
    digits = "1234567890123456789012345678.901234"
    assert series("decimal", digits, None).tolist() == [Decimal(digits), None]


def test_datetime_keeps_the_seventh_digit() -> None:
    found = series("datetime", "2020-01-02T03:04:05.1234567Z", None)
    assert found.dtype == "datetime64[ns, UTC]"
    assert found[0] == pd.Timestamp("2020-01-02T03:04:05.123456700Z")
    assert found[1] is pd.NaT


def test_the_first_and_a_late_datetime_fall_to_microseconds() -> None:
    found = fallback("datetime", "0001-01-01T00:00:00.0000000Z", "9999-12-31T23:59:59.999999Z", None)
    assert found.dtype == "datetime64[us, UTC]"
    assert [str(value) for value in found[:2]] == ["0001-01-01 00:00:00+00:00", "9999-12-31 23:59:59.999999+00:00"]


def test_the_last_datetime_stays_text() -> None:
    last = "9999-12-31T23:59:59.9999999Z"
    assert fallback("datetime", last)[0] == last


@pytest.mark.parametrize("edge", ["1677-09-22T00:00:00Z", "2262-04-10T23:59:59.9999999Z"])
def test_nanoseconds_reach_to_their_edges(edge: str) -> None:
    assert series("datetime", edge)[0].isoformat().startswith(edge[:19])


def test_timespan_keeps_sign_days_and_the_seventh_digit() -> None:
    found = series("timespan", "-2.00:00:02.0020002", "00:00:00.0000001", None)
    assert found.dtype == "timedelta64[ns]"
    assert found[0] == -pd.Timedelta(days=2, seconds=2, nanoseconds=2_000_200)
    assert found[1] == pd.Timedelta(nanoseconds=100)
    assert found[2] is pd.NaT


def test_a_long_timespan_falls_to_microseconds_and_the_longest_to_text() -> None:
    found = fallback("timespan", "10675199.02:48:05.477580")
    assert found.dtype == "timedelta64[us]"
    assert str(found[0]).startswith("10675199 days 02:48:05.477580")
    longest = "10675199.02:48:05.4775807"
    assert fallback("timespan", longest)[0] == longest


@pytest.mark.parametrize("type_name", ["string", "guid"])
def test_text_is_text(type_name: str) -> None:
    found = series(type_name, "a\x00é", "")
    assert found.tolist() == ["a\x00é", ""]
    assert found.dtype == ("str" if int(pd.__version__.split(".")[0]) >= 3 else object)


def test_dynamic_is_python_objects_whether_it_came_as_json_or_as_its_text() -> None:
    found = series("dynamic", {"a": [1]}, '{"a": [1]}', [1, 2], [3, 4], "text", 5, None)
    assert found.tolist() == [{"a": [1]}, {"a": [1]}, [1, 2], [3, 4], "text", 5, None]


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("bool", 2),
        ("int", 1.5),
        ("real", "x"),
        ("decimal", "x"),
        ("datetime", "soon"),
        ("datetime", "2024-13-45T00:00:00Z"),
        ("real", 10**400),
        ("timespan", 5),
        ("string", 5),
    ],
)
def test_a_value_that_does_not_match_its_type_is_kept_and_reported(type_name: str, value: Any) -> None:
    assert fallback(type_name, value).tolist() == [value]


@pytest.mark.parametrize(
    ("type_name", "dtype"),
    [
        ("bool", "boolean"),
        ("int", "Int32"),
        ("long", "Int64"),
        ("real", "Float64"),
        ("datetime", "datetime64[ns, UTC]"),
    ],
)
def test_an_empty_table_has_its_dtypes(type_name: str, dtype: str) -> None:
    assert series(type_name).dtype == dtype


def test_types_of_the_first_protocol_are_understood() -> None:
    names = ["System.String", "SByte", "Int32", "Int64", "DateTime", "TimeSpan", "SqlDecimal", "Object"]
    assert [Column.of("c", name).type for name in names] == [
        "string", "bool", "int", "long", "datetime", "timespan", "decimal", "dynamic",
    ]  # fmt: skip


def test_columns_of_the_same_name_are_all_there() -> None:
    table = Table((Column("a", "long"), Column("a", "string")), [[1, "x"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = table.to_dataframe()
    assert list(frame.columns) == ["a", "a"]
    assert frame.iloc[0].tolist() == [1, "x"]


def test_a_column_is_found_by_either_of_its_names() -> None:
    table = Table((Column("Policies", "string"),), [["[]"]])
    assert table.column("Policy", "Policies") == ["[]"]
    with pytest.raises(KqlmiError, match="Policies"):
        table.column("Name")
