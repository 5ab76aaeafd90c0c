"""The environment of a row: a shell with kqlmi, a cluster, folders, and a machine's ways to sign in."""

import dataclasses
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from kqlmi.cli import main
from kqlmi.local.cluster import LocalCluster
from kqlmi.session import Session
from tests.safety.watching import Secrets, Watch
from tests.standins import front
from tests.standins.entra import CLIENT, TENANT, Entra
from tests.standins.front import Front
from tests.standins.serving import Answer, Request, serve

DATA: Final = "https://acct.blob.core.windows.net/data"


@dataclasses.dataclass
class Scene:
    """The environment of a row; ``given`` contains the user's own files, ``work`` and ``state`` the files that a run writes."""

    watch: Watch
    secrets: Secrets
    cluster: LocalCluster
    directory: Entra
    shell: InteractiveShell
    patch: pytest.MonkeyPatch
    folder: Path

    @property
    def given(self) -> Path:
        return self.folder / "given"

    @property
    def loader(self) -> str:
        return self.cluster.identities[1].object_id

    @property
    def session(self) -> Session:
        magics: Any = self.shell.magics_manager.registry["KqlMagics"]
        found: Session = magics.sessions.get()
        return found

    def cell(self, text: str) -> Any:
        """Run a cell, and record everything that a notebook would show."""
        published = CapturingDisplayPublisher()
        self.shell.display_pub, before = published, self.shell.display_pub
        try:
            ran = self.shell.run_cell(text, silent=False)
        finally:
            self.shell.display_pub = before
        self.watch.see("display", *published.outputs, getattr(self.shell, "rl_next_input", ""))
        if error := ran.error_before_exec or ran.error_in_exec:
            self.watch.error(error)
        elif ran.result is not None:
            self.watch.value(ran.result)
        return ran

    def works(self, text: str) -> Any:
        ran = self.cell(text)
        ran.raise_error()
        return ran.result

    def fails(self, text: str) -> BaseException:
        ran = self.cell(text)
        error = ran.error_before_exec or ran.error_in_exec
        assert error is not None, f"it should fail: {text[:40]}"
        assert isinstance(error, BaseException)
        return error

    def call(self, function: Callable[..., Any], *words: Any, **options: Any) -> Any:
        """Call a Python function, and record what it returns or raises."""
        try:
            found = function(*words, **options)
        except Exception as error:  # noqa: BLE001 - every error is recorded
            self.watch.error(error)
            return error
        self.watch.value(found)
        return found

    def line(self, *words: str) -> int:
        """Run the command line."""
        try:
            return main(words)
        except SystemExit as end:
            self.watch.see("stderr", end)
            return int(end.code or 0)

    def connect(self, more: str = "", url: str = "") -> Session:
        self.patch.setenv("KQLMI_TOKEN", self.cluster.token)
        self.works(f"%kqlmi connect {url or self.cluster.url} --auth token --name test --database Samples {more}")
        return self.session

    def look(self, *what: object) -> None:
        """Record the objects of a session, in every form in which they can be exported."""
        target: Any = self.session.target
        found = [self.session, self.session.connection, target, target.sign_in, target.sign_in.credential, *what]
        for one in found:
            self.watch.value(one)
            with suppress(Exception):
                self.watch.see("pickle", pickle.dumps(one).decode("latin-1"))
            if dataclasses.is_dataclass(one) and not isinstance(one, type):
                with suppress(TypeError):
                    self.watch.see("asdict", dataclasses.asdict(one), dataclasses.astuple(one))

    @contextmanager
    def endpoint(self) -> Iterator[Front]:
        """Yield the cluster behind an endpoint that names the directory for signing in, which the environment trusts."""
        self.patch.setenv("AZURE_AUTHORITY_HOST", self.directory.url)
        with front.before(self.cluster.url, self.directory.url) as running:
            yield running

    def application(self, secret: str = "") -> None:
        """Configure an application in the environment."""
        self.patch.setenv("AZURE_TENANT_ID", TENANT)
        self.patch.setenv("AZURE_CLIENT_ID", CLIENT)
        if secret:
            self.patch.setenv("AZURE_CLIENT_SECRET", secret)

    def signs_in(self, auth: str, more: str = "") -> None:
        """Sign in, and record all objects that then exist."""
        with self.endpoint() as running:
            self.works(f"%kqlmi connect {running.url} --auth {auth} --name test {more}")
            self.works("%kqlmi whoami")
            self.look()
            assert running.tokens

    def is_refused(self, auth: str, more: str = "") -> BaseException:
        with self.endpoint() as running:
            return self.fails(f"%kqlmi connect {running.url} --auth {auth} {more}")

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        (self.given / "config.toml").write_text(text)


@contextmanager
def echo(status: int, says: Callable[[Request], Any], content: str = "application/json") -> Iterator[str]:
    """Serve answers that repeat what was sent, as no real cluster does; ``says`` returns the body, or an error message."""

    def answer(request: Request) -> Answer:
        if request.route == "/v1/rest/auth/metadata":
            return Answer(404, b"")
        body = says(request)
        fault = {"error": {"code": "BadRequest", "@type": "Kusto.Data.Exceptions.KustoBadRequestException"}}
        if isinstance(body, str):
            fault["error"]["@message"] = body
            body = fault
        return Answer(status, body, {"Content-Type": content})

    with serve(answer) as port:
        yield f"http://127.0.0.1:{port}"


Row = Callable[[Scene], None]
ROWS: dict[str, tuple[Row, str]] = {}
"""The rows by name, each with a text that must be recorded, which proves that it went the intended way."""


def row(says: str) -> Callable[[Row], Row]:
    """Register a row; ``says`` must be recorded when it runs."""

    def register(function: Row) -> Row:
        assert function.__name__ not in ROWS
        ROWS[function.__name__] = (function, says)
        return function

    return register


def clean_environment(patch: pytest.MonkeyPatch) -> None:
    """Remove everything that the test machine offers for signing in."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "IMDS_", "MSI_", "KQLMI_")) or name.upper().endswith("_PROXY"):
            patch.delenv(name)
