"""Tests that a cluster that is kept in a folder is restored as it was, also after a kill."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local.state.activity import IngestionFailure
from kqlmi.local.state.entities import Report
from kqlmi.local.state.persistence import Store
from kqlmi.local.state.state import Database, State, World, key
from kqlmi.local.values.tables import Table, columns
from tests.local.conftest import Client, Connect
from tests.work import calls

CONTAINER = "https://acct.blob.core.windows.net/data"
# Fields of the process: its callers, its running work, and how its threads wait.
TRANSIENT = {
    *("name", "url", "ingest_url", "callers", "started", "activity", "lock", "keep", "operations", "work"),
    *("exports_changed", "arm_token", "arm_tokens", "signature", "authorizations", "elsewhere"),
}


def test_every_field_of_a_state_is_saved_or_belongs_to_the_process() -> None:
    held = set(vars(State(World())))
    assert held == {"world"} | TRANSIENT


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
        f".create external table D (a: string) kind=delta ({where})",
        '.alter external table D policy query_acceleration \'{"IsEnabled": true, "Hot": "1.00:00:00"}\'',
        f".create external table P (a: string) kind=storage partition by (['b c']:string, H:long = hash(a, 3)) pathformat=(['b c'] '/' H) dataformat=csv ({where})",
        f".create external table S (a: string) kind=sql table=['dbo.T'] (h'Server=s;Authentication=\"Active Directory Managed Identity\";User Id={identity}')",
        ".create external table C (a: string) kind=sql (h'AccountEndpoint=c;Password=x') with (sqlDialect='CosmosDbSQL')",
        ".add table T ingestors ('aaduser=ada@example.org') 'a note'",
        ".enable plugin python",
        '.alter table Made policy update \'[{"Source": "T*", "SourceIsWildCard": true, "Query": "T | project a"}]\'',
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
    ".show external tables",
    ".show external table * policy query_acceleration",
    ".show table T principals",
    ".show continuous-exports",
    ".show ingestion failures",
    ".show journal",
    ".show plugins",
]


def test_a_state_with_everything_in_it_is_restored(tmp_path: Path, connect: Connect) -> None:
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
        assert cluster._state.world.hubs["ns", "hub"] == ('{"a":"é","n":1}',)


def kept(cluster: Any) -> dict[str, Any]:
    return snapshot(cluster._state)


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
    with pytest.raises(InputError, match="already contains a cluster"):
        local.start(path=tmp_path, databases=["E"])
    local.start(path=tmp_path).stop()


@pytest.mark.parametrize(
    ("name", "content"),
    [("state.db", b"{}"), ("state.db", bytes(range(256)) * 64)],
)
def test_a_file_that_is_not_a_state_is_refused_and_kept(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        local.start(path=tmp_path)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "change", ["PRAGMA user_version = 99", "DROP TABLE cell", "DELETE FROM cell WHERE place LIKE '%id\"'"]
)
def test_a_database_that_is_not_a_state_is_refused_and_kept(tmp_path: Path, change: str) -> None:
    local.start(databases=["D"], path=tmp_path).stop()
    with closing(sqlite3.connect(tmp_path / "state.db")) as foreign:
        foreign.execute("CREATE TABLE somebodys (value)")
        foreign.execute(change)
        foreign.commit()
    content = (tmp_path / "state.db").read_bytes()
    with pytest.raises(InputError):
        local.start(path=tmp_path)
    assert (tmp_path / "state.db").read_bytes() == content


def test_a_start_that_was_killed_before_it_wrote_anything_left_nothing(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    local.start(databases=["D"], path=tmp_path).stop()
    with local.start(path=tmp_path) as cluster:
        assert [one.name for one in cluster._state.world.databases.values()] == ["D"]


@pytest.mark.skipif(os.name != "posix", reason="needs the modes of POSIX")
@pytest.mark.parametrize("is_made", [False, True])
def test_only_the_user_can_open_the_saved_files(tmp_path: Path, *, is_made: bool) -> None:
    folder = tmp_path / "kept"
    before = os.umask(0)
    try:
        if is_made:
            folder.mkdir()
        with local.start(path=folder) as cluster:
            url = f"{cluster.ingest_url}/kqlmi-uploads/x.csv?sig={cluster._state.signature}"
            with urllib.request.urlopen(urllib.request.Request(url, b"1", method="PUT")) as answer:  # noqa: S310 - loopback
                assert answer.status == 201
            assert {"state.db", "state.db-wal", "landing", "uploads"} <= {path.name for path in folder.iterdir()}
            shown = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if is_open(path, folder)}
    finally:
        os.umask(before)
    assert not shown
    assert is_made or folder.stat().st_mode & 0o777 == 0o700


def is_open(path: Path, folder: Path) -> bool:
    """Check whether others may access a file and the folders that were created around it."""
    return all(one.stat().st_mode & 0o077 for one in (path, *path.parents) if one.is_relative_to(folder))


def test_a_change_holds_no_lock_while_it_is_saved(tmp_path: Path) -> None:
    """Otherwise two threads that change and save the state would wait for each other."""
    with (
        local.start(databases=["D"], identities=["mine"], path=tmp_path / "kept") as cluster,
        ThreadPoolExecutor() as pool,
    ):
        state, free = cluster._state, []
        keep = state.keep

        def watched() -> None:
            free.append(pool.submit(is_free).result())
            keep()

        def is_free() -> bool:
            taken = state.lock.acquire(blocking=False)
            if taken:
                state.lock.release()
            return taken

        state.keep = watched
        cluster.add_storage(CONTAINER, tmp_path)
        cluster.assign_role(cluster.identities[0].object_id, CONTAINER, "Storage Blob Data Reader")
        cluster.unassign_role(cluster.identities[0].object_id, CONTAINER, "Storage Blob Data Reader")
        cluster.token_for("viewer", database="D")
        cluster.hub("ns", "hub").send(["x"])
    assert free == [True] * 6


def test_a_path_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
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
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_state(tmp_path: Path, connect: Connect) -> None:
    acknowledged = 0
    chance = random.Random(7)  # noqa: S311 - times, not secrets
    for round_ in range(3):
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


def state_of(count: int) -> State:
    return State(World(databases={key(f"db{number}"): Database(f"db{number}") for number in range(count)}))


def snapshot(state: State) -> dict[str, Any]:
    return vars(state.world)


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    with closing(Store(folder)) as store:
        store._connection.execute("PRAGMA synchronous = OFF")  # no test here crashes the machine
        yield store


def restored(folder: Path) -> dict[str, Any]:
    with opened(folder) as store:
        state = state_of(0)
        store.restore(state)
        return snapshot(state)


ROWS = columns("n: long, d: dynamic")


def add_rows(state: State, name: str, count: int) -> None:
    database = state.world.databases.get(key(name)) or Database(name)
    held = database.tables.get("T") or Table(ROWS)
    added = ((number, json.dumps({"é": number})) for number in range(count))
    state.put(database.with_table("T", held.with_rows((*held.rows, *added))))


def replace_rows(state: State, name: str, count: int) -> None:
    database = state.world.databases.get(key(name)) or Database(name)
    state.put(database.with_table("T", Table(ROWS, tuple((number, None) for number in range(count)))))


def drop(state: State, name: str, _count: int) -> None:
    state.change(
        lambda world: replace(
            world, databases={one: held for one, held in state.world.databases.items() if one != key(name)}
        )
    )


def drop_table(state: State, name: str, _count: int) -> None:
    database = state.world.databases.get(key(name)) or Database(name)
    state.put(database.with_table("T", None))


def drop_and_add(state: State, name: str, count: int) -> None:
    drop(state, name, count)
    add_rows(state, name, count)


def lose_first(state: State, name: str, count: int) -> None:
    failure = IngestionFailure(
        name, "T", "", "\ud800", "", is_permanent=True, is_from_update_policy=False, principal="", activity_id=""
    )
    state.change(lambda world: replace(world, ingestion_failures=(*state.world.ingestion_failures[count:], failure)))


def report(state: State, name: str, count: int) -> None:
    held = state.world.reports.get(name, ())
    taken = tuple(replace(one, received=count) if number == count else one for number, one in enumerate(held))
    state.change(lambda world: replace(world, reports={**state.world.reports, name: (*taken, Report("x"))}))


CHANGES: list[Callable[[State, str, int], None]] = [
    *(add_rows, replace_rows, drop, drop_table, drop_and_add, lose_first, report),
]
# Names that a careless way of joining or ordering them could confuse.
NAMES = ["a", "A b", 'a"', "a\nb", "a\x0b", "é", "\ud800"]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(NAMES), st.integers(0, 3)), max_size=3), max_size=4
    )
)
def test_all_changes_between_two_saves_are_restored_in_order(steps: list[list[tuple[Any, str, int]]]) -> None:
    state = state_of(1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        with opened(folder) as store:
            store.save(state)
        for changes in steps:
            with opened(folder) as store:
                again = state_of(0)
                store.restore(again)
                assert snapshot(again) == snapshot(state)
                for place in ("databases", "reports"):
                    assert list(getattr(again.world, place)) == list(getattr(state.world, place))
                state = again
                for change, database, count in changes:
                    change(state, database, count)
                    store.save(state)
                for change, database, count in changes:
                    change(state, database, count)
                store.save(state)
        assert restored(folder) == snapshot(state)


def test_a_log_that_is_truncated_anywhere_contains_one_of_the_states(tmp_path: Path) -> None:
    """A kill or a crash of the machine truncates the log at any byte."""
    chance = random.Random(7)  # noqa: S311 - positions, not secrets
    state = state_of(2)
    states = [snapshot(state)]
    with opened(tmp_path / "kept") as store:
        store.save(state)
        created = (tmp_path / "kept" / "state.db-wal").stat().st_size
        for number in range(8):
            for database in ("db0", "db1"):  # the two databases change together
                add_rows(state, database, number)
            store.save(state)
            states.append(snapshot(state))
        shutil.copytree(tmp_path / "kept", tmp_path / "killed")
    log = (tmp_path / "killed" / "state.db-wal").read_bytes()
    found = []
    for end in sorted([created, len(log), *(chance.randrange(created, len(log)) for _ in range(20))]):
        folder = tmp_path / str(end)
        shutil.copytree(tmp_path / "killed", folder)
        (folder / "state.db-wal").write_bytes(log[:end])
        found.append(states.index(restored(folder)))
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 8)
    assert len(set(found)) > 3


def test_a_change_that_could_not_be_written_is_written_with_the_next_one(tmp_path: Path) -> None:
    state = state_of(1)
    with opened(tmp_path) as store:
        store.save(state)
        [pages] = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")  # the disk is full
        add_rows(state, "db0", 2000)
        with pytest.raises(OSError, match="full"):
            store.save(state)
        store._connection.execute("PRAGMA max_page_count = 100000")
        add_rows(state, "other", 1)
        store.save(state)
    assert restored(tmp_path) == snapshot(state)


def test_a_change_writes_as_much_beside_a_thousand_databases_as_beside_four(tmp_path: Path) -> None:
    def work(count: int) -> tuple[int, int]:
        state = state_of(count)
        with opened(tmp_path / str(count)) as store:
            store.save(state)
            add_rows(state, "db1", 2)
            store.save(state)
            add_rows(state, "db1", 2)
            before = store._connection.total_changes
            return calls(lambda: store.save(state)), store._connection.total_changes - before

    assert work(1000) == work(4)
    assert work(4)[1] == 3  # two rows and the version
