import pytest

from kqlmi.credentials import MODES, sign_in
from kqlmi.errors import InputError

ENVIRONMENT = {
    "AZURE_TENANT_ID": "t",
    "AZURE_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
    "AZURE_FEDERATED_TOKEN_FILE": "planted",
    "AZURE_CLIENT_SECRET": "planted",
    "KQLMI_TOKEN": "planted",
}


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_makes_its_credential_without_a_network_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    found = sign_in(mode)
    assert found.mode == mode
    assert (found.token is not None, found.credential is not None) == (mode == "token", mode not in {"token", "none"})
    assert "planted" not in repr(found)
    found.close()


@pytest.mark.parametrize(("mode", "name"), [("token", "KQLMI_TOKEN"), ("service-principal", "AZURE_TENANT_ID")])
def test_what_the_environment_lacks_is_named(monkeypatch: pytest.MonkeyPatch, mode: str, name: str) -> None:
    monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=name):
        sign_in(mode)


@pytest.mark.parametrize("token", ["", " ", "täken", "a\nb"])
def test_text_that_does_not_fit_in_a_header_is_not_a_token(token: str) -> None:
    with pytest.raises(InputError, match=r"The token (is empty|contains characters)"):
        sign_in(token=token)


def test_a_line_end_after_a_token_is_not_part_of_it() -> None:
    assert sign_in(token="abc\n").token == "abc"  # noqa: S105, S106 - no password


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="azure-cli"):
        sign_in("azurecli")
