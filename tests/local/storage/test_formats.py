"""Tests that each documented format is read as documented, or refused as unsupported, and never as another format."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kqlmi.local.storage import files, formats
from kqlmi.local.storage.formats import READ_FORMATS
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.tables import KUSTO_TYPES, Column, Table, columns

SHAPE = columns("a: string, b: long")
LOG = '#Version: 1.0\n#Fields: a b\nx 1\n#Fields: b c a\n2 - "it ""is"""\n\n'


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("f.psv", 'x"y|1\nz|2', [('x"y', 1), ("z", 2)]),
        ("f.scsv", "x,y;1\r\n", [("x,y", 1)]),
        ("f.sohsv", "x\x011\n", [("x", 1)]),
        ("f.tsve", "x\\ty\\\\\\n\t1\n", [("x\ty\\\n", 1)]),
        ("f.tsv", "x\\ty\t1\n", [("x\\ty", 1)]),
        ("f.txt", "x,1\n\n\ny", [("x,1", None), ("y", None)]),
        ("f.raw", "x,1\n\ny\n", [("x,1\n\ny\n", None)]),
        ("f.log", LOG, [("x", 1), ('it "is"', 2)]),
        ("f.singlejson", '{"a": "x",\n "b": 1}', [("x", 1)]),
        ("f.CSV.gz", "x,1\n", [("x", 1)]),
        ("no extension", "x,1\n", [("x", 1)]),
    ],
)
def test_the_extension_determines_the_format(name: str, content: str, found: list[Any]) -> None:
    assert list(formats.rows(content, formats.format_of(f"a.folder/{name}"), SHAPE)) == found


@pytest.mark.parametrize("name", ["f.avro", "f.orc", "f.sstream", "f.apacheavro", "F.AVRO"])
def test_a_binary_format_is_refused_as_unsupported(name: str) -> None:
    for asked in ((name, ""), ("f.csv", name[2:])):
        with pytest.raises(KustoError, match=f"does not support the format '{name[2:].lower()}'"):
            formats.format_of(*asked)


@pytest.mark.parametrize("given", ["", "csv"])
def test_a_zip_archive_is_refused_as_unsupported(given: str) -> None:
    with pytest.raises(KustoError, match="does not support zip archives"):
        formats.format_of("f.csv.ZIP", given)


@pytest.mark.parametrize("name", ["f.dat", "f.xlsx", "f."])
def test_an_unknown_extension_is_never_read_as_csv(name: str) -> None:
    with pytest.raises(KustoError, match="specify the format"):
        formats.format_of(name)
    assert formats.format_of(name, "csv") == "csv"


@pytest.mark.parametrize(
    ("kind", "content", "reported"),
    [
        ("csv", "x,1\ny\n", "Inconsistent number of fields"),
        ("csv", "x\ny,1\n", "Inconsistent number of fields"),
        ("tsv", "x\t1\t2\ny\t1\n", "Inconsistent number of fields"),
        ("w3clogfile", "#Fields: a b\nx\n", "Inconsistent number of fields"),
        ("w3clogfile", "x 1\n", "Inconsistent number of fields"),
        ("psv", '"x"|1\n', "quotes"),
        ("tsve", "\\x41\t1\n", "escape"),
        ("singlejson", '{"a": "x"}\n{"a": "y"}', "one JSON object"),
    ],
)
def test_what_a_format_does_not_allow_is_refused(kind: str, content: str, reported: str) -> None:
    with pytest.raises(KustoError, match=reported) as caught:
        list(formats.rows(content, kind, SHAPE))
    if "Inconsistent" in reported:
        assert caught.value.code == "Stream_WrongNumberOfFields"  # documented


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2014-05-25T08:20:03.123456+02:00", "2014-05-25T06:20:03.1234560Z"),
        ("2014-05-25 08:20:03 -0330", "2014-05-25T11:50:03.0000000Z"),
        ("2014-05-25T08:20+00:00", "2014-05-25T08:20:00.0000000Z"),
        ("2014-05-25T08:20:03Z", "2014-05-25T08:20:03.0000000Z"),
        ("2014-05-25T08:20:03+15:00", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
    ],
)
def test_an_offset_moves_a_datetime_to_utc(text: str, moment: str | None) -> None:
    found = kusto_time.parse_datetime(text)
    assert (found if found is None else kusto_time.format_datetime(found)) == moment


