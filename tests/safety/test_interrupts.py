"""Tests of interrupts, by a real signal while the main thread waits for an answer: the reported outcome is true."""

import concurrent.futures
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

import kqlmi
from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.policies import read_policies
from kqlmi.credentials import sign_in
from kqlmi.errors import ApplyError, RequestInterruptedError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session import Session
from tests.endless import ENDLESS
from tests.waiting import eventually

from .plain import CLUSTER, Plain
from .proxy import Exchange, Proxy

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals go to a thread on POSIX only")

GRANT = '.alter-merge cluster policy managed_identity \'[{"ObjectId":"system","AllowedUsages":"AzureAI"}]\''


def interrupt() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def awaits_reads() -> bool:
    """Check whether the main thread waits for reads that it has started, rather than starts more of them.

    An interrupt while Python starts a thread may leave a lock acquired, on which all threads then wait forever.
    """
    main = threading.main_thread().ident
    frame = sys._current_frames()[main] if main else None
    while frame and frame.f_code is not concurrent.futures.wait.__code__:
        frame = frame.f_back
    return frame is not None


def join(name: str) -> None:
    """Wait for the threads that an interrupt left behind."""
    for thread in threading.enumerate():
        if thread.name.startswith(name):
            thread.join(120)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["First", "Second"], identities=["system"]) as started:
        yield started


@pytest.fixture
def plain(cluster: LocalCluster) -> Iterator[Plain]:
    with Plain(cluster.url, cluster.token) as opened:
        for scope in ("First", "Second", CLUSTER):
            opened.delete(scope)
        opened.alter("Second", {"system": ["SqlRequest", "ExternalTable"]})
        yield opened


