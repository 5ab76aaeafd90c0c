"""Regression tests for defects that an adversarial review of the workflows found."""

import gzip
import threading
from pathlib import Path
from typing import Any

import pytest

from kqlmi.local.storage import files, parquet
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.tables import Table, columns
from tests.local.flows.conftest import CONTAINER, INTERVAL, World
from tests.waiting import eventually

READ = "externaldata (a: string, b: long)"


def at(here: World, path: str) -> str:
    return f"h'{CONTAINER}/{path};managed_identity={here.store}'"


@pytest.mark.parametrize(
    "property_",
    [
        "namePrefix='../../made/evil'",
        "namePrefix='/tmp/made/evil'",
        "namePrefix='up/evil'",
        "namePrefix='a*'",
        "fileExtension='/../../a.csv'",
        "fileExtension='.x/../../../a.csv'",
    ],
)
def test_no_name_of_an_exported_file_leads_anywhere(here: World, property_: str) -> None:
    outside = here.folder.parent
    (here.folder / "up").symlink_to(outside)
    before = sorted(outside.rglob("*"))
    for text in (
        f".export to csv ({at(here, 'x')}) with ({property_}) <| print a = 'x', b = 1",
        f".create external table T (a: string) kind=storage dataformat=csv ({at(here, 'x')}) with ({property_})",
    ):
        assert "letters" in here.client.refusal(text).description
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize(
    "text",
    [
        "let u = '{a}'; let f = (u: string) {{ toscalar({read} [u] | project a) }}; print f('{b}')",
        "let u = '{a}'; let f = () {{ let u = '{b}'; toscalar({read} [u] | project a) }}; print f()",
        "let k = 1; let f = (k: long) {{ toscalar(R | extend k | evaluate python(typeof(*), '')) }}; print f(9)",
    ],
)
def test_an_address_from_a_function_in_the_query_is_not_guessed(here: World, text: str) -> None:
    here.client.mgmt(".enable plugin python")
    urls = {name: f"{CONTAINER}/{name}.csv;managed_identity={here.store}" for name in "ab"}
    written = text.format(read=READ, **urls)
    assert "in a query-defined function" in here.client.refusal(written, query=True).description


def test_a_parameter_of_a_stored_function_is_named_in_the_refusal(here: World) -> None:
    here.client.mgmt(f".create function F(u: string) {{ {READ} [u] }}")
    here.client.mgmt(f".create function G(n: long) {{ let m = n; {READ} [{at(here, 'a.csv')}] | where b > m }}")
    assert "parameter 'u'" in here.client.refusal("F('x')", query=True).description
    assert "parameter 'n'" in here.client.refusal("G(1)", query=True).description


def test_a_column_may_have_the_name_of_a_function(here: World, connect: Any) -> None:
    here.client.mgmt(".create function b() { database('My other db').Elsewhere }")
    here.client.mgmt(".create function a(p: string) { externaldata (x: string) [p] }")
    here.client.mgmt(".ingest inline into table R <| x,1")
    viewer = connect(here.cluster, here.cluster.token_for("viewer", database="Samples"))
    assert viewer.query("R | project b, a") == [{"b": 1, "a": "x"}]
    assert viewer.query("let b = (k: long) { k + 1 }; print x = b(1)") == [{"x": 2}]
    assert viewer.refusal("b() | count", query=True).status == 403
    assert "My other db" in viewer.refusal("b | count", query=True).description


def test_no_wildcard_matches_external_data(here: World) -> None:
    here.client.mgmt(f".create function G() {{ {READ} [{at(here, 'a.csv')}] }}")
    here.client.mgmt(".create function U() { union * }")
    for text in ("union *, (G())", "union k*, (G())", "U() | union (G())", "G() | union (U())"):
        assert "wildcard" in here.client.refusal(text, query=True).description
    assert here.rows("union R, (G()) | count") == [[2]]


def test_functions_that_multiply_are_refused(here: World) -> None:
    here.client.mgmt(".create function E0() { R }")
    for n in range(1, 15):
        here.client.mgmt(f".create function E{n}() {{ union (E{n - 1}()), (E{n - 1}()) }}")
    assert here.rows("E4() | count") == [[0]]
    assert "500 calls" in here.client.refusal("E14() | count", query=True).description


