"""Tests of TAB in a real shell, in a real kernel, and in a terminal, without any request to the cluster."""

import atexit
import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import IPython
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import kqlmi
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import KqlmiError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Identity, ObjectId
from kqlmi.model.policy.directory import Directory
from kqlmi.notebook.completion import matcher
from kqlmi.session import Session
from kqlmi.verbs import Sessions
from tests.notebook.conftest import Notebook

# Older versions have no matchers, and TAB then works as it does without kqlmi.
HAS_MATCHERS = IPython.version_info >= (8, 6)
SAMPLES = "['Samples']"
PAYLOAD = f"%%kqlmi\n.alter-merge database {SAMPLES} policy managed_identity ```"
# IPython itself fails if the line ends in certain control characters.
TYPED = st.characters(exclude_categories=("Cc", "Cs"))
LOADER = "aaaaaaaa-1111-2222-3333-444444444444"


class Silent:
    """A connection that must not be used."""

    def execute(self, text: str, *_: object, **__: object) -> Table:
        raise AssertionError(f"asked while typing: {text}")

    def close(self) -> None:
        pass


def offered(shell: InteractiveShell, text: str, after: str = "") -> list[str]:
    """Return the text up to the cursor after each completion that TAB offers."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(text + after, len(text)))
    return [text[: one.start] + one.text for one in found]


@pytest.fixture
def silent(notebook: Notebook) -> InteractiveShell:
    """A shell with a session that knows names, and whose cluster must not be used."""
    magics: Any = notebook.shell.magics_manager.registry["KqlMagics"]
    session = Session("test", Silent(), history=False)
    session.known = type(session.known)(
        ("Samples", "Field Reports"), Directory().learning([Identity(ObjectId(LOADER), "<b>mi</b>")]), ("Fresh",)
    )
    magics.sessions.add(session)
    return notebook.shell


@pytest.mark.skipif(HAS_MATCHERS, reason="this IPython has matchers")
def test_an_old_ipython_has_no_completions(silent: InteractiveShell) -> None:
    assert silent.Completer.custom_matchers == []
    assert offered(silent, "%kqlmi wor") == []


needs_matchers = pytest.mark.skipif(not HAS_MATCHERS, reason="this IPython has no matchers")


@needs_matchers
@pytest.mark.parametrize("jedi", [True, False])
def test_kqlmi_text_is_completed_without_a_request_to_the_cluster(silent: InteractiveShell, jedi: bool) -> None:  # noqa: FBT001 - a parameter of the test
    silent.Completer.use_jedi = jedi
    assert offered(silent, "%kqlmi sh") == ["%kqlmi show"]
    assert offered(silent, "x = 1\n%kqlmi show --database F") == ['x = 1\n%kqlmi show --database "Field Reports"']
    assert offered(silent, "%%kqlmi --database S", "\n.show") == ["%%kqlmi --database Samples"]
    assert offered(silent, "%%kqlmi\n.show jou", "\n// end") == ["%%kqlmi\n.show journal"]
    assert offered(silent, PAYLOAD + '[{"ObjectId": "<b>', '"}]```') == [f'{PAYLOAD}[{{"ObjectId": "{LOADER}']
    assert offered(silent, PAYLOAD + '[\n  {"AllowedUsages": "Fr') == [PAYLOAD + '[\n  {"AllowedUsages": "Fresh']


@needs_matchers
def test_other_completions_are_suppressed_only_in_kqlmi_lines(silent: InteractiveShell, tmp_path: Path) -> None:
    silent.user_ns["samples_of_python"] = 1
    (tmp_path / "samples.yaml").touch()
    with contextlib.chdir(tmp_path):
        assert offered(silent, "%kqlmi show --database sam") == ["%kqlmi show --database Samples"]
        assert offered(silent, "%kqlmi plan sam") == ["%kqlmi plan samples.yaml"]
        assert "%kqlmi plan samples.yaml" in offered(silent, "%kqlmi plan ")
    silent.Completer.use_jedi = False  # what Jedi offers differs with its cache, which other processes write too
    assert "samples_of_python" in offered(silent, "sam")
    assert offered(silent, "%%kqlmi\nsamples_o") == ["%%kqlmi\nsamples_of_python"]
    assert "%kqlmi" in offered(silent, "%kqlm")
    assert "%%kqlmi" in offered(silent, "%%kqlm")


@needs_matchers
@pytest.mark.filterwarnings("ignore:`Completer.complete` is pending:PendingDeprecationWarning")
def test_the_older_completion_api_works_on_a_line(silent: InteractiveShell) -> None:
    assert silent.complete("", "%kqlmi sh", 9) == ("sh", ["show"])


@pytest.fixture(scope="module")
def bare() -> Iterator[InteractiveShell]:
    """One shell for all examples, because each collects garbage at exit."""
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    yield shell
    atexit.unregister(shell.atexit_operations)


@needs_matchers
@given(text=st.text(TYPED, max_size=20), after=st.text(TYPED, max_size=5))
def test_no_text_breaks_the_tab_of_ipython(bare: InteractiveShell, text: str, after: str) -> None:
    shell = bare
    matcher.remove(shell)
    sessions = Sessions()
    sessions.add(Session("test", Silent(), history=False))
    matcher.install(shell, sessions)
    # How IPython itself completes odd text is not tested here.
    [ours] = shell.Completer.custom_matchers
    shell.Completer.disable_matchers = [
        getattr(one, "matcher_identifier", one.__qualname__) for one in shell.Completer.matchers if one is not ours
    ]
    for start in ("%kqlmi ", "%%kqlmi\n", PAYLOAD, ""):
        line = (start + text).rpartition("\n")[2]
        if any(one and not one.split() for one in (line, shell.Completer.splitter.split_line(line))):
            continue  # for blanks, IPython 9 tries to unpack a first word before any matcher runs
        assert all(done.startswith(start) for done in offered(shell, start + text, after))


@needs_matchers
def test_an_error_offers_nothing_and_prints_nothing(
    silent: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KqlmiError("broken")

    monkeypatch.setattr(matcher, "complete", broken)
    assert offered(silent, "%kqlmi wor") == []
    assert capsys.readouterr() == ("", "")


@needs_matchers
def test_loading_again_leaves_one_matcher_and_unloading_none(notebook: Notebook) -> None:
    notebook.shell.run_line_magic("reload_ext", "kqlmi")
    assert len(notebook.shell.Completer.custom_matchers) == 1
    notebook.shell.run_line_magic("unload_ext", "kqlmi")
    assert notebook.shell.Completer.custom_matchers == []
    notebook.shell.run_line_magic("load_ext", "kqlmi")


@needs_matchers
def test_names_come_from_what_the_magics_read(connected: Notebook) -> None:
    shell = connected.shell
    assert offered(shell, "%kqlmi show --database fie") == ['%kqlmi show --database "Field Reports"']
    assert "%kqlmi grant mi-adx-ingest" not in offered(shell, "%kqlmi grant mi-adx-i")
    connected.run(f"%%kqlmi\n.show database {SAMPLES} policy managed_identity")
    assert offered(shell, "%kqlmi grant mi-adx-i") == ["%kqlmi grant mi-adx-ingest"]
    connected.run("%kqlmi grant mi-adx-ingest SqlRequest --database Samples")
    [plan] = shell.magics_manager.registry["KqlMagics"].sessions.get().plans
    assert f"%kqlmi apply {plan[:12]}" in offered(shell, "%kqlmi apply ")


@pytest.mark.notebook
def test_a_kernel_answers_complete_requests(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        connect = f"%load_ext kqlmi\n%kqlmi connect {cluster.url} --auth token --name test\n%kqlmi show"
        assert client.execute_interactive(connect, timeout=60, store_history=False)["content"]["status"] == "ok"
        for jedi in (True, False):
            client.execute_interactive(f"get_ipython().Completer.use_jedi = {jedi}", timeout=60)
            for text, whole in [
                ("%kqlmi wor", "%kqlmi workflows"),
                (PAYLOAD + '[{"ObjectId": "sys', PAYLOAD + '[{"ObjectId": "system'),
                ("%%kqlmi\n.show database ['Fie", "%%kqlmi\n.show database ['Field Reports"),
            ]:
                reply = client.complete(text + "']", len(text), reply=True, timeout=60)["content"]
                done = [text[: reply["cursor_start"]] + match for match in reply["matches"]]
                assert reply["cursor_end"] == len(text)
                assert done == [whole] if HAS_MATCHERS else whole not in done
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


_CONTROLS = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")


class Terminal:
    """IPython in a terminal, as a user sees it; text that is already shown is not written again."""

    def __init__(self, home: Path, token: str) -> None:
        import pty
        import termios

        self.screen, end = pty.openpty()
        # Wide enough that no line wraps.
        termios.tcsetwinsize(end, (40, 250))
        environment = os.environ | {
            "HOME": str(home),
            "IPYTHONDIR": str(home),
            "KQLMI_TOKEN": token,
            "TERM": "xterm",
            # Nothing answers the request for the cursor position.
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        command = [
            sys.executable,
            "-m",
            "IPython",
            "--no-banner",
            "--no-confirm-exit",
            "--HistoryManager.enabled=False",
        ]
        self.process = subprocess.Popen(
            command, stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True
        )
        os.close(end)
        self.shown = ""

    def type(self, keys: str, until: str, seconds: float = 60) -> None:
        """Type keys, and wait until a text is shown."""
        read, self.shown = b"", ""
        os.write(self.screen, keys.encode())
        deadline = time.monotonic() + seconds
        while until not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{until!r} is not shown after {keys!r}:\n{self.shown}"
            if select.select([self.screen], [], [], left)[0]:
                read += os.read(self.screen, 65536)
                self.shown = _CONTROLS.sub("", read.decode(errors="replace"))

    def close(self) -> None:
        """End IPython."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.screen)


@needs_matchers
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_tab_in_a_terminal(cluster: LocalCluster, tmp_path: Path) -> None:
    identity = next(one for one in cluster.identities if one.display_name == "mi-adx-ingest")
    terminal = Terminal(tmp_path, cluster.token)
    try:
        terminal.type("%load_ext kqlmi\r", "In [2]")
        terminal.type(f"%kqlmi connect {cluster.url} --auth token --name test\r", "In [3]")
        terminal.type("%kqlmi wor\t", "kflows")
        terminal.type(" python external\r", "In [4]")
        terminal.type("%kqlmi show\r", "In [5]")
        terminal.type("%%kqlmi\r.alter-merge database ['Fi\t", "eld Reports'")
        terminal.type(" po\t", "managed_identity")
        terminal.type(" \t", 'ObjectId": "')
        terminal.type("mi-adx-i\t", identity.object_id[-12:])
        terminal.type('", \t', 'AllowedUsages"')
        terminal.type(': "Az\t', "ureAI")
        terminal.type('"}]```\x1b\r', "In [6]")
    finally:
        terminal.close()
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as session:
        policy = session.policy(kqlmi.Scope.database("Field Reports"))
        assert policy
        assert (identity.object_id, "AzureAI") in policy.grants
