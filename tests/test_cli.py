"""Tests of the command line as a shell runs it: its output, its effects, and its exit status."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import kqlmi
from kqlmi.cli import SHELL, main
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan import planfile
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.session import Session
from kqlmi.verbs import Context, Sessions
from kqlmi.verbs.plans import Offer
from tests.waiting import eventually

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
    """The command line with a token in its environment and no terminal, run in this process."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def arguments(self, command: str, *more: str) -> list[str]:
        return [command, *more, "--on", self.cluster.url, "--auth", "token"]

    def __call__(self, command: str, *more: str) -> "subprocess.CompletedProcess[str]":
        arguments, out, err = self.arguments(command, *more), StringIO(), StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(out),
            redirect_stderr(err),
            open(os.devnull, encoding="utf-8") as nothing,  # noqa: PTH123 - a device
        ):
            patch.chdir(self.folder)
            patch.setenv("KQLMI_TOKEN", self.cluster.token)
            patch.setattr("sys.stdin", nothing)
            try:
                status = main(arguments)
            except SystemExit as ended:
                status = int(ended.code or 0)
        assert self.cluster.token not in out.getvalue() + err.getvalue()
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


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
    assert "since this plan was made: - 11111111-2222-3333-4444-555555555555 ExternalTable" in stale.stderr
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


def test_a_partly_applied_plan_exits_with_3(shell: Shell, session: Session) -> None:
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