def test_a_timespan_may_be_a_number_of_ticks(tmp_path: Path) -> None:
    spans = columns("t: timespan")
    rows = [(864_000_000_000,), (-10,), (None,)]
    text = '{"t": 864000000000}\n{"t": -10}\n{"t": null}'
    assert list(formats.rows(text, "json", spans)) == rows
    files.write(tmp_path, "f.parquet", "parquet", Table(spans, tuple(rows)))
    assert [one.type for one in files.infer(tmp_path, "f.parquet", "parquet")] == ["long"]  # documented
    assert list(files.read(tmp_path, "f.parquet", "parquet", spans)) == rows


ODD = st.sampled_from(
    [
        "1e999",
        "\x00",
        "{",
        "}",
        "[",
        "null",
        "NaN",
        "-",
        '"',
        "\\",
        "#Fields:",
        "#",
        "2020-01-01",
        "24:00:00",
        "1.1:1:1",
        "{'a':1}",
        '{"a":1,"a":2}',
        "0001-01-01T00:00:00+14:00",
        "99999999999999999999d",
    ]
)
CONTENT = st.lists(
    ODD | st.just("9" * 5000) | st.text(max_size=5) | st.sampled_from(list(",\t|;\x01\n \r")) | st.integers().map(str),
    max_size=12,
).map("".join)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", READ_FORMATS)
@FEW
@given(content=st.binary(max_size=40) | CONTENT.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_content_of_a_file_is_read_or_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    declared = (*(Column(f"c{n}", kind) for n, kind in enumerate(KUSTO_TYPES)), Column("a", "dynamic"))
    for shape in (declared, declared[::-1], declared[6:8]):
        read_or_refused(tmp_path, "f", kind, shape)
    with contextlib.suppress(KustoError):
        files.infer(tmp_path, "f", kind)


def read_or_refused(folder: Path, name: str, kind: str, shape: tuple[Column, ...]) -> None:
    """Read a file; any error fails the test, except a refusal that does not reveal the path."""
    reported = ""
    try:
        files.read(folder, name, kind, shape)
    except KustoError as error:
        reported = error.detail
    assert str(folder) not in reported


EXPRESSIONS = [
    *("[1, 2]", "{'a': 1.5}", "MAP {'a': 1}", "TIMESTAMP_NS '1677-09-22'", "TIMESTAMPTZ '2020-01-01'", "DATE 'infinity'"),
    *("TIME '24:00:00'", "INTERVAL 1 MONTH", "'x'::BLOB", "'1'::BIT", "1::HUGEINT", "1.5::DECIMAL(5, 2)", "'nan'::FLOAT"),
    *("18446744073709551615::UBIGINT", "TIMESTAMP 'infinity'", "DATE '-5000-01-01'", "'\x00'", "uuid()", "'{'::VARCHAR"),
    *("NULL", "[NULL]", "TIMESTAMP_S '290000-01-01'", "'x'::ENUM ('x')", "TIMETZ '12:00:00+05'", "-1", "true", "1e308"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_any_type_of_a_parquet_file_is_read_or_refused(tmp_path: Path, number: int) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {EXPRESSIONS[number]} AS c) TO '{tmp_path}/f.parquet' (FORMAT parquet)")
    for kind in KUSTO_TYPES:
        read_or_refused(tmp_path, "f.parquet", "parquet", columns(f"c: {kind}"))
    with contextlib.suppress(KustoError):
        files.infer(tmp_path, "f.parquet", "parquet")