@pytest.fixture
def proxy(cluster: LocalCluster, plain: Plain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    del plain
    monkeypatch.setattr("os.fsync", lambda _: None)  # it takes most of the time, and no crash is tested here
    monkeypatch.setattr("kqlmi.cluster.outcome_recovery._AFTER_INTERRUPT", 0.3)
    with Proxy(cluster.url) as opened:
        yield opened


@pytest.fixture
def session(cluster: LocalCluster, proxy: Proxy) -> Iterator[Session]:
    with kqlmi.connect(proxy.url, token=cluster.token, database="First") as opened:
        yield opened


def hang(exchange: Exchange) -> None:
    """Do not answer a request, and interrupt the client that waits for it."""
    interrupt()
    exchange.outwait()


def land(exchange: Exchange) -> None:
    """Forward a request, and interrupt the client that waits for its answer."""
    exchange.forward()
    hang(exchange)


def on_text(proxy: Proxy, text: str, fault: Callable[[Exchange], None]) -> None:
    """Inject a fault into the first request that begins with a text."""
    left = iter([fault])
    proxy.fault = lambda exchange, _: next(left, None) if exchange.text.startswith(text) else None


def test_an_interrupted_query_is_cancelled_on_the_cluster(
    cluster: LocalCluster, session: Session, plain: Plain
) -> None:
    def when_it_runs() -> None:
        eventually(lambda: plain.rows(".show running queries"))
        interrupt()

    thread = threading.Thread(target=when_it_runs)
    thread.start()
    with pytest.raises(RequestInterruptedError, match=r"The query no longer runs on the cluster. \[kqlmi;") as caught:
        session.run(ENDLESS)
    thread.join()
    assert caught.value.ended
    while running := plain.rows(".show running queries"):
        assert running[0]["ClientActivityId"] == caught.value.client_request_id
        time.sleep(0.01)
    [ended] = [row for row in plain.rows(".show queries") if row["ClientActivityId"] == caught.value.client_request_id]
    assert ended["State"] == "Canceled"
    assert cluster.url


def test_without_confirmation_by_the_cluster_a_query_is_not_called_cancelled(proxy: Proxy, session: Session) -> None:
    on_text(proxy, "print 1", hang)
    with pytest.raises(
        RequestInterruptedError, match=r"could not determine.*Check with: \.show running queries"
    ) as caught:
        session.run("print 1")
    assert not caught.value.ended


def test_a_second_interrupt_does_not_wait_for_the_cancellation(proxy: Proxy, session: Session) -> None:
    got_out = threading.Event()

    def fault(exchange: Exchange, _: int) -> Callable[[Exchange], None] | None:
        if exchange.text == "print 1":
            return hang
        return hold if exchange.text.startswith(".cancel query") and not got_out.is_set() else None

    def hold(exchange: Exchange) -> None:
        interrupt()
        assert got_out.wait(120)
        exchange.reply(exchange.forward())

    proxy.fault = fault
    with pytest.raises(RequestInterruptedError, match="could not determine"):
        session.run("print 1")
    got_out.set()
    join("kqlmi-cancel")


def test_an_interrupted_command_that_only_reads_reports_that_nothing_changed(proxy: Proxy, session: Session) -> None:
    on_text(proxy, ".show databases", hang)
    with pytest.raises(RequestInterruptedError, match="changed nothing"):
        session.databases()


def test_an_interrupt_while_signing_in_sends_nothing(cluster: LocalCluster) -> None:
    class Credential:
        def get_token(self, *_: Any, **__: Any) -> Any:
            signal.raise_signal(signal.SIGINT)

        def close(self) -> None:
            pass

    with (
        closing(KustoConnection(Target(cluster.url, sign_in(credential=Credential())))) as connection,
        pytest.raises(RequestInterruptedError, match=r"^Interrupted before anything was sent\.$") as caught,
    ):
        connection.execute(".drop table T")
    assert not caught.value.sent


def test_an_interrupted_write_in_a_cell_explains_how_to_check_it(proxy: Proxy, session: Session) -> None:
    on_text(proxy, ".create table", land)
    with pytest.raises(RequestInterruptedError, match="could not determine") as caught:
        session.run(".create table Made (x: long)")
    look = caught.value.hint.partition(": ")[2]
    assert session.run(look).column("State") == ["Completed"]


def test_an_interrupted_policy_command_that_landed_is_reported_as_applied(
    proxy: Proxy, session: Session, plain: Plain
) -> None:
    on_text(proxy, ".alter-merge", land)
    with pytest.raises(RequestInterruptedError, match=r"but the command was run.*undo") as caught:
        session.run(GRANT)
    assert caught.value.outcome == "applied"
    assert session.recorded().entries[-1].outcome == "applied"
    session.undo()
    assert plain.state(CLUSTER) is None


def test_an_interrupted_policy_command_without_visible_effect_is_unknown_until_it_has_one(
    proxy: Proxy, session: Session, plain: Plain
) -> None:
    gone = threading.Event()

    def late(exchange: Exchange) -> None:
        hang(exchange)
        assert gone.wait(120)
        exchange.forward()

    on_text(proxy, ".alter-merge", late)
    with pytest.raises(
        RequestInterruptedError, match=r"could not determine.*Check before .*: \.show cluster policy"
    ) as caught:
        session.run(GRANT)
    assert caught.value.outcome == "unknown"
    assert session.recorded().entries[-1].outcome == "unknown"
    assert plain.state(CLUSTER) is None
    gone.set()
    assert proxy.over.wait(120)
    [entry] = session.settle()
    assert entry.outcome == "applied"
    assert plain.state(CLUSTER) == {"system": frozenset({"AzureAI"})}


def test_an_interrupted_policy_command_that_the_cluster_refused_is_not_applied(
    cluster: LocalCluster, proxy: Proxy, plain: Plain
) -> None:
    on_text(proxy, ".alter-merge", land)
    token = cluster.token_for("database admin", database="First")
    with (
        kqlmi.connect(proxy.url, token=token, database="First") as session,
        pytest.raises(RequestInterruptedError, match="was not run") as caught,
    ):
        session.run(GRANT.replace("cluster", "database First"))
    assert caught.value.outcome == "not applied"
    assert plain.state("First") is None


def planned(session: Session) -> PolicyPlan:
    grant = kqlmi.Policy.empty().grant("system", "ExternalTable")
    return session.plan({Scope.database("First"): grant, Scope.database("Second"): grant})


def outcomes(session: Session) -> tuple[str, list[str]]:
    plan = planned(session)
    with pytest.raises(ApplyError, match=r"^Interrupted\.") as caught:
        session.apply(plan)
    entry = session.recorded().entries[-1]
    assert entry.outcome == caught.value.outcome
    assert caught.value.entry == entry.id
    return caught.value.outcome, [step.outcome for step in entry.steps]


@pytest.mark.parametrize(
    ("step", "fault", "expected"),
    [
        (1, land, ("partly applied", ["applied", "not applied"])),
        (2, land, ("applied", ["applied", "applied"])),
        (1, hang, ("unknown", ["unknown", "not applied"])),
        (2, hang, ("unknown", ["applied", "unknown"])),
    ],
)
def test_an_interrupted_plan_ends_and_reports_what_took_effect(
    proxy: Proxy, session: Session, step: int, fault: Callable[[Exchange], None], expected: tuple[str, list[str]]
) -> None:
    proxy.fail(step, fault)
    assert outcomes(session) == expected
    assert len(proxy.writes) == step


@pytest.mark.parametrize(
    ("read", "after", "expected"),
    [
        (".show database ['Second'] policy", 1, ("partly applied", ["applied", "not applied"])),
        (".show journal", 2, ("applied", ["applied", "applied"])),
    ],
    ids=["the policy before its change", "the evidence after it"],
)
def test_an_interrupt_of_a_read_within_a_plan_ends_it_and_reports_what_landed(
    proxy: Proxy, session: Session, read: str, after: int, expected: tuple[str, list[str]]
) -> None:
    proxy.fault = lambda exchange, count: hang if count == after and exchange.text.startswith(read) else None
    assert outcomes(session) == expected
    assert len(proxy.writes) == after


def test_an_interrupt_before_the_first_command_sends_nothing(proxy: Proxy, session: Session) -> None:
    plan = planned(session)
    on_text(proxy, ".show database", hang)
    with pytest.raises(RequestInterruptedError):
        session.apply(plan)
    assert proxy.writes == []


def test_an_interrupted_read_of_many_policies_starts_no_more_reads(cluster: LocalCluster, proxy: Proxy) -> None:
    begun, count, over = [], itertools.count(1), threading.Event()

    def hold(exchange: Exchange) -> None:
        begun.append(exchange.text)
        if next(count) == 8:
            eventually(awaits_reads)
            interrupt()
        assert over.wait(120)
        exchange.reply(exchange.forward())

    proxy.fault = lambda _, __: hold
    target = Target(proxy.url, sign_in(token=cluster.token))
    with closing(KustoConnection(target)) as connection:
        with pytest.raises(KeyboardInterrupt):
            read_policies(connection, [Scope.database(f"D{place}") for place in range(300)])
        over.set()
        join("kqlmi-read")
    assert len(begun) == 8
