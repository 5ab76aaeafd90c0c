"""Tests of checking files, in which an ID of another kind than the flow requires is recognised."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi import cli
from kqlmi.errors import CellError
from kqlmi.local.cluster import LocalCluster
from kqlmi.notebook.face import run
from kqlmi.notebook.settings import KqlMI
from kqlmi.session import Session
from kqlmi.verbs import Sessions

URL = "https://acct.blob.core.windows.net/data/a.csv"
RESOURCE = "/subscriptions/{0}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/loader"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"], identities=["system", "loader"]) as started:
        yield started


@pytest.fixture(scope="module")
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token, database="Samples", history=False) as opened:
        loader = cluster.identities[1].object_id
        opened.apply(
            opened.grant(loader, "NativeIngestion", "DataConnection", "ExternalDataRequest", databases=["Samples"])
        )
        yield opened


def entry(identity: str) -> str:
    return json.dumps([{"ObjectId": identity, "AllowedUsages": "All"}])


IN_PLACES = {
    "query": "externaldata (a: string) ['" + URL + ";managed_identity={0}']",
    "literals": "externaldata (a: string) ['" + URL + ";managed_' 'identity={0}']",
    "command": '.alter table T policy update with (AllowUnreferencedSourceTable=true) \'[{{"ManagedIdentity":"{0}"}}]\'',
    "script": ".execute database script <|\n.create external table D kind=delta (h'" + URL + ";managed_identity={0}')",
    "policy": '.alter database Samples policy managed_identity \'[{{"ObjectId":"{0}","AllowedUsages":"All"}}]\'',
}


@pytest.mark.parametrize("text", IN_PLACES.values(), ids=IN_PLACES)
def test_a_client_id_in_place_of_an_object_id_is_recognised(session: Session, cluster: LocalCluster, text: str) -> None:
    loader = cluster.identities[1]
    (verdict,) = session.check(text.format(loader.client_id.upper()), "Samples")
    assert verdict.access.allowed is False
    assert (
        f"is the client ID of loader ({loader.object_id}); the object ID {loader.object_id} is required"
        in verdict.access.reason
    )
    (verdict,) = session.check(text.format(loader.object_id), "Samples")
    assert "client ID" not in verdict.access.reason


def test_lightingest_requires_the_client_id(session: Session, cluster: LocalCluster) -> None:
    loader = cluster.identities[1]
    line = 'LightIngest "https://ingest-c.kusto.windows.net" -database:Samples -source:"' + URL + '" -ingestmi:{0}'
    (wrong,) = session.check(line.format(loader.object_id))
    assert (wrong.access.allowed, "the client ID " + loader.client_id in wrong.access.reason) == (False, True)
    (right,) = session.check(line.format(loader.client_id))
    assert right.access.allowed is True
    (system,) = session.check(line.format("system"))
    assert system.access.allowed is False
    (stranger,) = session.check(line.format(loader.client_id[::-1].replace("-", "0")[:8] + loader.client_id[8:]))
    assert (stranger.access.allowed, "no known identity" in stranger.access.reason) == (None, True)


def test_a_data_connection_in_a_template_requires_the_resource_id(session: Session, cluster: LocalCluster) -> None:
    loader = cluster.identities[1]
    text = '{{"kind": "EventHub", "properties": {{"managedIdentityResourceId": "{0}"}}}}'
    (wrong,) = session.check(text.format(loader.client_id), "Samples", kind="json")
    assert (wrong.access.allowed, "the resource ID is required" in wrong.access.reason) == (False, True)
    (unknown,) = session.check(text.format(RESOURCE), "Samples", kind="json")
    assert unknown.access.allowed is None
    own = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Kusto/clusters/c"
    (system,) = session.check(text.format(own), "Samples", kind="json")
    assert system.access.allowed is False


FILES = {
    "a.kql": ("T\n\n.alter cluster policy managed_identity '{0}'", "ManagedIdentity policy", 3),
    "a.JSON": ('[\n {{"Query": "F()", "ManagedIdentity": "system"}}]', "Update policy", 2),
    "a.bicep": ("// it's\nscriptContent: '''\n.export to csv (h@'https://a.blob.core.windows.net/c;managed_identity=system') <| T'''", "Export to storage", 3),
    "a.txt": ("LightIngest https://a -ingestmi:system", "LightIngest", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_checked_in_a_notebook(
    session: Session, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, workflow, line = FILES[name]
    file = tmp_path / name
    file.write_text(text.format(entry("system")), encoding="utf-8")
    sessions = Sessions()
    sessions.add(session)
    frame = run(sessions, f'check --file "{file}" --database Samples', KqlMI())
    assert list(frame[["identity", "line"]].itertuples(index=False, name=None)) == [("system", line)]
    assert workflow.casefold() in frame["workflow"][0].casefold()
    assert ("string literals" in capsys.readouterr().out) == name.endswith("bicep")


def test_a_file_is_checked_on_the_command_line(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.bicep"
    file.write_text(FILES["a.bicep"][0])
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    assert (
        cli.main(["check", "--file", str(file), "--database", "Samples", "--on", cluster.url, "--auth", "token"]) == 0
    )
    out, err = capsys.readouterr()
    assert "ExportRequest" in out
    assert "string literals" in err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("a.kql", b"T \xff", "byte 3 is not UTF-8"),
        ("a.kql", b" " * ((16 << 20) + 1), "larger than 16 MiB"),
        ("none", None, "Cannot read"),
    ],
    ids=["syntax", "encoding", "size", "missing"],
)
def test_a_file_that_cannot_be_read_is_refused(
    session: Session, tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    sessions = Sessions()
    sessions.add(session)
    with pytest.raises(kqlmi.KqlmiError, match=says) as caught:
        run(sessions, f'check --file "{file}"', KqlMI())
    assert caught.value.hint


def test_check_needs_a_file(session: Session) -> None:
    sessions = Sessions()
    sessions.add(session)
    with pytest.raises(CellError, match="needs --file"):
        run(sessions, "check", KqlMI())


def test_nothing_in_a_file_is_run_and_no_secret_is_shown(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "Zm9vYmFyYmF6" + "cXV4" * 4
    file = tmp_path / "a.kql"
    file.write_text(
        f".create table Made (a: string)\n.export to csv (h'https://a/b?sig={secret};managed_identity=AccountKey={secret}') <| T"
    )
    sessions = Sessions()
    sessions.add(session)
    shown = run(sessions, f'check --file "{file}" --database Samples', KqlMI()).to_string() + capsys.readouterr().out
    assert secret not in shown
    assert "****" in shown
    assert session.run(".show tables | where TableName == 'Made'").rows == ()
