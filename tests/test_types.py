"""Tests of every Kusto type, from a query on the local cluster through the real client to a DataFrame: no value changes."""

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

import kqlmi
from kqlmi.cluster.protocol.table import ColumnTypeWarning
from kqlmi.session import Session


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with (
        kqlmi.local.start(databases=["Samples"], identities=[]) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token, database="Samples") as opened,
    ):
        yield opened


def column(session: Session, type_name: str, *literals: str) -> "pd.Series[Any]":
    frame = session.run(f"datatable(c: {type_name})[{', '.join(literals)}]").to_dataframe()
    return frame["c"]


@pytest.mark.parametrize(
    ("type_name", "literals", "dtype", "values"),
    [
        ("bool", ["true", "false", "bool(null)"], "boolean", [True, False, pd.NA]),
        ("int", ["int(-2147483648)", "int(2147483647)", "int(null)"], "Int32", [-(2**31), 2**31 - 1, pd.NA]),
        (
            "long",
            ["long(-9223372036854775808)", "9223372036854775807", "9007199254740993", "long(null)"],
            "Int64",
            [-(2**63), 2**63 - 1, 2**53 + 1, pd.NA],
        ),
        (
            "real",
            ["real(+inf)", "real(-inf)", "1.7976931348623157e308", "real(null)"],
            "Float64",
            [math.inf, -math.inf, 1.7976931348623157e308, pd.NA],
        ),
        (
            "decimal",
            ["decimal(1234567890123456789012345678.901234)", "decimal(null)"],
            "object",
            [Decimal("1234567890123456789012345678.901234"), None],
        ),
        (
            "datetime",
            ["datetime(2020-01-02T03:04:05.1234567Z)", "datetime(null)"],
            "datetime64[ns, UTC]",
            [pd.Timestamp("2020-01-02T03:04:05.1234567Z"), pd.NaT],
        ),
        (
            "timespan",
            ["timespan(-2.00:00:02.0020002)", "time(00:00:00.0000001)", "timespan(null)"],
            "timedelta64[ns]",
            [-pd.Timedelta(days=2, seconds=2, nanoseconds=2_000_200), pd.Timedelta(nanoseconds=100), pd.NaT],
        ),
        ("dynamic", ['dynamic({"a": [1, null]})', "dynamic(null)"], "object", [{"a": [1, None]}, None]),
        ("string", ["'a\\u0000é'", "''"], None, ["a\x00é", ""]),
        (
            "guid",
            ["guid(74be27de-1e4e-49d9-b579-fe0b331d3642)"],
            None,
            ["74be27de-1e4e-49d9-b579-fe0b331d3642"],
        ),
    ],
)
def test_a_type_keeps_its_limits_and_its_null(
    session: Session, type_name: str, literals: list[str], dtype: str | None, values: list[Any]
) -> None:
    found = column(session, type_name, *literals)
    assert dtype is None or str(found.dtype) == dtype
    assert [repr(value) for value in found.tolist()] == [repr(value) for value in values]


@pytest.mark.parametrize(
    ("type_name", "literals", "dtype", "shown"),
    [
        ("real", ["real(nan)", "real(null)"], "object", ["nan", "None"]),
        (
            "datetime",
            ["datetime(0001-01-01T00:00:00Z)", "datetime(9999-12-31T23:59:59.999999Z)"],
            "datetime64[us, UTC]",
            ["0001-01-01 00:00:00+00:00", "9999-12-31 23:59:59.999999+00:00"],
        ),
        ("datetime", ["datetime(9999-12-31T23:59:59.9999999Z)"], None, ["9999-12-31T23:59:59.9999999Z"]),
        (
            "timespan",
            ["timespan(10675199.02:48:05.4775807)", "timespan(-10675199.02:48:05.4775808)"],
            None,
            ["10675199.02:48:05.4775807", "-10675199.02:48:05.4775808"],
        ),
    ],
)
def test_values_that_do_not_fit_the_usual_dtype_use_another_which_is_reported(
    session: Session, type_name: str, literals: list[str], dtype: str | None, shown: list[str]
) -> None:
    with pytest.warns(ColumnTypeWarning, match="Column 'c'"):
        found = column(session, type_name, *literals)
    assert dtype is None or str(found.dtype) == dtype
    assert [str(value) for value in found.tolist()] == shown
