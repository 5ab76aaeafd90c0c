"""Tests of checking a cell, and of explaining a refusal, in a shell."""

import pytest

from kqlmi.errors import CellError, ServiceError
from tests.notebook.conftest import Notebook

EXPORT = "7b574bf6-2b96-580c-a411-e28963900e20"
BLOB = "https://kqlmisamples.blob.core.windows.net/landing/visits.csv"
QUERY = f"externaldata (d: string)\n[h'{BLOB};managed_identity={EXPORT}']"


def test_check_returns_a_row_for_each_identity_and_runs_nothing(connected: Notebook) -> None:
    frame = connected.run(f"%%kqlmi check\n{QUERY}")
    assert list(frame.columns) == [
        *("workflow", "identity", "usage", "scope", "allowed", "reason", "also_needs", "target", "line"),
    ]
    row = frame.iloc[0]
    assert (row.workflow, row.usage, row.scope) == ("externaldata operator", "ExternalDataRequest", "database Samples")
    assert (bool(row.allowed), row.line, row.target) == (False, 2, BLOB)
    assert "callout policy: external_data" in row.also_needs
    assert connected.run("%%kqlmi found << check --database Sales\n.drop database Sales") is None
    assert len(connected.shell.user_ns["found"]) == 0
    assert "Sales" in connected.run("%%kqlmi\n.show databases").DatabaseName.tolist()


def test_a_word_that_is_not_check_has_no_place_there(connected: Notebook) -> None:
    with pytest.raises(CellError, match="'chek'"):
        connected.run("%%kqlmi chek\nprint 1")


def test_a_refused_cell_ends_with_its_fix_and_explain_repeats_it(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ServiceError) as caught:
        connected.run(f"%%kqlmi\n{QUERY}")
    fix = f"%kqlmi grant {EXPORT} ExternalDataRequest --database=Samples --on=test"
    assert str(caught.value).endswith(f"To fix it: {fix}")
    capsys.readouterr()
    connected.run("%kqlmi explain")
    output = capsys.readouterr().out
    assert f"    {fix}\n" in output
    assert "Storage Blob Data Reader" in output


def test_explain_without_a_refusal_says_so(notebook: Notebook) -> None:
    notebook.run("%kqlmi connect local")
    with pytest.raises(CellError, match="Nothing has been refused"):
        notebook.run("%kqlmi explain")


def test_a_refusal_of_another_kind_blames_no_identity(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServiceError):
        connected.run("%%kqlmi\nprint nope")
    capsys.readouterr()
    connected.run("%kqlmi explain")
    assert "The reason does not seem to be an identity." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Failed: BadRequest_InvalidManagedIdentity", "Cause: "),
        ("Authentication with a Managed Identity is disabled for this flow", "flow"),
        (f"Principal 'aadapp={EXPORT.upper()}' is not authorized to read database 'Sales'.", "mi-adx-export"),
        ("Semantic error: SEM0100: 'where' operator", "The reason does not seem to be an identity."),
        ("nothing that was ever published", "The reason does not seem to be an identity."),
    ],
)
def test_a_copied_text_is_explained_by_the_catalogue(
    connected: Notebook, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    capsys.readouterr()
    connected.run(f'%kqlmi explain "{text}"')
    shown = capsys.readouterr().out
    assert shown.startswith(text)
    assert says in shown


def test_the_latest_failures_are_a_table(connected: Notebook) -> None:
    shown = connected.run("%kqlmi explain --last-failures Samples")
    assert list(shown.columns) == ["subject", "time", "details", "explanation", "fix"]
