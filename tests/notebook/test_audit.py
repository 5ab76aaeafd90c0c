"""Tests of auditing and tightening by line magics: shown first, applied by ID."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import CellError, InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.audit.accessmap import AccessMap
from kqlmi.policyfile import PolicyFileError
from tests.notebook.conftest import Notebook


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


def test_an_audit_prints_a_page_and_returns_a_row_for_each_finding(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = connected.run("%kqlmi audit")
    page = capsys.readouterr().out
    assert page.startswith("Audit of test: 0 high, 4 medium, 1 low.")
    assert "Not checked: orphans" in page
    assert set(frame.rule) == {"unused", "over-broad", "redundant"}
    assert all(f"{one}  " in page for one in frame.finding)
    assert all(isinstance(one, list) and one for one in frame.evidence)
    assert all(frame.fixed_by)


def test_a_finding_is_shown_with_its_plan_and_fixed_by_its_id(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = connected.run("%kqlmi audit")
    one = frame[frame.rule == "over-broad"].finding.iloc[0]
    with pytest.raises(CellError, match="is neither the ID of a plan that was shown"):
        connected.run(f"%kqlmi apply {one} --revoke")
    capsys.readouterr()
    connected.run(f"%kqlmi audit {one}")
    shown = capsys.readouterr().out
    assert "evidence: All, according to .show database ['Telemetry'] policy managed_identity" in shown
    assert ".alter database ['Telemetry'] policy managed_identity" in shown
    [command] = re.findall(r"To apply it: (%kqlmi apply .*)", shown)
    assert command == f"%kqlmi apply {one} --revoke"
    connected.run(command)
    assert "Applied and verified" in capsys.readouterr().out
    assert one not in set(connected.run("%kqlmi audit").finding)
    with pytest.raises(InputError, match=f"no finding '{one}'"):
        connected.run(f"%kqlmi audit {one}")
    connected.run("%kqlmi undo")


def test_findings_that_a_policy_file_accepts_are_omitted(connected: Notebook, tmp_path: Path) -> None:
    frame = connected.run("%kqlmi audit")
    row = frame[frame.rule == "redundant"].iloc[0]
    path = tmp_path / "policy.yaml"
    fields = f"rule: redundant, identity: {row.object_id}, scope: {row['scope']}, usage: {row.usage}"
    path.write_text(f"kqlmi: 1\nmode: partial\naccepted:\n- {{{fields}, reason: kept on purpose, until: 9999-12-31}}\n")
    assert row.finding not in set(connected.run(f"%kqlmi audit --policy-file {path}").finding)
    path.write_text(f"kqlmi: 1\nmode: partial\naccepted:\n- {{{fields}, until: 9999-12-31}}\n")
    with pytest.raises(PolicyFileError, match="no reason"):
        connected.run(f"%kqlmi audit --policy-file {path}")
    with pytest.raises(CellError, match="Cannot read"):
        connected.run("%kqlmi audit --policy-file nowhere.yaml")


def test_tightening_shows_its_reasons_and_is_applied_by_its_id(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    connected.run("%kqlmi tighten")
    shown = capsys.readouterr().out
    kept = r"Keep: .* NativeIngestion in the policy of 2 databases: cannot be proven unused: .* \(Samples, Telemetry\)"
    assert re.search(kept, shown)
    assert re.search(r"Revoke: .* All in the policy of the database Telemetry", shown)
    [command] = re.findall(r"To apply it: (%kqlmi apply .*)", shown)
    connected.run(command)
    capsys.readouterr()
    connected.run("%kqlmi tighten")
    assert "Nothing to do on test." in capsys.readouterr().out
    connected.run("%kqlmi tighten --also-unproven")
    shown = capsys.readouterr().out
    assert re.search(r"Revoke: .* NativeIngestion .* not seen in use, but not proven unused", shown)
    assert "--revoke" in shown


def test_help_mentions_both(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    connected.run("%kqlmi help")
    shown = capsys.readouterr().out
    assert "%kqlmi audit" in shown
    assert "%kqlmi tighten" in shown


def test_the_map_is_the_result_of_its_line(connected: Notebook) -> None:
    found = connected.run("%kqlmi map")
    assert isinstance(found, AccessMap)
    assert '<th scope="row">' in found._repr_html_()
    assert repr(found).startswith("<AccessMap: Who may do what on test: ")


def test_a_terminal_prints_the_map(
    connected: Notebook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("IPython.get_ipython", lambda: connected.shell)
    assert connected.shell.display_formatter is not None
    connected.shell.display_formatter.active_types = ["text/plain"]
    connected.run("found = %kqlmi map")
    assert "Who may do what on test: " in capsys.readouterr().out
    assert isinstance(connected.shell.user_ns["found"], AccessMap)
