"""Tests of the ways to name a cluster: by URL, short name, the configuration file or the environment."""

import json
import os
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.session.connections import configuration
from kqlmi.session.connections.addresses import url_of


def configure(text: str | bytes) -> None:
    Path(os.environ["KQLMI_CONFIG"]).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("mycluster.westeurope", "https://mycluster.westeurope.kusto.windows.net"),
        ("help.kusto.windows.net", "https://help.kusto.windows.net"),
        ("mycluster.westeurope.kusto.windows.net", "https://mycluster.westeurope.kusto.windows.net"),
        ("trd-1234.z0.kusto.fabric.microsoft.com", "https://trd-1234.z0.kusto.fabric.microsoft.com"),
        ("https://mycluster.westeurope.kusto.windows.net/", "https://mycluster.westeurope.kusto.windows.net"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_cluster_is_named_by_its_url_its_host_or_a_short_name(given: str, url: str) -> None:
    assert url_of(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "https://user:hunter2@c.kusto.windows.net",
        "https://c.kusto.windows.net?token=hunter2",
        "c;Secret=hunter2",
        "a.b",
    ],
)
def test_text_that_is_not_a_cluster_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(InputError, match="not the URL of a cluster") as caught:
        kqlmi.connect(given)
    assert "hunter2" not in str(caught.value)


def test_a_connection_in_the_file_completes_the_line(world: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(f'[connections.prod]\ncluster = "{world.url}"\nauth = "token"\ndatabase = "Sales"\nread_only = true\n')
    monkeypatch.setenv("KQLMI_TOKEN", world.token)
    with kqlmi.connect("prod") as session:
        assert (session.name, session.database, session.read_only) == ("prod", "Sales", True)
    with kqlmi.connect("prod", database="Samples", name="mine") as session:
        assert (session.name, session.database) == ("mine", "Samples")


def test_the_environment_completes_the_line_and_the_file(world: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(f'[connections.prod]\ncluster = "{world.url}"\nauth = "azure-cli"\ntimeout = 60\n')
    for name, value in {"CLUSTER": "prod", "DATABASE": "Sales", "AUTH": "token", "TOKEN": world.token}.items():
        monkeypatch.setenv(f"KQLMI_{name}", value)
    with kqlmi.connect() as session:
        assert (session.name, session.database) == ("prod", "Sales")
        assert session.target
        assert session.target.sign_in.mode == "token"
    # The environment's database belongs to its cluster; its way to sign in does not.
    with kqlmi.connect(world.url) as session:
        assert session.database == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[connections.prod\n", "not valid TOML at line 1"),
        ("[connections.prod]\ntoken = 'hunter2'\ncluster = 'a.b'", "has an unknown key 'token' in [connections.prod]"),
        ("[connections.prod]\nclient_secret = 'hunter2'", "The file must not contain secrets"),
        ("[connections.prod]\ndatabase = 'x'", "does not set cluster"),
        (
            "[connections.prod]\ncluster = 'a.b'\nread_only = 'hunter2'",
            "sets read_only in [connections.prod] to something other than a bool",
        ),
        ("[connections]\nprod = 'hunter2'", "something other than tables"),
        ("password = 'hunter2'", "has an unknown key 'password'"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_its_values_are_not_repeated(text: str | bytes, says: str) -> None:
    configure(text)
    with pytest.raises(InputError) as caught:
        kqlmi.connect("prod")
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unknown_name_has_a_suggestion() -> None:
    configure('[connections.prod]\ncluster = "mycluster.westeurope"\n')
    with pytest.raises(InputError, match="Did you mean prod"):
        kqlmi.connect("prd")
    with pytest.raises(InputError, match="KQLMI_CLUSTER"):
        kqlmi.connect()


def test_the_file_has_its_own_location(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KQLMI_CONFIG")
    assert configuration.path().parts[-2:] == ("kqlmi", "config.toml")


@pytest.mark.parametrize("given", [{"auth": "azure-cli"}, {"token": "hunter2"}, {"resource_id": "/x"}, {"tenant": "t"}])
def test_an_option_without_effect_on_a_local_cluster_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="takes no sign-in options") as caught:
        kqlmi.connect("local", **given)  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_the_identity_in_the_file_belongs_to_its_way_to_sign_in(
    world: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(f'[connections.prod]\ncluster = "{world.url}"\nauth = "managed-identity"\nsign_in_identity = "system"\n')
    for name, value in {"CLUSTER": "prod", "AUTH": "token", "TOKEN": world.token}.items():
        monkeypatch.setenv(f"KQLMI_{name}", value)
    for session in (kqlmi.connect(), kqlmi.connect("prod", auth="token")):
        with session:
            assert session.target
            assert session.target.sign_in.mode == "token"


def test_an_invalid_connection_affects_no_other(world: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    right = f'[connections.right]\ncluster = "{world.url}"\nauth = "token"\n'
    configure(f"{right}[connections.wrong]\ncluster = 1\n[connections.'my prod']\ncluster = 'a.b'\n")
    monkeypatch.setenv("KQLMI_TOKEN", world.token)
    kqlmi.connect("right").close()
    found = configuration.connections()
    assert [name for name, one in found.items() if isinstance(one, InputError)] == ["wrong", "my prod"]
    with pytest.raises(InputError, match="to something other than a str"):
        kqlmi.connect("wrong")


FILE = {"cluster": "abc.d", "auth": "managed-identity", "sign_in_identity": "system", "tenant": "t", "history": False}


@pytest.mark.parametrize(
    ("arguments", "environment", "wanted"),
    [
        ({}, {}, {**FILE, "name": "prod", "timeout": 240.0, "read_only": False}),
        ({"tenant": "mine"}, {}, {"auth": "managed-identity", "tenant": "mine", "sign_in_identity": "system"}),
        ({"auth": "azure-cli"}, {}, {"auth": "azure-cli", "tenant": "", "sign_in_identity": "", "history": False}),
        ({"token": "x", "tenant": "mine"}, {}, {"token": "x", "tenant": "mine", "sign_in_identity": ""}),
        ({}, {"AUTH": "azure-cli"}, {"auth": "managed-identity", "tenant": "t"}),
        ({}, {"CLUSTER": "prod", "AUTH": "azure-cli"}, {"auth": "azure-cli", "tenant": "", "history": False}),
        (
            {"auth": "none"},
            {"CLUSTER": "prod", "AUTH": "azure-cli", "DATABASE": "D"},
            {"auth": "none", "database": "D"},
        ),
    ],
)
def test_each_setting_has_one_source_and_an_identity_belongs_to_its_way_to_sign_in(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], environment: dict[str, str], wanted: dict[str, str]
) -> None:
    lines = [f"{key} = {json.dumps(one)}" for key, one in FILE.items()]
    configure("\n".join(["[connections.prod]", *lines]))
    for name, value in environment.items():
        monkeypatch.setenv(f"KQLMI_{name}", value)
    found = configuration.settings("" if "CLUSTER" in environment else "prod", arguments)
    assert {key: found[key] for key in wanted} == wanted