def test_a_recreated_table_is_exported_from_its_first_row(here: World) -> None:
    client = here.client
    client.mgmt(f".create external table T (a: string, b: long) kind=storage dataformat=csv ({at(here, 'out')})")
    client.mgmt(f".create-or-alter continuous-export E over (R) to table T with ({INTERVAL}) <| R")
    client.mgmt(".ingest inline into table R <| x,1\nx,2\nx,3")
    eventually(lambda: here.rows("external_table('T') | count") == [[3]])
    client.mgmt(".drop table R")
    client.mgmt(".create table R (a: string, b: long)")
    client.mgmt(".ingest inline into table R <| n,1\nn,2\nn,3\nn,4\nn,5")
    eventually(lambda: here.rows("external_table('T') | where a == 'n' | count") == [[5]])


def test_a_query_sees_every_change_that_was_acknowledged_before_it(here: World) -> None:
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            here.client.query("R | count")

    def write(number: int) -> None:
        for count in range(1, 9):
            here.client.mgmt(f".ingest inline into table R <| w{number},{count}")
            seen = here.rows(f"R | where a == 'w{number}' | count")[0][0]
            wrong.extend([seen] if seen != count else [])

    readers = [threading.Thread(target=read) for _ in range(6)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []


def test_a_file_appears_atomically(here: World) -> None:
    text = f"inline_external_table (n: long) kind=storage dataformat=csv ({at(here, 'big')}) | count"
    counts: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            counts.add(here.rows(text)[0][0])

    (here.folder / "big").mkdir()
    reader = threading.Thread(target=read)
    reader.start()
    here.client.mgmt(f".export to csv ({at(here, 'big')}) <| range n from 1 to 200000 step 1")
    done.set()
    reader.join()
    assert counts <= {0, 200_000}
    assert here.rows(text) == [[200_000]]


def test_an_update_policy_whose_target_changes_meanwhile_is_run_again(here: World) -> None:
    client = here.client
    client.mgmt(".create table Made (a: string, b: long)")
    policy = '[{"Source": "R", "Query": "R | where b >= 0", "IsTransactional": true}]'
    client.mgmt(f".alter table Made policy update '{policy}'")
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            client.mgmt(".drop table Made ifexists")
            client.mgmt(".create table Made (x: long)")
            client.mgmt(".drop table Made")
            client.mgmt(".create table Made (a: string, b: long)")
            client.mgmt(f".alter table Made policy update '{policy}'")

    changer = threading.Thread(target=change)
    changer.start()
    for n in range(15):
        client.mgmt(f".ingest inline into table R <| x,{n}")
    stop.set()
    changer.join()
    assert here.rows("R | count") == [[15]]
    assert here.rows("Made | count")[0][0] <= 15


def test_hidden_strings_are_shown_nowhere(here: World) -> None:
    secret = "sEcReT-123"  # noqa: S105 - the test searches for it
    here.client.mgmt(".ingest inline into table R <| x,1")
    table = f".create external table S (a: string) kind=storage dataformat=csv (h'{CONTAINER}' h'?sig={secret}')"
    for text, is_query in (
        (table, False),
        (f".ingest into table R (h'{CONTAINER}/a.csv' h'?sig={secret}')", False),
        (f"print h'{secret}' + 1", True),
        (f"R | where b == h'{secret}'", True),
        (f"R | | where a == h'{secret}'", True),
        (f"externaldata (a: string) [h'{CONTAINER}/a.csv;{secret}']", True),
    ):
        assert secret not in str(here.client.refusal(text, query=is_query))
    policy = f'[{{"Source": "R", "Query": "R | where a != h\\"{secret}\\""}}]'.replace("\\", "\\\\")
    here.client.mgmt(".create table Made (a: string, b: long)")
    here.client.mgmt(f".alter table Made policy update '{policy}'")
    for shown in (
        ".show queries",
        ".show commands-and-queries",
        ".show table Made policy update",
        ".show table * policy update",
        ".show database Samples schema as csl script",
    ):
        rows = [row for row in here.client.mgmt(shown) if "alter table Made" not in str(row.get("Text"))]
        assert secret not in str(rows), shown


@pytest.mark.parametrize(
    "text",
    [
        ".export to csv ({taken}) <| print a = 'x'",
        ".export to csv ({inside}) <| print a = 'x'",
        ".export to csv ({long}) <| print a = 'x'",
        ".ingest into table R ({long})",
        ".ingest into table R ({loop})",
    ],
)
def test_an_odd_location_is_refused_without_revealing_a_path(here: World, text: str) -> None:
    (here.folder / "loop").symlink_to(here.folder / "loop")
    places = {"taken": "a.csv", "inside": "a.csv/x", "long": "n" * 300, "loop": "loop"}
    written = text.format(**{name: at(here, path) for name, path in places.items()})
    error = here.client.refusal(written)
    assert error.status == 400
    assert str(here.folder) not in str(error)
    assert str(here.folder) not in str(here.client.mgmt(".show commands"))


@pytest.mark.parametrize(
    "text",
    [
        "externaldata (a: string) [tostring(1) | where 1 == 2]",
        "externaldata (a: string, a: long) ['x']",
        "externaldata (a: string) ['x',]",
        "evaluate infer_storage_schema(dynamic({'StorageContainers': ['x'], 'DataFormat': 'csv', 'Mode': [1]}))",
    ],
)
def test_a_malformed_use_is_400_with_a_local_message(here: World, text: str) -> None:
    error = here.client.refusal(text, query=True)
    assert error.status == 400
    assert "kqlmi_" not in error.description


def test_an_external_table_with_headers_in_the_first_file_is_not_exported_to(here: World) -> None:
    shape = f"(a: string, b: string) kind=storage dataformat=csv ({at(here, 'h')}) with (includeHeaders='firstFile')"
    here.client.mgmt(f".create external table H {shape}")
    assert "includeHeaders" in here.client.refusal(".export to table H <| print a = 'x', b = 'y'").description
    assert (
        "'nameprefix'" in here.client.refusal(".export to table H with (namePrefix='x') <| print a = 'x'").description
    )


COLUMNS = columns("a: string, b: long")


def test_all_members_of_a_gzip_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress(b"x,1\n") + gzip.compress(b"y,2\n"))
    assert list(files.read(tmp_path, "m.csv.gz", "csv", COLUMNS)) == [("x", 1), ("y", 2)]
    (tmp_path / "g.csv.gz").write_bytes(gzip.compress(b"x,1\n") + b"garbage")
    with pytest.raises(KustoError):
        files.read(tmp_path, "g.csv.gz", "csv", COLUMNS)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize(
    "table",
    [
        Table(columns("a: string"), (("x",), ("",), ("y",), ("",))),
        Table(columns("a: long"), ((1,), (None,), (3,), (None,))),
    ],
)
def test_rows_of_one_empty_column_survive(tmp_path: Path, kind: str, table: Table) -> None:
    files.write(tmp_path, f"f.{kind}", kind, table)
    assert files.read(tmp_path, f"f.{kind}", kind, table.columns) == table


