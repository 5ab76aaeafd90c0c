"""A cluster that is kept in a folder comes back as it was, also after a kill."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local import persistence
from kqlmi.local.state import State
from tests.local.conftest import Client, Connect

CONTAINER = "https://acct.blob.core.windows.net/data"
# What belongs to the process: who may call it, what it runs, and how its threads wait.
TRANSIENT = {
    *("name", "url", "ingest_url", "callers", "started", "activity", "lock", "keep", "operations", "work"),
    *("exports_changed", "arm_token", "arm_tokens", "signature", "authorizations", "elsewhere"),
}


def test_everything_of_a_state_is_kept_or_belongs_to_the_process() -> None:
    held = set(vars(State((), (), ())))
    assert held == set(persistence._NAMES) | TRANSIENT


def furnish(cluster: Any, client: Client, folder: Path) -> None:
    identity = cluster.identities[1].object_id
    where = f"h@'{CONTAINER};managed_identity={identity}'"
    cluster.add_storage(CONTAINER, folder)
    cluster.assign_role(identity, CONTAINER, "Storage Blob Data Contributor")
    cluster.hub("ns", "hub").send([{"a": "é", "n": 1}])
    grant = json.dumps(
        [{"ObjectId": identity, "AllowedUsages": "All", "Extra": {"deep": [1.5, None, 12345678901234567890.5]}}]
    )
    for text in (
        f".alter cluster policy managed_identity '{grant}'",
        '.alter cluster policy callout \'[{"CalloutType": "sql", "CalloutUriRegex": "x", "CanCall": false}]\'',
        ".create table T (a: string, n: long, t: datetime, d: dynamic, r: real)",
        '.ingest inline into table T <| x,1,2020-01-01,"{""k"": [1]}",1.5\ny,,,,',
        ".create table Made (a: string)",
        ".create function with (docstring='it') F(n: long = 1) { T | where n > 0 }",
        f".create external table X (a: string, n: long, t: datetime, d: dynamic, r: real) kind=storage dataformat=json ({where})",
        ".enable plugin python",
        '.alter table Made policy update \'[{"Source": "T", "Query": "T | project a"}]\'',
        ".create-or-alter continuous-export E over (T) to table X with (managedIdentity='', intervalBetweenRuns=1h) <| T",
        f".add database Samples viewers ('aadapp={identity}', 'aaduser=ada@example.org')",
    ):
        client.mgmt(text)
    client.refusal(f".ingest into table T (h'{CONTAINER}/none.csv;managed_identity={identity}')")


SHOWN = [
    ".show cluster policy managed_identity",
    ".show cluster policy callout",
    ".show database Samples principals",
    ".show database Samples schema as csl script",
    ".show databases",
    ".show continuous-exports",
    ".show ingestion failures",
    ".show journal",
    ".show plugins",
]


def test_a_state_with_everything_in_it_comes_back(tmp_path: Path, connect: Connect) -> None:
    def shown(client: Client) -> list[Any]:
        return [*(client.mgmt(text) for text in SHOWN), client.query("T"), client.query("F()")]

    (tmp_path / "container").mkdir()
    with local.start(databases=["Samples", "Other"], identities=["system", "mine"], path=tmp_path / "kept") as cluster:
        client = connect(cluster)
        furnish(cluster, client, tmp_path / "container")
        before, identities, saved = shown(client), cluster.identities, kept(cluster)
    with local.start(path=tmp_path / "kept") as cluster:
        assert cluster.identities == identities
        assert kept(cluster) == saved
        assert shown(connect(cluster)) == before
        assert cluster._state.hubs["ns", "hub"] == ('{"a":"é","n":1}',)


def kept(cluster: Any) -> dict[str, Any]:
    return {name: getattr(cluster._state, name) for name in persistence._NAMES}


def test_the_sample_world_keeps_its_files(tmp_path: Path, connect: Connect) -> None:
    for _ in range(2):
        with local.start(path=tmp_path) as cluster:
            object_id = cluster.identities[1].object_id
            blob = "https://kqlmisamples.blob.core.windows.net/landing/visits.csv"
            text = f"externaldata (d: string) [h'{blob};managed_identity={object_id}'] | count"
            assert connect(cluster).query(text, "Telemetry") == [{"Count": 2}]


def test_a_folder_holds_one_cluster_at_a_time(tmp_path: Path) -> None:
    with local.start(databases=["D"], path=tmp_path):
        if sys.platform != "win32":
            with pytest.raises(InputError, match="Another local cluster"):
                local.start(path=tmp_path)
    with pytest.raises(InputError, match="holds a cluster already"):
        local.start(path=tmp_path, databases=["E"])
    local.start(path=tmp_path).stop()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "state": {"id": "x"}}'])
def test_a_file_that_is_no_state_is_refused_and_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(InputError):
        local.start(path=tmp_path)
    assert (tmp_path / "state.json").read_text() == content


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used"):
        local.start(path=tmp_path / "file")


VICTIM = """
import sys, kqlmi
with kqlmi.local.start(path=sys.argv[1], databases=sys.argv[2:]) as cluster:
    session = kqlmi.connect(cluster.url, token=cluster.token, database="D", history=False)
    if sys.argv[2:]:
        session.run(".create table T (n: long)")
        session.run(".create table Made (n: long)")
        policy = '[{"Source": "T", "Query": "T", "IsTransactional": true}]'
        session.run(f".alter table Made policy update '{policy}'")
    n = int(session.run("T | count").rows[0][0])
    while True:
        session.run(f".ingest inline into table T <| {n}")
        n += 1
        print(n, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that cannot be caught")
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path, connect: Connect) -> None:
    acknowledged = 0
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    for round_ in range(6):
        command = [sys.executable, "-c", VICTIM, str(tmp_path), *(["D"] if round_ == 0 else [])]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert victim.stdout
        for _ in range(chance.randrange(2, 12)):
            acknowledged = int(victim.stdout.readline())
        time.sleep(chance.random() * 0.01)
        os.kill(victim.pid, signal.SIGKILL)
        rest, _ = victim.communicate()
        acknowledged = int(rest.split()[-1]) if rest.split() else acknowledged
        with local.start(path=tmp_path) as cluster:
            client = connect(cluster)
            rows = [row["n"] for row in client.query("T | order by n asc", "D")]
            made = [row["n"] for row in client.query("Made | order by n asc", "D")]
        assert rows == made == list(range(len(rows)))
        assert len(rows) in {acknowledged, acknowledged + 1}
        acknowledged = len(rows)
