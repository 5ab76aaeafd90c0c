"""Tests of reading a blob's address; one that might contain a secret is refused without repeating it."""

import pytest
from azure.kusto.data import DataFormat

from kqlmi.errors import InputError
from kqlmi.model.uses.blobs import FORMATS, Blob, blob

ACCOUNT = "https://acct.blob.core.windows.net"
GUID = "aaaaaaaa-1111-2222-3333-444444444444"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"{ACCOUNT}/c/f.csv", Blob(f"{ACCOUNT}/c/f.csv")),
        (f" {ACCOUNT}/c/day=1/f%20g.csv;managed_identity=system ", Blob(f"{ACCOUNT}/c/day=1/f%20g.csv", "system")),  # type: ignore[arg-type]
        (f"{ACCOUNT}/c/f.csv;managed_identity={GUID.upper()}", Blob(f"{ACCOUNT}/c/f.csv", GUID)),  # type: ignore[arg-type]
        ("abfss://fs@acct.dfs.core.windows.net/f.parquet", Blob("abfss://fs@acct.dfs.core.windows.net/f.parquet")),
    ],
)
def test_an_address_is_read_and_written_back(text: str, read: Blob) -> None:
    assert blob(text) == read
    assert blob(str(read)) == read


@pytest.mark.parametrize(
    "text",
    [
        f"{ACCOUNT}/c/f.csv?PLANTED",
        f"{ACCOUNT}/c/f.csv?sv=1&sig=PLANTED;managed_identity=system",
        f"{ACCOUNT}/c/f.csv;managed_identity=system?sig=PLANTED",
        f"{ACCOUNT}/c/f.csv;managed_identity=system;PLANTED",
        f"{ACCOUNT}/c/f.csv;managed_identity=PLANTED",
        f"{ACCOUNT}/c/f.csv;PLANTED==",
        f"{ACCOUNT}/c/f.csv;token=PLANTED",
        f"{ACCOUNT}/c/f.csv%3Fsig=PLANTED",
        f"{ACCOUNT}/c/f.csv&sig=PLANTED",
        f"{ACCOUNT}/c/f.csv&sig%3DPLANTED",
        f"{ACCOUNT}/c/f.csv#PLANTED",
        "https://user:PLANTED@acct.blob.core.windows.net/c/f.csv",
        "http://acct.blob.core.windows.net/c/PLANTED",
        "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=PLANTED",
        f"{ACCOUNT}/c/f g.csv PLANTED",
        f"{ACCOUNT};PLANTED",
        "PLANTED",
    ],
)
def test_a_possible_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        blob(text)
    assert "PLANTED" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.hint


def test_the_formats_are_those_of_the_sdk() -> None:
    assert {name: DataFormat[name.upper()].kusto_value for name in FORMATS} == {name: name for name in FORMATS}
    assert len(FORMATS) == len(DataFormat)


@pytest.mark.parametrize(
    ("name", "given", "reported"),
    [("f.csv", "", "csv"), ("F.TSV.GZ", "", "tsv"), ("f.json.zip", "", "json"), ("f.log", "CSV", "csv")],
)
def test_the_extension_determines_the_format_unless_it_is_specified(name: str, given: str, reported: str) -> None:
    assert blob(f"{ACCOUNT}/c/{name}").format(given) == reported


@pytest.mark.parametrize(("name", "given"), [("f.log", ""), ("csv", ""), ("f.csv", "cvs")])
def test_an_unknown_format_is_refused(name: str, given: str) -> None:
    with pytest.raises(InputError):
        blob(f"{ACCOUNT}/c/{name}").format(given)