def test_folders_named_like_partitions_change_no_value(tmp_path: Path) -> None:
    for kind in ("csv", "json", "parquet"):
        path = f"b=5/zz=6/f.{kind}"
        files.write(tmp_path, path, kind, Table(COLUMNS, (("x", 1),)))
        assert list(files.read(tmp_path, path, kind, COLUMNS)) == [("x", 1)]
        assert len(files.infer(tmp_path, path, kind)) == 2


@pytest.mark.parametrize("name", ["*.json", "[ab].json", "?.json"])
def test_a_file_whose_name_is_a_pattern_is_refused(here: World, name: str) -> None:
    here.put(f"in/{name}", '{"a": "p"}\n')
    here.put("in/a.json", '{"a": "x"}\n')
    text = f"inline_external_table (a: string) kind=storage dataformat=json ({at(here, 'in')})"
    assert "part of a blob path must not" in here.client.refusal(text, query=True).description


@pytest.mark.parametrize(
    "content", ['[{"a":"x","b":1},', '[{"a":"x","b":1},{"a":"y","b":2},\n', '[{"a":"x"}', '{"a":"x"} {']
)
def test_a_json_file_that_is_cut_off_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "f.multijson").write_text(content)
    with pytest.raises(KustoError):
        files.read(tmp_path, "f.multijson", "multijson", COLUMNS)


def test_parquet_values_are_exact_or_refused(tmp_path: Path) -> None:
    import duckdb

    def made(select: str) -> Path:
        target = tmp_path / f"{abs(hash(select))}.parquet"
        duckdb.sql(f"COPY ({select}) TO '{target}' (FORMAT parquet)")
        return target

    moment = columns("t: datetime, a: string")
    exact = made("SELECT TIMESTAMP_NS '2020-01-01 00:00:00.123456700' AS t, 1.5::DECIMAL(9,2) AS other, 'x' AS a")
    assert files.read(tmp_path, exact.name, "parquet", moment).rows[0][0] % 10**7 == 1_234_567
    finer = made("SELECT TIMESTAMP_NS '2020-01-01 00:00:00.123456789' AS t")
    month = made("SELECT INTERVAL 1 MONTH AS t")
    for path in (finer, month):
        with pytest.raises(KustoError):
            files.read(tmp_path, path.name, "parquet", moment)
    assert parquet.rows.__doc__


def test_a_json_file_holds_no_infinity(tmp_path: Path) -> None:
    with pytest.raises(KustoError, match="infinity"):
        files.write(tmp_path, "f.json", "json", Table(columns("g: real"), ((float("inf"),),)))
