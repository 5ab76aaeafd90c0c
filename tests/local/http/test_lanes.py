"""Tests of many long requests: short ones continue alongside, and one too many is throttled."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kqlmi import local
from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.faults.refusals import nothing_happened
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.credentials import SignIn
from kqlmi.errors import ThrottledError
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.engine import lanes
from kqlmi.local.engine.lanes import WAITING, WORKERS, Load
from kqlmi.local.http import endpoints
from kqlmi.local.state.activity import MOST_OPERATIONS
from tests.endless import ENDLESS
from tests.local import raw
from tests.local.conftest import Client, Connect
from tests.waiting import eventually

QUERY = "range x from 1 to 3 step 1 | count"
MGMT = "POST /v1/rest/mgmt"
LONG = {
    "a pipe": ".show databases | count",
    "a query after a command": ".show databases; $command_results | count",
    "a set": f".set-or-append T <| {QUERY}",
    "a script": f".execute database script <| .set-or-append T <| {QUERY}",
    "an update policy": '.alter table U policy update \'[{"Source": "T", "Query": "T"}]\'',
}
SHORT = [
    ".show cluster policy managed_identity",
    '.alter-merge cluster policy managed_identity \'[{"ObjectId": "system", "AllowedUsages": "All"}]\'',
    ".delete database D policy managed_identity",
    ".create table Another (a: long)",
    ".cancel query 'nobody'",
    ".show running queries",
]


class Held:
    """A cluster whose engine does not answer until ``release``; requests to it stay open until the fixture ends."""

    def __init__(self, cluster: LocalCluster, client: Client) -> None:
        assert cluster._server
        self.cluster, self.client = cluster, client
        self.engine = cluster._server._service.queries._engine
        self.open = ExitStack()
        self.engine._lock.acquire()

    def ask(self, text: str, name: str = "", line: str = "POST /v2/rest/query") -> socket.socket:
        return self.open.enter_context(raw.ask(self.cluster, text, name, line=line))

    def fill(self, load: Load) -> None:
        """Start as many requests as may run and wait."""
        for _ in range(WORKERS[load] + WAITING):
            self.ask(QUERY) if load is Load.QUERY else self.ask(LONG["a pipe"], line=MGMT)
        eventually(lambda: self.taken(load) == WORKERS[load] + WAITING)

    def taken(self, load: Load) -> int:
        assert self.cluster._server
        return self.cluster._server._lanes._taken[load]

    def release(self) -> None:
        if self.engine._lock.locked():
            self.engine._lock.release()


@pytest.fixture
def held(connect: Connect) -> Iterator[Held]:
    with local.start(databases=["D"], identities=["system"]) as cluster:
        client = connect(cluster)
        for name in "TU":
            client.mgmt(f".create table {name} (Count: long)", "D")
        made = Held(cluster, client)
        with made.open:
            yield made
            made.release()


def test_short_requests_run_beside_any_number_of_long_ones(held: Held) -> None:
    held.fill(Load.QUERY)
    held.fill(Load.COMMAND)
    for text in SHORT:
        held.client.mgmt(text, "D")
    assert len(held.client.mgmt(".show running queries", "D")) == WORKERS[Load.QUERY] + WAITING


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_command_that_runs_a_query_is_not_short(held: Held, text: str) -> None:
    for _ in range(WORKERS[Load.SHORT] + 1):
        held.ask(text, line=MGMT)
    eventually(lambda: held.taken(Load.COMMAND) == WORKERS[Load.SHORT] + 1)
    held.client.mgmt(SHORT[0], "D")


@pytest.mark.parametrize("line", [MGMT, "POST /v2/rest/query"], ids=["command", "query"])
def test_a_long_text_does_not_delay_policy_commands(held: Held, line: str) -> None:
    load = Load.COMMAND if line == MGMT else Load.QUERY
    held.fill(load)
    status, body = raw.answer(held.ask(f".show databases //{'x' * endpoints._SHORT}", line=line))
    assert (status, body["error"]["code"]) == (429, "Too many requests")


def test_one_query_too_many_is_throttled_as_kusto_does_it(held: Held) -> None:
    held.fill(Load.QUERY)
    status, body = raw.answer(held.ask(QUERY, "late"))
    error = body["error"]
    assert (status, error["code"], error["@permanent"]) == (429, "Too many requests", False)
    assert error["@type"] == "Kusto.DataNode.Exceptions.QueryThrottledException"
    assert error["@message"] == (
        "The query was aborted due to throttling. Retrying after some backoff might succeed. Capacity: "
        f"{WORKERS[Load.QUERY] + WAITING}, Origin: 'RequestRateLimitPolicy/WorkloadGroup/default'."
    )
    [run] = [one for one in held.client.mgmt(".show queries", "D") if one["ClientActivityId"] == "late"]
    assert run["State"] == "Throttled"


def test_one_command_too_many_is_throttled_with_its_type_and_has_no_effect(held: Held) -> None:
    held.fill(Load.COMMAND)
    status, body = raw.answer(held.ask(LONG["a set"], line=MGMT))
    assert status == 429
    assert body["error"]["@message"].startswith("The management command was aborted due to throttling.")
    assert "CommandType: 'TableSetOrAppend'" in body["error"]["@message"]
    held.open.close()
    held.release()
    assert held.client.query("T", "D") == []


def test_a_read_does_not_wait_until_a_change_is_saved(connect: Connect, tmp_path: Path) -> None:
    with local.start(databases=["D"], path=tmp_path) as cluster:
        client = connect(cluster)
        client.mgmt(".create table T (a: long)", "D")
        assert cluster._store
        with cluster._store._lock:
            for text in SHORT:
                if text.startswith((".show", ".cancel")):
                    client.mgmt(text, "D")
            assert client.query("T", "D") == []


def test_one_operation_too_many_in_the_background_is_throttled_too(held: Held) -> None:
    text = LONG["a set"].replace("append", "append async")
    for _ in range(MOST_OPERATIONS):
        held.client.mgmt(text, "D")
    status, body = raw.answer(held.ask(text, line=MGMT))
    assert (status, f"Capacity: {MOST_OPERATIONS}," in body["error"]["@message"]) == (429, True)
    held.release()
    eventually(lambda: held.client.query("T", "D") == [{"Count": 3}] * MOST_OPERATIONS)


def test_queries_run_again_once_clients_have_left(held: Held) -> None:
    held.fill(Load.QUERY)
    held.open.close()
    eventually(lambda: held.taken(Load.QUERY) <= WORKERS[Load.QUERY])
    held.release()
    eventually(lambda: held.taken(Load.QUERY) == 0)
    assert held.client.query(QUERY, "D") == [{"Count": 3}]
    states = {one["State"] for one in held.client.mgmt(".show queries", "D")}
    assert states == {"Canceled", "Completed"}


def test_a_query_that_waits_ends_at_once_when_it_is_cancelled(held: Held) -> None:
    for _ in range(WORKERS[Load.QUERY]):
        held.ask(QUERY)
    eventually(lambda: held.taken(Load.QUERY) == WORKERS[Load.QUERY])
    waiting = held.ask(QUERY, "waits")
    eventually(lambda: held.taken(Load.QUERY) == WORKERS[Load.QUERY] + 1)
    assert held.client.mgmt(".cancel query 'waits'", "D")[0]["RunningQueryCanceled"] == 1
    status, body = raw.answer(waiting)
    assert (status, body["error"]["code"]) == (400, "BadRequest_QueryCanceled")


def test_a_query_that_runs_ends_when_its_client_leaves(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    held.release()
    held.client.query(QUERY, "D")  # loads the engine
    with raw.ask(held.cluster, ENDLESS, "gone"):
        eventually(lambda: held.client.mgmt(".show running queries", "D"))
    eventually(lambda: not held.client.mgmt(".show running queries", "D"))
    [run] = [one for one in held.client.mgmt(".show queries", "D") if one["ClientActivityId"] == "gone"]
    assert (run["State"], "closed the connection" in run["FailureReason"]) == ("Canceled", True)
    assert not caplog.records


def test_a_query_that_reads_files_ends_when_its_client_leaves(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.release()
    (tmp_path / "a.csv").touch()
    [identity], container = held.cluster.identities, "https://acct.blob.core.windows.net/data"
    held.cluster.add_storage(container, tmp_path)
    held.cluster.assign_role(identity.object_id, container, "Storage Blob Data Reader")
    held.client.mgmt(SHORT[1], "D")
    begun = threading.Event()

    def rows(*_given: object, **_named: object) -> Iterator[tuple[int]]:
        while True:
            begun.set()
            time.sleep(0.001)
            yield (1,)

    monkeypatch.setattr("kqlmi.local.storage.formats.rows", rows)
    with raw.ask(held.cluster, f"externaldata (a: long) [h'{container}/a.csv;managed_identity=system']"):
        eventually(begun.is_set)
    eventually(lambda: held.taken(Load.QUERY) == 0)


def test_a_command_that_writes_continues_when_its_client_leaves(held: Held) -> None:
    with raw.ask(held.cluster, LONG["a set"], line=MGMT):
        eventually(lambda: held.taken(Load.COMMAND) == 1)
    held.release()
    eventually(lambda: held.taken(Load.COMMAND) == 0)
    assert held.client.query("T", "D") == [{"Count": 3}]


def patient(held: Held, patience: Patience) -> KustoConnection:
    target = Target(held.cluster.url, SignIn("token", token=held.cluster.token))
    return KustoConnection(target, retrying=Retrying(patience))


@pytest.mark.parametrize(("load", "text"), [(Load.COMMAND, LONG["a set"]), (Load.QUERY, QUERY)], ids=["write", "read"])
def test_a_client_sends_what_was_throttled_again_and_it_lands_once(held: Held, load: Load, text: str) -> None:
    held.fill(load)
    waits: list[float] = []

    def make_room(seconds: float) -> None:
        waits.append(seconds)
        held.open.close()
        held.release()
        eventually(lambda: held.taken(load) == 0)

    connection = patient(held, Patience(sleep=make_room))
    try:
        connection.execute(text, "D")
    finally:
        connection.close()
    assert len(waits) == 1
    assert held.client.query("T", "D") == ([{"Count": 3}] if load is Load.COMMAND else [])


def test_a_client_that_was_throttled_to_the_end_knows_that_nothing_happened(held: Held) -> None:
    held.fill(Load.COMMAND)
    connection = patient(held, Patience(sleep=lambda _: None))
    try:
        with pytest.raises(ThrottledError) as caught:
            connection.execute(LONG["a set"], "D")
    finally:
        connection.close()
    assert nothing_happened(caught.value)
    assert (caught.value.permanent, "It may have been run" in caught.value.hint) == (False, False)


def test_a_long_command_that_is_not_declared_as_long_fails_loudly() -> None:
    workers: Any = lanes.Lanes()
    try:
        with pytest.raises(RuntimeError, match="not declared long"):
            asyncio.run(workers.short(lanes.require_long))
    finally:
        workers.close()
    lanes.require_long()
