"""Tests that no token, key, signature or password is shown, with a row for each way that a secret takes through kqlmi."""

import logging
import os
import sys
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from azure.kusto.data._cloud_settings import CloudSettings
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import kqlmi
from kqlmi.cluster.faults.retries import Patience
from kqlmi.local.cluster import LocalCluster
from tests.safety import rows_cells, rows_cluster, rows_naming, rows_signin
from tests.safety.scene import DATA, ROWS, Scene, clean_environment
from tests.safety.watching import PIECE, Secrets, Watch
from tests.standins import entra
from tests.standins.entra import Entra
from tests.standins.serving import Authority, certify

__all__ = ["rows_cells", "rows_cluster", "rows_naming", "rows_signin"]  # they register themselves


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return certify(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    folder = tmp_path_factory.mktemp("container")
    (folder / "a.csv").write_text("x,1\ny,2\n")
    with kqlmi.local.start(databases=["Samples", "Other"], identities=["system", "loader", "idle"]) as started:
        loader = started.identities[1].object_id
        started.add_storage(DATA, folder)
        started.assign_role(loader, DATA, "Storage Blob Data Contributor")
        with kqlmi.connect(started.url, token=started.token, history=False) as admin:
            admin.run(".create table R (a: string, b: long)", "Samples")
            admin.apply(admin.grant(loader, "NativeIngestion", "ExternalTable", databases=["Samples"]))
        yield started


@pytest.fixture(scope="module")
def directory(cluster: LocalCluster, authority: Authority) -> Iterator[Entra]:
    with entra.running(Entra(cluster.token), authority.tls) as running:
        yield running


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VIRTUAL_ENV", raising=False)
        made = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    made.run_line_magic("load_ext", "kqlmi")
    yield made
    made.run_line_magic("unload_ext", "kqlmi")


@dataclass(frozen=True)
class Place:
    """The fixtures that the rows share."""

    cluster: LocalCluster
    directory: Entra
    shell: InteractiveShell
    certificates: Path


@pytest.fixture(scope="module")
def place(cluster: LocalCluster, directory: Entra, shell: InteractiveShell, authority: Authority) -> Place:
    return Place(cluster, directory, shell, authority.file)


@pytest.fixture
def scene(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    cluster, directory, shell = place.cluster, place.directory, place.shell
    clean_environment(monkeypatch)
    for name in ("given", "work", "state", "bin"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(place.certificates))
    monkeypatch.setenv("KQLMI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("KQLMI_CONFIG", str(tmp_path / "given" / "config.toml"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path / "work")
    CloudSettings._cloud_cache.clear()
    directory.pending, directory.echo, directory.denied = 0, False, False
    secrets = Secrets(request.node.name)
    # The cluster's own secrets are planted in every row.
    state = cluster._state
    for one in (cluster.token, state.arm_token, state.signature, directory.secret):
        secrets.plant(one)
    monkeypatch.setattr(InteractiveShell, "_instance", shell)
    monkeypatch.setattr("kqlmi.cluster.faults.retries.Patience", partial(Patience, sleep=lambda _: None))
    magics: Any = shell.magics_manager.registry["KqlMagics"]
    yield Scene(Watch(), secrets, cluster, directory, shell, monkeypatch, tmp_path)
    magics.sessions.close()
    CloudSettings._cloud_cache.clear()


@contextmanager
def watching(scene: Scene, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Record all output of the block."""
    with scene.watch.logs(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
    scene.watch.see("warning", *(one.message for one in warned))
    out, err = capfd.readouterr()
    scene.watch.see("stdout", out)
    scene.watch.see("stderr", err)
    scene.watch.files(scene.folder / "work")
    scene.watch.files(scene.folder / "state")
    scene.secrets.planted += scene.cluster._state.authorizations


@pytest.mark.parametrize("name", ROWS)
def test_no_secret_is_shown(name: str, scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    run, says = ROWS[name]
    with watching(scene, capfd):
        run(scene)
    assert scene.watch.leaks(scene.secrets.planted) == []
    assert says in scene.watch.text, "the row did not take the intended way"


def test_there_are_enough_ways() -> None:
    assert len(ROWS) >= 30


def _raise(error: BaseException) -> None:
    raise error


def _in_context(secret: str) -> None:
    failed = ValueError("a sentence")
    try:
        _raise(KeyError(secret))
    except KeyError:
        raise failed from None


class _Shown:
    """An object that shows a text in one way only."""

    def __init__(self, attribute: str = "", html: str = "", text: str = "") -> None:
        self.attribute, self._html, self._text = attribute, html, text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def _log_an_error(secret: str) -> None:
    try:
        _raise(ValueError(secret))
    except ValueError:
        logging.getLogger("azure.anything").debug("a sentence", exc_info=True)


Leak = Callable[[Scene, str], object]
LEAKS: list[tuple[str, Leak]] = [
    ("stdout", lambda _, secret: sys.stdout.write(secret)),
    ("stderr", lambda _, secret: sys.stderr.write(secret)),
    ("stdout", lambda _, secret: os.system(f"echo {secret}")),  # noqa: S605 - a letter and digits
    ("stdout", lambda scene, secret: scene.cell(f"print({secret!r})")),
    ("error", lambda scene, secret: scene.call(_raise, ValueError(secret))),
    ("error", lambda scene, secret: scene.call(_raise, ValueError(f"…{secret[3 : 3 + PIECE]}…"))),
    ("context", lambda scene, secret: scene.call(_in_context, secret)),
    ("log", lambda _, secret: logging.getLogger("msal.anything").debug("%s", {"a": secret})),
    ("error", lambda _, secret: _log_an_error(secret)),
    ("warning", lambda _, secret: warnings.warn(secret, stacklevel=1)),
    ("repr", lambda scene, secret: scene.watch.value(_Shown(text=secret))),
    ("vars", lambda scene, secret: scene.watch.value(_Shown(attribute=secret))),
    ("display", lambda scene, secret: scene.watch.value(_Shown(html=f"<p>{secret}</p>"))),
    ("display", lambda scene, secret: scene.works(f"import pandas; pandas.DataFrame([['{'-' * 90}' {secret!r}]])")),
    ("display", lambda scene, secret: scene.works(f"from IPython.display import HTML; display(HTML({secret!r}))")),
    ("file", lambda scene, secret: (scene.folder / "state" / "x.json").write_text(secret)),
    ("file", lambda scene, secret: (scene.folder / "work" / f"{secret}.txt").touch()),
    ("stdout", lambda _, secret: sys.stdout.write(b64encode(f"Bearer {secret}".encode()).decode())),
    ("stdout", lambda _, secret: sys.stdout.write(quote(quote(f"{secret}=", safe=""), safe=""))),
    ("stdout", lambda _, secret: sys.stdout.write(secret.upper())),
]


@pytest.mark.parametrize("place_", range(len(LEAKS)))
def test_a_leak_in_any_channel_is_found(place_: int, scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    channel, leak = LEAKS[place_]
    secret = scene.secrets.password()
    with watching(scene, capfd):
        leak(scene, secret)
    assert channel in {found for found, _ in scene.watch.leaks(scene.secrets.planted)}


def _open(text: str, *_: object) -> str:
    return text


def _seen(value: object = None) -> SimpleNamespace:
    return SimpleNamespace(value=value)


GUARDS: list[tuple[str, Any, str, str]] = [
    ("kqlmi.errors.redacted", _open, "a_signature_instead_of_a_plan", "stdout"),
    (
        "kqlmi.model.statement.Statement.hidden",
        frozenset(),
        "an_error_that_repeats_the_text_and_the_token",
        "error",
    ),
    ("kqlmi.errors.KqlmiError.forget", lambda *_: None, "an_error_in_the_last_frame_of_an_answer", "context"),
    ("kqlmi.model.statement.Statement.masked", property(str), "a_policy_command_that_is_recorded", "file"),
    ("kqlmi.credentials.failures.redacted", _open, "the_error_of_the_azure_cli", "log"),
    ("kqlmi.credentials.shared_credential._Unseen", _seen, "a_credential_whose_repr_shows_its_token", "vars"),
    ("kqlmi.credentials.signin.Secret", str, "a_token_from_the_environment", "asdict"),
    ("kqlmi.cluster.discovery.uses.redacted", _open, "secrets_in_the_evidence_of_an_audit", "json"),
    ("kqlmi.cluster.ingest.redacted", _open, "the_signatures_of_the_queues_of_a_cluster", "log"),
    ("kqlmi.model.uses.references.redacted", _open, "signatures_keys_and_passwords_in_a_checked_text", "display"),
]


@pytest.mark.parametrize("case", GUARDS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_a_row_finds_what_its_guard_would_let_through(
    case: tuple[str, Any, str, str], scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    guard, without, name, channel = case
    scene.patch.setattr(guard, without)
    with watching(scene, capfd):
        ROWS[name][0](scene)
    assert channel in {found for found, _ in scene.watch.leaks(scene.secrets.planted)}


CELLS = """
%load_ext kqlmi
%kqlmi connect {url} --auth token --name test --database Samples --ingest-url {ingest}
%kqlmi connect https://ada:{password}@mycluster.westeurope.kusto.windows.net
%kqlmi connect {url} --auth {password}
%kqlmi whoami
externaldata (a: string) [h'{data}?{sas}']
externaldata (a: string) [h'{data};managed_identity={identity}?{sas}'] | where a == h'{password}'
check externaldata (a: string) [h'{data};managed_identity=system&AccountKey={key}']
%kqlmi explain
.alter database ['Samples'] policy managed_identity h'{payload}' // {password}
%kqlmi history
%kqlmi new externaldata --identity loader --uri '{data}?{sas}'
%kqlmi ingest '{data}/a.csv?{sas}' into R --identity loader
%kqlmi ingest '{data}/a.csv' into R --identity loader --wait 20
.create-or-alter function F() {{ externaldata (a: string) [h'{data}?{sas}'] }}
%kqlmi audit
.drop function F
%kqlmi panel
%kqlmi connections
%xmode Verbose
%kqlmi connect '{data}?{sas}'
%tb
"""


@pytest.mark.notebook
def test_no_secret_is_in_a_saved_notebook(scene: Scene) -> None:
    import nbformat
    from nbclient import NotebookClient

    secrets, cluster = scene.secrets, scene.cluster
    payload = f'[{{"ObjectId": "{scene.loader}", "AllowedUsages": "ExternalTable, NativeIngestion"}}]'
    lines = CELLS.strip().format(
        url=cluster.url,
        ingest=cluster.ingest_url,
        data=DATA,
        identity=scene.loader,
        payload=payload,
        sas=secrets.sas(),
        key=secrets.key(),
        password=secrets.password(),
    )
    sources = [line if line.startswith("%") else f"%%kqlmi\n{line}" for line in lines.splitlines()]
    sources = [one.replace("%%kqlmi\ncheck ", "%%kqlmi check\n") for one in sources]
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": ["raises-exception"]}) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    scene.patch.setenv("KQLMI_TOKEN", cluster.token)
    scene.patch.setenv("IPYTHONDIR", str(scene.given))
    scene.patch.setenv("PYTHONPATH", str(Path(kqlmi.__file__).parents[1]))
    arguments = ["--IPKernelApp.log_level=ERROR"]
    NotebookClient(notebook, kernel_name="python3", timeout=60, extra_arguments=arguments).execute()
    failed = [place for place, cell in enumerate(cells) if any(one.output_type == "error" for one in cell.outputs)]
    assert failed == [2, 3, 5, 6, 11, 12, 20, 21]
    for cell in cells:
        # What was typed is the user's own.
        cell.source = ""
    nbformat.write(notebook, scene.folder / "work" / "saved.ipynb")
    assert notebook.metadata.widgets
    scene.secrets.planted += cluster._state.authorizations
    scene.watch.files(scene.folder / "work")
    scene.watch.files(scene.folder / "state")
    assert "--auth does not accept this value" in scene.watch.text
    assert scene.watch.leaks(secrets.planted) == []
