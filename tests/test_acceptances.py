"""Tests of findings that a policy file accepts, with a reason and an end date, on the command line and in a notebook."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import kqlmi
from kqlmi import policyfile
from kqlmi.local.cluster import LocalCluster
from kqlmi.policyfile import PolicyFileError
from kqlmi.session import Session
from tests.test_cli import LOADER, Shell

HEAD = "kqlmi: 1\nmode: partial\nidentities: {the loader: 11111111-2222-3333-4444-555555555555}\n"
ONE = "rule: unused, identity: loader, scope: database Samples, usage: ExternalTable"
REASON = "reason: the table comes back in July, until: 2027-07-31"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    identity = kqlmi.local.Identity("loader", LOADER)
    with kqlmi.local.start(databases=["Samples", "Sales"], identities=[identity]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as opened:
        opened.apply(opened.grant(LOADER, "ExternalTable", databases=["Samples"]))
        opened.apply(opened.grant(LOADER, "All", databases=["Sales"]))
        yield opened


@pytest.fixture
def shell(cluster: LocalCluster, session: Session, tmp_path: Path) -> Shell:
    del session
    return Shell(cluster, tmp_path)


def accepting(*rows: str) -> str:
    return "\n".join([HEAD + "accepted:", *(f"  - {{{row}}}" for row in rows), ""])


@pytest.mark.parametrize("name", ["loader", "The Loader", LOADER, f'"{LOADER.upper()}"'])
def test_an_accepted_finding_does_not_count_until_its_end(session: Session, name: str) -> None:
    document = accepting(f"{ONE}, {REASON}".replace("loader", name, 1))
    for day, rules in ((date(2027, 7, 31), ["over-broad"]), (date(2027, 8, 1), ["unused", "over-broad"])):
        audit = session.audit(document, today=day)
        assert [one.rule for one in audit.findings] == rules
        assert len(audit.accepted) == (len(rules) == 1)
        assert len(audit.expired) == (len(rules) == 2)
        printed = "accepted until 2027-07-31" if len(rules) == 1 else "Acceptance expired after 2027-07-31"
        assert printed in str(audit)


def test_an_acceptance_of_something_else_removes_nothing(session: Session) -> None:
    rows = (
        ONE.replace("Samples", "Sales"),
        ONE.replace("unused", "narrow"),
        ONE.replace("ExternalTable", "AutomatedFlows"),
    )
    audit = session.audit(accepting(*(f"{row}, {REASON}" for row in rows)), today=date(2027, 1, 1))
    assert [one.rule for one in audit.findings] == ["unused", "over-broad"]
    assert audit.accepted == ()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f"{ONE}, until: 2027-07-31", "has no reason"),
        (f"{ONE}, reason: because", "has no until"),
        (f'{ONE}, reason: "", until: 2027-07-31', "reason"),
        (f'{ONE}, reason: " ", until: 2027-07-31', "has no reason"),
        (f"{ONE}, reason: because, until: someday", "'someday' is not a date"),
        (f"{ONE}, reason: because, until: 2027-02-30", "'2027-02-30' is not a date"),
        (f"{ONE}, reason: because, until: 20270731", "'20270731' is not a date"),
        (f"{ONE}, {REASON}".replace("unused", "unusd"), "Did you mean unused"),
        (f"{ONE}, {REASON}".replace("database Samples", "Samples"), "scope: database NAME"),
        (f"{ONE}, {REASON}, who: me", "unknown key 'who'"),
        (f"{ONE}, {REASON}, until: 2028-01-01", "occurs twice"),
        (f"identity: loader, scope: cluster, {REASON}", "has no rule"),
        (f"rule: unused, identity: loader, {REASON}", "has no scope"),
    ],
)
def test_an_incomplete_acceptance_is_refused_with_its_line(row: str, says: str) -> None:
    with pytest.raises(PolicyFileError, match="Line 5") as caught:
        policyfile.read(accepting(row))
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["accepted: yes", "accepted: {a: b}", "accepted: [a]", "accepted:"])
def test_an_invalid_list_of_acceptances_is_refused(text: str) -> None:
    with pytest.raises(PolicyFileError, match="Line 4"):
        policyfile.read(f"{HEAD}{text}\n")


def test_acceptances_stay_in_a_file_that_is_exported_again(session: Session) -> None:
    row = f"  - {{{ONE}, {REASON}}}  # agreed\n"
    exported = session.export()
    document = exported.replace("cluster:", f"accepted:\n{row}cluster:")
    assert document != exported
    session.apply(session.grant(LOADER, "SqlRequest", databases=["Samples"]))
    again = session.export(document)
    assert row in again
    assert "SqlRequest" in again
    assert session.plan_file(again)[0].steps == ()


def test_the_exit_status_reflects_the_findings(shell: Shell) -> None:
    done = shell("audit")
    assert done.returncode == 2
    assert "over-broad" in done.stdout
    assert ".alter database ['Sales'] policy managed_identity" in done.stdout
    assert shell("audit", "--fail-on", "medium").returncode == 2
    assert shell("audit", "--fail-on", "high").returncode == 0
    for wrong in (["--fail-on", "grave"], ["--policy-file", "nowhere.yaml"]):
        assert shell("audit", *wrong).returncode == 1


def test_accepted_findings_do_not_cause_exit_status_2(shell: Shell) -> None:
    rows = ONE, ONE.replace("unused", "over-broad").replace("Samples", "Sales").replace("ExternalTable", "All")
    (shell.folder / "policy.yaml").write_text(accepting(*(f"{row}, {REASON}" for row in rows)))
    done = shell("audit", "--policy-file", "policy.yaml")
    assert (done.returncode, "accepted until 2027-07-31" in done.stdout) == (0, True)
    (shell.folder / "policy.yaml").write_text(accepting(*(f"{row}, reason: x, until: 2020-01-01" for row in rows)))
    done = shell("audit", "--policy-file", "policy.yaml")
    assert (done.returncode, "Acceptance expired" in done.stdout) == (2, True)
    (shell.folder / "policy.yaml").write_text(accepting(f"{ONE}, until: 2027-07-31"))
    done = shell("audit", "--policy-file", "policy.yaml")
    assert done.returncode == 1
    assert "Line 5" in done.stderr


def test_programs_get_json_or_sarif(shell: Shell) -> None:
    printed = json.loads(shell("audit", "--json").stdout)
    assert {one["rule"] for one in printed["findings"]} == {"unused", "over-broad"}
    done = shell("audit", "--sarif", "--fail-on", "high")
    assert done.returncode == 0
    assert json.loads(done.stdout)["runs"][0]["tool"]["driver"]["name"] == "kqlmi"


def test_the_help_lists_the_exit_statuses(shell: Shell) -> None:
    done = shell("audit", "--help")
    assert re.search(
        r"every command exits with 1 if it fails\. .* audit exits with 2 .* otherwise with 0",
        " ".join(done.stdout.split()),
    )
