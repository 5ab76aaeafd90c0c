"""Tests of a process that is killed while it applies a plan: the next session reports the true outcome of every step."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import InputError
from kqlmi.history import Entry
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.session import Session

from .plain import CLUSTER, Plain, State
from .proxy import Exchange, Proxy
from .victim import Stopping

VICTIM = Path(__file__).with_name("victim.py")
BEFORE: Mapping[str, Mapping[str, frozenset[str]]] = {
    "First": {"system": frozenset({"SqlRequest"})},
    "Second": {"system": frozenset({"SqlRequest"})},
    CLUSTER: {"system": frozenset({"AzureAI"})},
}
# The state that each step leaves in the scope that it changes.
STEPS: tuple[tuple[str, State], ...] = (
    ("First", {"system": frozenset({"SqlRequest", "ExternalTable"})}),
    ("Second", {"system": frozenset({"SqlRequest", "ExportRequest"})}),
    ("Second", {"system": frozenset({"ExportRequest"})}),
    (CLUSTER, None),
)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """A cluster in this process, so that it outlives the process that is killed."""
    with kqlmi.local.start(databases=["First", "Second"], identities=["system"]) as started:
        yield started


@pytest.fixture
def plain(cluster: LocalCluster) -> Iterator[Plain]:
    with Plain(cluster.url, cluster.token) as opened:
        for scope, state in BEFORE.items():
            opened.alter(scope, state)
        yield opened


@contextmanager
def victim(url: str, token: str, stop: tuple[str, int] | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps({"url": url, "token": token, "stop": stop}) + "\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def held(plain: Plain, landed: int) -> bool:
    """Check whether the cluster has the state after the first ``landed`` steps."""
    states: dict[str, State] = {**BEFORE, **dict(STEPS[:landed])}
    return {scope: plain.state(scope) for scope in BEFORE} == states


def outcomes(entry: Entry) -> list[str]:
    return [step.outcome for step in entry.steps]


def check_the_end(session: Session, plain: Plain, landed: int) -> None:
    """Settle once no command can arrive any more, and undo the steps that took effect."""
    session.settle(deadline=0)
    [entry] = session.recorded().entries
    steps = ["applied"] * landed + ["not applied"] * (len(STEPS) - landed)
    assert outcomes(entry) == steps
    assert entry.outcome == (steps[0] if landed in {0, len(STEPS)} else "partly applied")
    if landed:
        session.undo()
    else:
        with pytest.raises(InputError, match="nothing to undo"):
            session.undo()
    assert held(plain, 0)


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
@pytest.mark.parametrize(("point", "lands"), [("sending", False), ("answered", True), ("recorded", True)])
def test_after_a_kill_the_next_session_reports_what_took_effect_and_reverts_it(
    cluster: LocalCluster, plain: Plain, point: str, lands: bool, step: int  # noqa: FBT001
) -> None:  # fmt: skip
    with victim(cluster.url, cluster.token, (point, step)) as process:
        assert process.stdout
        assert process.stdout.readline() == "stopped\n"
    landed = step if lands else step - 1
    assert held(plain, landed)
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        # What has not taken effect may still be on its way.
        [entry] = session.recorded().entries
        assert outcomes(entry) == ["applied"] * landed + ["unknown"] * (len(STEPS) - landed)
        check_the_end(session, plain, landed)


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
def test_what_lands_after_the_kill_is_unknown_until_it_shows(cluster: LocalCluster, plain: Plain, step: int) -> None:
    sent, settled = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        sent.set()
        exchange.outwait()
        assert settled.wait(30)
        exchange.forward()

    with Proxy(cluster.url) as proxy:
        proxy.fail(step, hold)
        with victim(proxy.url, cluster.token):
            assert sent.wait(30)
        with kqlmi.connect(cluster.url, token=cluster.token) as session:
            [entry] = session.settle()
            assert outcomes(entry) == ["applied"] * (step - 1) + ["unknown"] * (len(STEPS) - step + 1)
            assert held(plain, step - 1)
            settled.set()
            assert proxy.over.wait(30)
            assert held(plain, step)
            check_the_end(session, plain, step)


def test_a_process_that_is_not_killed_applies_the_whole_plan(cluster: LocalCluster, plain: Plain) -> None:
    with victim(cluster.url, cluster.token) as process:
        assert process.wait(60) == 0
    assert held(plain, len(STEPS))
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        assert session.recorded().unfinished == ()
        session.undo()
    assert held(plain, 0)


@pytest.mark.parametrize("lands", [False, True])
def test_after_a_kill_an_empty_policy_is_distinguished_from_none(
    cluster: LocalCluster, plain: Plain, lands: bool  # noqa: FBT001
) -> None:  # fmt: skip
    class Died(BaseException):
        pass

    class Dying(Stopping):
        def reach(self, point: str) -> None:
            if point == ("answered" if lands else "sending"):
                raise Died

    plain.alter("First", {})
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        plan = session.plan({Scope.database("First"): None})
        session.connection = Dying(session.connection)
        with pytest.raises(Died):
            session.apply(plan)
        [entry] = session.settle(deadline=0)
        assert entry.outcome == ("applied" if lands else "not applied")
        assert plain.state("First") == (None if lands else {})
