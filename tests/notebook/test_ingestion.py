"""Tests of ingesting a blob with a line magic."""

from pathlib import Path

import pytest

from kqlmi.errors import CellError, IngestionError, InputError
from kqlmi.local.cluster import LocalCluster
from tests.notebook.conftest import Notebook

DATA = "https://acct.blob.core.windows.net/lines"


@pytest.fixture
def ready(
    notebook: Notebook, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Notebook, str]:
    """A notebook with a table, and an identity that may ingest into it."""
    (tmp_path / "a.csv").write_text("place,n\nnorth,1\n")
    cluster.add_storage(DATA, tmp_path)
    loader = cluster.identities[-1].object_id
    cluster.assign_role(loader, DATA, "Storage Blob Data Reader")
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    where = f"--auth token --name test --database Samples --ingest-url {cluster.ingest_url}"
    notebook.run(f"%kqlmi connect {cluster.url} {where}")
    notebook.run("%%kqlmi\n.create-merge table Lines (a: string, b: long)")
    return notebook, loader


def test_a_line_ingests_as_an_identity_and_reports_the_request_and_the_outcome(
    ready: tuple[Notebook, str], capsys: pytest.CaptureFixture[str]
) -> None:
    notebook, loader = ready
    line = f"%kqlmi ingest {DATA}/a.csv into Lines --identity {loader} --ignore-first-record"
    notebook.run(f"%kqlmi grant {loader} NativeIngestion --database Samples")
    plan = capsys.readouterr().out.rpartition("%kqlmi apply ")[2].strip()
    with pytest.raises(InputError, match=f"%kqlmi grant {loader} NativeIngestion --database=Samples --on=test"):
        notebook.run(line)
    notebook.run(f"%kqlmi apply {plan}")
    capsys.readouterr()
    assert notebook.run(line) is None
    sending, queued, ingested = capsys.readouterr().out.splitlines()
    expected = (
        f"Sending {DATA}/a.csv;managed_identity={loader} to Samples.Lines on test as csv, skipping the first record"
    )
    assert sending.startswith(expected)
    assert queued == "Queued."
    assert ingested.startswith("Ingested into Samples.Lines, operation ")
    assert notebook.run("%%kqlmi\nLines").values.tolist() == [["north", 1]]
    notebook.run(f"{line} --wait 0")
    assert capsys.readouterr().out.endswith("Queued; the result was not awaited.\n")
    with pytest.raises(IngestionError, match="there is no blob"):
        notebook.run(f"%kqlmi ingest {DATA}/none.csv;managed_identity={loader} into Lines")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (f"{DATA}/a.csv?sv=1&sig=PLANTED into Lines --identity system", InputError),
        (f"{DATA}/a.csv;PLANTED== into Lines", InputError),
        (f"Lines into {DATA}/a.csv?sig=PLANTED", InputError),
        (f"Lines {DATA}/a.csv?sig=PLANTED into", CellError),
        (f"{DATA}/a.csv?sig=PLANTED into", CellError),
        (f"'{DATA}/a.csv?sig=PLANTED into Lines", CellError),
        (f"{DATA}/a.csv?sig=PLANTED into Lines --wait soon", CellError),
        (f"{DATA}/a.csv?sig=PLANTED into Lines --nothing", CellError),
    ],
)
def test_a_secret_on_the_line_is_never_repeated(
    ready: tuple[Notebook, str], line: str, error: type[InputError], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error) as caught:
        ready[0].run(f"%kqlmi ingest {line}")
    assert "PLANTED" not in f"{caught.value} {caught.value.__cause__} {capfd.readouterr()}"