class Inside:
    """The command line in this process, which is faster, with a token in its environment and no terminal."""

    def __init__(self, cluster: LocalCluster, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.cluster, self.folder, self.capsys = cluster, folder, capsys

    def __call__(self, command: str, file: str, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = main([command, str(self.folder / file), *arguments, "--on", self.cluster.url, "--auth", "token"])
        return status, *self.capsys.readouterr()

    def write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text)


REVOKES = f"""
kqlmi: 1
mode: partial
identities: {{loader: {LOADER}}}
databases:
  Samples:
    loader: [SqlRequest]
"""


@pytest.fixture
def inside(
    cluster: LocalCluster,
    session: Session,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Inside:
    del session
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    found = Inside(cluster, tmp_path, capsys)
    found.write("policy.yaml", REVOKES)
    found.write("plan.json", found("plan", "policy.yaml", "--json")[1])
    return found


def test_yes_does_not_confirm_a_revoke(inside: Inside, session: Session) -> None:
    for file in ("policy.yaml", "plan.json"):
        for options in (["--yes"], ["--revoke"], []):
            status, _, error = inside("apply", file, *options)
            assert (status, "use --yes --revoke" in error.casefold()) == (1, True), (file, options)
    assert grants(session, "Samples") == {(LOADER, "ExternalTable")}
    assert inside("apply", "plan.json", "--yes", "--revoke")[0] == 0
    assert grants(session, "Samples") == {(LOADER, "SqlRequest")}


@pytest.mark.parametrize(("answer", "left"), [("y", "SqlRequest"), ("n", "ExternalTable"), ("", "ExternalTable")])
def test_on_a_terminal_a_question_mentions_the_revoke(
    inside: Inside, session: Session, monkeypatch: pytest.MonkeyPatch, answer: str, left: str
) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", ask)
    assert inside("apply", "policy.yaml")[0] == (0 if answer == "y" else 1)
    assert "removes access" in asked[0]
    assert grants(session, "Samples") == {(LOADER, left)}


@pytest.fixture
def wide(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """Yield a command line with a policy file, all.yaml, that grants the same in 150 databases."""
    names = [f"Database{number:03}" for number in range(150)]
    rows = "".join(f"  {name}: {{loader: [SqlRequest]}}\n" for name in names)
    with kqlmi.local.start(databases=names, identities=[kqlmi.local.Identity("loader", LOADER)]) as cluster:
        monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
        inside = Inside(cluster, tmp_path, capsys)
        inside.write("all.yaml", f"kqlmi: 1\nmode: partial\nidentities: {{loader: {LOADER}}}\ndatabases:\n{rows}")
        yield inside


def test_a_terminal_asks_only_after_every_name_was_shown(wide: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return "n"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", ask)
    status, out, error = wide("apply", "all.yaml")
    assert (status, "150 databases:" in out, out.count("Database075")) == (1, True, 1)
    assert "answer n and add --full" in asked.pop()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    status, out, error = wide("apply", "all.yaml")
    assert (status, asked) == (1, [])
    assert "in Database000 … Database149" in out
    assert "Database075" not in out
    assert "Not all names are shown, and nothing was sent." in error
    assert "add --full" in error
    status, out, error = wide("plan", "all.yaml")
    assert (status, "Database075" in out, "add --full" in error) == (2, False, True)
    for command in ("plan", "apply"):
        status, out, error = wide(command, "all.yaml", "--full")
        assert out.count(".alter-merge database ['Database") == 150
    assert asked == ["\nApply the plan? [y/N] "]


def test_what_is_applied_without_a_question_is_shown_with_every_name(
    wide: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    status, out, _ = wide("apply", "all.yaml", "--yes")
    assert (status, out.count("Database075")) == (0, 1)
    assert "Applied and verified" in out


def test_every_form_of_a_plan_lists_the_uses_that_a_revoke_stops(inside: Inside, session: Session) -> None:
    container = "https://acct.blob.core.windows.net/data"
    inside.cluster.add_storage(container, inside.folder)
    where = f"h@'{container};managed_identity={LOADER}'"
    session.run(f".create external table T (a: string) kind=storage dataformat=csv ({where})", "Samples")
    for form in planfile.FORMATS:
        reported = inside("plan", "policy.yaml", "--format", form)[1]
        assert "Would stop: loader" in reported, form
        assert "external table" in reported, form
    assert "Would stop: loader" in inside("apply", "plan.json")[1]


def test_a_saved_plan_with_a_hidden_command_is_refused(inside: Inside, session: Session) -> None:
    document = json.loads((inside.folder / "plan.json").read_text())
    document["steps"][0]["command"] = ".delete database Samples policy managed_identity"
    inside.write("plan.json", json.dumps(document))
    status, _, error = inside("apply", "plan.json", "--yes", "--revoke")
    assert status == 1
    assert "command of the database Samples does not match its policies" in error
    assert grants(session, "Samples") == {(LOADER, "ExternalTable")}


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


def test_a_missing_file_and_a_wrong_option_exit_with_1(shell: Shell) -> None:
    assert shell("plan", "nowhere.yaml").returncode == 1
    assert shell("plan", "--nonsense").returncode == 1


@pytest.mark.parametrize(
    ("command", "status", "stream"), [("plan", 2, "stdout"), ("apply", 1, "stderr"), ("--nonsense", 1, "stderr")]
)
def test_a_real_shell_gets_the_same_texts_and_the_same_status(
    shell: Shell, command: str, status: int, stream: str
) -> None:
    edit(shell)
    here = shell(command, "policy.yaml")
    there = subprocess.run(
        [sys.executable, "-m", "kqlmi", *shell.arguments(command, "policy.yaml")],
        cwd=shell.folder,
        env={**os.environ, "KQLMI_TOKEN": shell.cluster.token},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (there.returncode, there.stdout, there.stderr) == (here.returncode, here.stdout, here.stderr)
    assert here.returncode == status
    assert getattr(here, stream)


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
    eventually(lambda: not file.exists())


def test_the_help_lists_every_option_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"kqlmi {name} " in shown for name in ("export", "plan", "apply", "audit", "local serve"))
    assert "3 if the plan\nwas applied in part" in shown
    assert shown.startswith("Managed identity policies of Azure Data Explorer.")
    assert "--version" in shown
    assert main([]) == 1
    assert capsys.readouterr().out == shown
    for words in (["apply", "--help"], ["apply", "x", "--help", "--yes"], ["help", "apply"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        for option in ("--yes", "--revoke", "--json", "--no-history", "--on", "--auth", "--sign-in-identity"):
            assert f"[{option}" in shown
            assert f"\n{option} " in shown or f" {option} " in shown
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kqlmi {kqlmi.__version__}\n"


def test_nothing_to_do_is_not_an_error_and_asks_nothing(inside: Inside) -> None:
    inside.write("same.yaml", REVOKES.replace("SqlRequest", "ExternalTable"))
    status, out, error = inside("apply", "same.yaml", "--json")
    assert (status, json.loads(out)["outcome"], json.loads(out)["steps"]) == (0, "applied", [])
    assert "Nothing to do" in error


def test_a_finding_is_explained_with_the_plan_that_fixes_it(inside: Inside, session: Session) -> None:
    session.apply(session.grant(LOADER, "SandboxArtifacts", databases=["Sales"]))
    where = ["--on", inside.cluster.url, "--auth", "token"]
    assert main(["audit", "--json", *where]) == 2
    finding = next(
        one for one in json.loads(inside.capsys.readouterr().out)["findings"] if one["usage"] == "SandboxArtifacts"
    )
    assert main(["audit", finding["id"], *where]) == 2
    shown = inside.capsys.readouterr().out
    assert finding["id"] in shown
    assert ".delete database ['Sales'] policy managed_identity" in shown or ".alter database ['Sales']" in shown
    assert main(["audit", "00000000", *where]) == 1
    assert "no finding" in inside.capsys.readouterr().err


def test_an_interrupt_without_a_sentence_is_called_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kqlmi.cli.connect", interrupted)
    assert main(["export", "--on", "https://somewhere.kusto.windows.net"]) == 130
    assert capsys.readouterr().err == "kqlmi: Interrupted.\n"


def test_the_map_is_printed_and_written_as_a_page(shell: Shell) -> None:
    printed = shell("map")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "ExternalTable  50 % ○  Allowed in 1 of 2: Samples" in printed.stdout
    assert not list(shell.folder.iterdir())
    written = shell("map", "--html", "map.html")
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "Written: map.html\n")
    page = (shell.folder / "map.html").read_text(encoding="utf-8")
    for part in (
        "50 % ○",
        LOADER,
        "<b>Audit of ",
        "To keep only what is used: Plan ",
        "Content-Security-Policy",
        " UTC",
    ):
        assert part in page


@pytest.mark.parametrize(("options", "sections"), [({}, 1), ({"full": True}, 2)])
def test_the_plan_of_a_finding_is_printed_with_each_step_on_request(
    options: dict[str, bool], sections: int, capsys: pytest.CaptureFixture[str]
) -> None:
    scopes = [Scope.database("A"), Scope.database("B")]
    after = Policy.empty().grant(LOADER, "ExternalTable")
    plan = make_plan(Snapshot(dict.fromkeys(scopes)), Snapshot(dict.fromkeys(scopes, after)))
    context = Context(SHELL, Sessions())
    assert SHELL.rows["audit"](context, lambda _: Offer(plan), **options) == 2
    assert capsys.readouterr().out.count(".alter-merge") == sections
