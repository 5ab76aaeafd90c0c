"""Tests of signing in from a notebook and from a shell."""

from collections.abc import Iterator

import pytest

from kqlmi.cli import main
from kqlmi.errors import CellError, InputError
from kqlmi.notebook import face
from kqlmi.notebook.settings import KqlMI
from kqlmi.verbs import Sessions
from tests.standins import machine
from tests.standins.entra import TENANT, Entra
from tests.standins.front import Front
from tests.standins.machine import CLIENT_ID, RESOURCE_ID, Machine


def run(sessions: Sessions, line: str) -> None:
    face.run(sessions, line, KqlMI())


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    held = Sessions()
    yield held
    held.close()


@pytest.fixture
def app(fresh: Entra, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with machine.app_service(Machine(fresh.token)) as running:
        monkeypatch.setenv("IDENTITY_ENDPOINT", running.url)
        monkeypatch.setenv("IDENTITY_HEADER", running.header)
        yield running


def test_a_notebook_prints_the_device_code_and_then_the_user(
    endpoint: Front, fresh: Entra, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    run(sessions, f"connect {endpoint.url} --auth device-code --tenant {TENANT} --no-history")
    out, err = capsys.readouterr()
    assert "enter the code KQL5MI7AB" in out.splitlines()[0]
    assert out.splitlines()[1].startswith("Connected to ")
    assert err == ""
    assert endpoint.tokens[0] == fresh.token
    run(sessions, "whoami")
    out = capsys.readouterr().out
    assert "AllDatabasesAdmin (Cluster)" in out
    assert "yes        change policies" in out
    assert fresh.token not in out


@pytest.mark.parametrize(
    ("given", "asked"), [(CLIENT_ID, "client_id"), (f"resource_id={RESOURCE_ID}", "mi_res_id"), ("system", "system")]
)
def test_a_notebook_selects_an_identity_of_its_machine(
    endpoint: Front, app: Machine, sessions: Sessions, given: str, asked: str
) -> None:
    run(sessions, f"connect {endpoint.url} --auth managed-identity --sign-in-identity {given} --no-history")
    assert set(app.asked) == {asked}


@pytest.mark.parametrize("option", ["--token", "--secret", "--client-secret", "--password"])
def test_no_option_accepts_a_secret(endpoint: Front, sessions: Sessions, option: str) -> None:
    with pytest.raises(CellError, match="is not a known option"):
        run(sessions, f"connect {endpoint.url} {option} planted")


def test_a_shell_takes_the_same_options(
    endpoint: Front, app: Machine, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path_factory.mktemp("out") / "policy.yaml"
    line = ["export", str(file), "--on", endpoint.url, "--auth", "managed-identity"]
    assert main([*line, "--sign-in-identity", f"client_id={CLIENT_ID}"]) == 0
    assert set(app.asked) == {"client_id"}
    assert file.exists()
    assert main([*line, "--tenant", TENANT]) == 1
    assert "does not accept --tenant" in capsys.readouterr().err


def test_a_wrong_choice_is_reported_before_anything_is_sent(endpoint: Front, sessions: Sessions) -> None:
    with pytest.raises(InputError, match="does not specify a managed identity"):
        run(sessions, f"connect {endpoint.url} --auth managed-identity --sign-in-identity principal_id={CLIENT_ID}")
    assert (endpoint.tokens, endpoint.metadata) == ([], 0)
