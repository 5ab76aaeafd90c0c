"""Tests that files preserve every value, and that malformed files are refused."""

import gzip
import math
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kqlmi.local.storage import files, formats
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.tables import Table, columns

COLUMNS = columns(
    "a: string, b: long, c: datetime, d: timespan, e: dynamic, f: bool, g: real, h: guid, i: int, j: string"
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = TEXT.filter(lambda text: not set(text) & set("\t\r\n"))
MOMENTS = st.integers(0, 3_000_000 * 86_400).map(lambda seconds: seconds * kusto_time.SECOND)
SPANS = st.integers(-(2**40), 2**40).map(lambda tenths: tenths * 10)


def rows(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    values = [
        text,
        st.integers(-(2**63), 2**63 - 1),
        MOMENTS,
        SPANS,
        st.sampled_from(['{"a":[1,"t",null]}', "[]", '"s"', "1", "true"]),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.uuids().map(str),
        st.integers(-(2**31), 2**31 - 1),
        text,
    ]
    nullable = [one if n in {0, 9} else st.none() | one for n, one in enumerate(values)]
    return st.lists(st.tuples(*nullable), min_size=1, max_size=4)


@pytest.mark.parametrize("kind", formats.WRITTEN_FORMATS)
@pytest.mark.parametrize("is_compressed", [False, True])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_written_values_are_read_back(tmp_path: Path, kind: str, *, is_compressed: bool, data: st.DataObject) -> None:
    table = Table(COLUMNS, tuple(data.draw(rows(PLAIN if kind == "tsv" else TEXT))))
    path = f"x/{uuid.uuid4()}.{kind}{'.gz' if is_compressed and kind != 'parquet' else ''}"
    files.write(tmp_path, path, kind, table, gzip=is_compressed)
    assert files.read(tmp_path, path, kind, COLUMNS) == table


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("short.csv", "x\n", [("x", None)]),
        ("long.csv", "x,1,2,3\n", [("x", 1)]),
        ("quoted.csv", '"a ""b"", c\nd",7\r\n', [('a "b", c\nd', 7)]),
        ("empty.csv", "", []),
        ("nulls.csv", ",\n", [("", None)]),
        ("mark.csv", "\ufeffx,1\n", [("x", 1)]),
        ("last.csv", "x,1", [("x", 1)]),
        ("raw.tsv", 'x "y"\t1\n', [('x "y"', 1)]),
        ("break.tsv", "x\x0by\u2028z\t1\n", [("x\x0by\u2028z", 1)]),
        # Documented: a value that a column cannot hold becomes null, and a malformed line of JSON is skipped.
        ("word.csv", "x,one\n", [("x", None)]),
        ("large.csv", "x,9223372036854775808\n", [("x", None)]),
        ("word.json", '{"b": "one"}\n{"b": 1.5}', [("", None), ("", None)]),
        ("broken.json", '{"a": \n{"a": "x"}\n{\'a\': \'y\'}', [("x", None), ("y", None)]),
        ("lines.json", '{"b": 1, "a": "x", "z": 2}\n\n{"a": null}\n', [("x", 1), ("", None)]),
        (
            "typed.json",
            '{"a": 1.5, "b": "7"}\n{"a": {"k": [1]}, "b": 9007199254740993}',
            [("1.5", 7), ('{"k":[1]}', 2**53 + 1)],
        ),
        ("list.multijson", '[{"a": "x", "b": 1}, {"a": "y", "b": 2}]', [("x", 1), ("y", 2)]),
        ("bags.multijson", '{"a": "x",\n "b": 1} {"a": "y"}', [("x", 1), ("y", None)]),
    ],
)
def test_files_are_read_as_kusto_reads_them(tmp_path: Path, name: str, content: str, found: list[Any]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    table = files.read(tmp_path, name, formats.format_of(name), columns("a: string, b: long"))
    assert list(table.rows) == found


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("open.csv", '"x,1\n'),
        ("bytes.csv", b"\xff\xfe\n"),
        ("array.json", "[1, 2]\n"),
        ("none.parquet", "no parquet"),
        ("none.csv.gz", "not valid gzip"),
        ("cut.csv.gz", gzip.compress(b"x,1\n" * 9999, mtime=0)[:60]),
    ],
)
def test_a_file_that_does_not_match_the_declaration_is_refused_without_a_path(
    tmp_path: Path, name: str, content: str | bytes
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(KustoError) as caught:
        files.read(tmp_path, name, formats.format_of(name), columns("a: string, b: long"))
    assert name in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


def test_a_header_is_skipped_if_there_is_one(tmp_path: Path) -> None:
    table = Table(COLUMNS[:2], (("x", 1),))
    files.write(tmp_path, "h.csv", "csv", table, header=True)
    assert (tmp_path / "h.csv").read_text() == "a,b\nx,1\n"
    assert files.read(tmp_path, "h.csv", "csv", table.columns, skips_first=True) == table


def test_columns_are_inferred(tmp_path: Path) -> None:
    table = Table(columns("a: string, b: long, c: real"), (("x", 1, 1.5),))
    for kind, shown in {"csv": "Column1 Column2 Column3", "json": "a b c", "parquet": "a b c"}.items():
        files.write(tmp_path, f"f.{kind}", kind, table)
        found = files.infer(tmp_path, f"f.{kind}", kind)
        assert [one.name for one in found] == shown.split()
        assert [one.type for one in found] == ["string", "long", "real"]
    files.write(tmp_path, "h.csv", "csv", table, header=True)
    assert files.infer(tmp_path, "h.csv", "csv", has_header=True) == table.columns


def test_a_tsv_file_contains_no_tabs_in_values(tmp_path: Path) -> None:
    with pytest.raises(KustoError, match="tabs"):
        files.write(tmp_path, "f.tsv", "tsv", Table(COLUMNS[:1], (("a\tb",),)))


def test_infinities_and_nan_survive(tmp_path: Path) -> None:
    table = Table(columns("g: real"), ((math.inf,), (-math.inf,)))
    files.write(tmp_path, "f.parquet", "parquet", table)
    assert files.read(tmp_path, "f.parquet", "parquet", table.columns) == table
