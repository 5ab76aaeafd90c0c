"""Tests of ``%kqlmi new``: the checklist is printed, and the next cell contains the text."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kqlmi.errors import InputError
from kqlmi.model.templates import FORMS
from kqlmi.notebook.completion import Known, Names, complete
from tests.notebook.conftest import Notebook

URI = "https://acct.blob.core.windows.net/data"
LINE = f"%kqlmi new external_table.storage --identity system --database Samples --name T --uri {URI}"


def test_the_next_cell_contains_the_command_and_the_checklist_is_printed(
    connected: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(InteractiveShell, "_instance", connected.shell, raising=False)
    assert connected.run(LINE) is None
    reported = capsys.readouterr().out
    cell = str(connected.shell.rl_next_input)
    assert cell.startswith("%%kqlmi --database=Samples --on=test\n.create external table ['T']")
    assert cell not in reported
    assert "a policy allows ExternalTable" in reported
    assert "[?] the Azure role" in reported
    connected.run(f"{LINE} --print")
    assert cell in capsys.readouterr().out


def test_without_a_next_cell_the_text_is_printed(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    connected.run(LINE)
    assert "\n%%kqlmi --database=Samples --on=test\n.create external table ['T']" in capsys.readouterr().out


def test_queued_ingestion_comes_as_a_line_and_as_python(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest = "--ingest-uri https://ingest-c.kusto.windows.net"
    connected.run(f"%kqlmi new ingest.sdk_queued --identity system --table T --uri {URI}/a.csv {ingest}")
    reported = capsys.readouterr().out
    assert "QueuedIngestClient(builder)" in reported
    assert (
        f'\n%kqlmi ingest "{URI}/a.csv" into T --identity system --database Samples --format csv --on=test\n'
        in reported
    )


def test_the_flows_and_their_options_are_listed(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    flows = connected.run("%kqlmi new")
    assert list(flows.flow) == list(FORMS)
    for line in ("%kqlmi new sql_request --help", "%kqlmi help new sql_request"):
        connected.run(line)
        reported = capsys.readouterr().out
        assert "%kqlmi new sql_request --identity IDENTITY [--database DATABASE] --server SERVER" in reported
        assert "--query    the SQL query (default: select 1 as x)" in reported
    connected.run("%kqlmi new --help")
    assert "[--OPTION VALUE]…" in capsys.readouterr().out


def test_a_flow_is_named_by_its_workflow_as_well(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    connected.run(LINE)
    by_id = capsys.readouterr().out
    connected.run(LINE.replace("external_table.storage", '"External table on Azure storage"'))
    assert capsys.readouterr().out == by_id
    with pytest.raises(InputError, match="Did you mean Continuous export"):
        connected.run("%kqlmi new 'Continous export' --identity system")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("new external_table.storage --identity system --name T", "needs --uri"),
        ("new external_table.storage --name T", "needs --identity"),
        (
            "new external_table.storage --identity system --name T --uri x --server s",
            "is not a known option of new. Known: --identity",
        ),
        ("new externaldat", "Flow 'externaldat' does not exist"),
        ("new externaldata --identity nobody --uri https://acct.blob.core.windows.net/c", "nobody"),
        ("new externaldata --identity system --database Nope --uri https://acct.blob.core.windows.net/c", "Nope"),
        (
            "new externaldata --identity system --uri https://acct.blob.core.windows.net/c?sig=abc",
            "must not contain a query string",
        ),
        ("new externaldat --help", "does not exist"),
    ],
)
def test_an_error_in_the_line_is_reported(connected: Notebook, line: str, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        connected.run(f"%kqlmi {line}")


def test_tab_offers_the_flows_and_the_options_of_each() -> None:
    known = Known({"c": Names(("Samples",), {"system": "the engine"})}, "c")

    def offered(text: str) -> list[str]:
        return [one.text for one in complete(text, "", known).candidates]

    assert offered("%kqlmi new ")[: len(FORMS)] == list(FORMS)
    assert offered("%kqlmi new ext")[:2] == ["external_table.storage", "external_table.delta"]
    own = [one.option for one in FORMS["sql_request"].fields]
    assert offered("%kqlmi new sql_request ") == ["--identity", "--database", "--print", *own, "--on", "--help"]
    assert offered("%kqlmi new sql_request --se") == ["--server"]
    assert offered("%kqlmi new externaldata --identity ") == ["system"]
    assert offered("%kqlmi new externaldata --format=pa") == ["parquet"]
    assert offered("%kqlmi plan x --format m") == ["markdown"]
