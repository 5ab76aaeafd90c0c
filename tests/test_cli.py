"""The command line as a shell runs it: what it prints, what it changes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi.local.cluster import LocalCluster
from kqlmi.model import planfile
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Policy
from kqlmi.session import Session

LOADER = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    identity = kqlmi.local.Identity("loader", LOADER)
    with kqlmi.local.start(databases=["Samples", "Sales"], identities=[identity]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as opened:
        opened.apply(opened.grant(LOADER, "ExternalTable", databases=["Samples"]))
        yield opened


class Shell:
    """A shell with a token in its environment and no terminal."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def __call__(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "kqlmi", command, *arguments, "--cluster", self.cluster.url, "--auth", "token"],
            cwd=self.folder,
            env={**os.environ, "KQLMI_TOKEN": self.cluster.token},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert self.cluster.token not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def shell(cluster: LocalCluster, session: Session, tmp_path: Path) -> Shell:
    del session
    return Shell(cluster, tmp_path)


def grants(session: Session, name: str) -> frozenset[tuple[str, str]]:
    policy = session.policy(Scope.database(name))
    return policy.grants if policy else frozenset()


def test_export_then_plan_is_nothing_to_do(shell: Shell) -> None:
    assert shell("export", "policy.yaml").returncode == 0
    done = shell("plan", "policy.yaml")
    assert (done.returncode, done.stdout) == (0, f"Nothing to do on {shell.cluster.url.removeprefix('http://')}.\n")
    assert shell("apply", "policy.yaml").returncode == 0


def edit(shell: Shell) -> Path:
    shell("export", "policy.yaml")
    path = shell.folder / "policy.yaml"
    text = path.read_text().replace("[ExternalTable]", "[ExternalTable, SqlRequest]  # for the report")
    path.write_text(text)
    return path


def test_an_edited_file_is_planned_applied_and_exported_as_it_was_edited(shell: Shell, session: Session) -> None:
    path = edit(shell)
    edited = path.read_text()
    planned = shell("plan", "policy.yaml")
    assert planned.returncode == 2
    assert "+ loader" in planned.stdout
    assert grants(session, "Samples") == {(LOADER, "ExternalTable")}
    refused = shell("apply", "policy.yaml")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert grants(session, "Samples") == {(LOADER, "ExternalTable")}
    applied = shell("apply", "policy.yaml", "--yes")
    assert applied.returncode == 0
    assert "Applied and verified" in applied.stdout
    assert grants(session, "Samples") == {(LOADER, "ExternalTable"), (LOADER, "SqlRequest")}
    assert shell("export", "policy.yaml").returncode == 0
    assert path.read_text() == edited


def test_a_saved_plan_is_applied_later_and_refused_once_it_is_stale(shell: Shell, session: Session) -> None:
    edit(shell)
    (shell.folder / "plan.json").write_text(shell("plan", "policy.yaml", "--json").stdout)
    session.run(".delete database Samples policy managed_identity")
    stale = shell("apply", "plan.json", "--yes", "--json")
    assert stale.returncode == 1
    assert "changed since this plan was made" in stale.stderr
    assert json.loads(stale.stdout)["outcome"] == "not applied"
    session.apply(session.grant(LOADER, "ExternalTable", databases=["Samples"]))
    done = shell("apply", "plan.json", "--yes", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "plan": json.loads((shell.folder / "plan.json").read_text())["id"],
        "cluster": shell.cluster.url.removeprefix("http://"),
        "outcome": "applied",
        "steps": [{"scope": "Samples", "outcome": "applied"}],
    }


def test_a_plan_that_went_half_way_ends_with_3(shell: Shell, session: Session) -> None:
    stranger = "99999999-2222-3333-4444-555555555555"
    wanted = {
        Scope.database("Sales"): Policy.empty().grant(LOADER, "All"),
        Scope.database("Samples"): Policy.empty().grant(LOADER, "ExternalTable").grant(stranger, "All"),
    }
    (shell.folder / "plan.json").write_text(planfile.to_json(session.plan(wanted)))
    done = shell("apply", "plan.json", "--yes", "--json")
    assert done.returncode == 3
    assert [step["outcome"] for step in json.loads(done.stdout)["steps"]] == ["applied", "not applied"]
    assert grants(session, "Sales") == {(LOADER, "All")}


@pytest.mark.parametrize(("form", "sign"), [("markdown", "### Plan"), ("kql", "// Plan"), ("text", "Plan ")])
def test_a_plan_is_printed_for_others(shell: Shell, form: str, sign: str) -> None:
    edit(shell)
    done = shell("plan", "policy.yaml", "--format", form)
    assert done.returncode == 2
    assert done.stdout.startswith(sign)


@pytest.mark.parametrize(
    ("content", "culprit"),
    [
        (b"", "empty"),
        (b"kqlmi: 1\nmode: complete\ndatabases:\n  Samples:\n    loader: [ExternalTables]\n", "Line 5"),
        (b"kqlmi: 9\nmode: complete\n", "9"),
        (b"kqlmi: 1\nmode: complete\ndatabases:\n  Sample: {}\n", "Samples"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_broken_file_changes_nothing_and_names_the_culprit(
    shell: Shell, session: Session, content: bytes, culprit: str
) -> None:
    (shell.folder / "policy.yaml").write_bytes(content)
    for command in ("plan", "apply"):
        done = shell(command, "policy.yaml", *(["--yes"] if command == "apply" else []))
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1
        assert culprit in done.stderr
    assert grants(session, "Samples") == {(LOADER, "ExternalTable")}


def test_a_missing_file_and_a_wrong_option_end_with_1(shell: Shell) -> None:
    assert shell("plan", "nowhere.yaml").returncode == 1
    assert shell("plan", "--nonsense").returncode == 1


def test_an_export_that_cannot_be_written_loses_nothing(shell: Shell) -> None:
    (shell.folder / "policy.yaml").mkdir()
    done = shell("export", "policy.yaml")
    assert done.returncode == 1
    assert [path.name for path in shell.folder.glob("*policy*")] == ["policy.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be caught")
def test_a_local_cluster_is_served_joined_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    process = subprocess.Popen([sys.executable, "-m", "kqlmi", "local", "serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert str(file) in lines[1]
        assert file.stat().st_mode & 0o777 == 0o600
        token = json.loads(file.read_text())["token"]
        assert token not in "".join(lines)
        for _ in range(2):
            with kqlmi.connect("local") as session:
                joined = session.databases()
                session.run(f".create database D{len(joined)}")
        assert "D4" in joined
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()
    deadline = time.monotonic() + 10
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not file.exists()
