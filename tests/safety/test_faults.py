"""Tests that the reported outcome of a command matches the cluster afterwards, whatever fault the command meets."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest

import kqlmi
from kqlmi.cluster.faults.retries import Patience
from kqlmi.errors import ApplyError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session import Session

from .plain import AFTER, BEFORE, CLUSTER, Plain
from .proxy import Answer, Exchange, Fault, Proxy

SCOPES = ("First", "Second", CLUSTER)
VERBS = ["alter-merge", "alter", "delete"]
# Long enough for late answers to arrive, and short for tests that wait until the deadline.
PATIENT, SHORT = 30, 1
AT_ONCE = Patience(sleep=lambda _: None)


@dataclass(frozen=True)
class Bench:
    """A session whose requests pass through a proxy, a plan of three steps, and the plain client that reads the truth."""

    cluster: LocalCluster
    plain: Plain
    proxy: Proxy
    session: Session
    plan: PolicyPlan

    def apply(self, deadline: float) -> tuple[str, list[str]]:
        """Return the reported outcome, and that of each step; steps that never began count as not applied."""
        try:
            applied = self.session.apply(self.plan, deadline=deadline)
            outcome, steps = str(applied.outcome), [str(step.outcome) for step in applied.steps]
        except ApplyError as error:
            outcome, steps = error.outcome, [step.outcome for step in error.steps]
        return outcome, steps + ["not applied"] * (len(VERBS) - len(steps))

    def recorded(self) -> tuple[str, list[str]]:
        """Return what another session, which is read-only and settles nothing, finds in the history."""
        with kqlmi.connect(self.cluster.url, token=self.cluster.token, read_only=True) as other:
            entry = other.recorded().entries[-1]
        return entry.outcome, [step.outcome for step in entry.steps]

    def held(self) -> list[str]:
        """Return, for each step, whether its scope has the state after or before it."""
        states = {scope: self.plain.state(scope) for scope in SCOPES}
        assert all(state in (BEFORE[scope], AFTER[scope]) for scope, state in states.items())
        return ["applied" if state == AFTER[scope] else "not applied" for scope, state in states.items()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["First", "Second"], identities=["system"]) as started:
        yield started


@pytest.fixture(scope="module")
def plain(cluster: LocalCluster) -> Iterator[Plain]:
    with Plain(cluster.url, cluster.token) as opened:
        yield opened


@pytest.fixture
def bench(cluster: LocalCluster, plain: Plain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # fsync takes most of the time, and no crash is tested here.
    monkeypatch.setattr("os.fsync", lambda _: None)
    # If a test waits for a deadline, it is one second, the shortest that the client's clock supports.
    monkeypatch.setattr("kqlmi.cluster.connection._GRACE", timedelta(0))
    for scope, state in BEFORE.items():
        plain.alter(scope, state)
    with (
        Proxy(cluster.url) as proxy,
        kqlmi.connect(proxy.url, token=cluster.token, patience=AT_ONCE) as session,
    ):
        plan = session.plan(
            {
                Scope.database("First"): kqlmi.Policy.empty().grant("system", "SqlRequest", "ExternalTable"),
                Scope.database("Second"): kqlmi.Policy.empty().grant("system", "ExternalTable"),
                Scope.cluster(): None,
            }
        )
        assert [step.verb for step in plan.steps] == VERBS
        yield Bench(cluster, plain, proxy, session, plan)


def kustos(status: int) -> Answer:
    """Return an error as the service itself writes it."""
    error = {"code": "General_Error", "message": "No.", "@type": "Some.Exception", "@message": "No."}
    body = json.dumps({"error": {**error, "@permanent": status == 400}}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def gateways(status: int) -> Answer:
    """Return an error as an intermediary writes it."""
    return Answer(status, b"<html>Something on the way</html>", {"Content-Type": "text/html"})


def answer(made_up: Answer, exchange: Exchange) -> None:
    exchange.reply(made_up)


def answer_after_the_commit(made_up: Answer, exchange: Exchange) -> None:
    exchange.forward()
    exchange.reply(made_up)


def reset(exchange: Exchange) -> None:
    exchange.reset()


def reset_after_the_commit(exchange: Exchange) -> None:
    exchange.forward()
    exchange.reset()


def truncate(exchange: Exchange) -> None:
    whole = exchange.forward()
    half = whole.body[: len(whole.body) // 2]
    exchange.reply(Answer(whole.status, half, whole.headers), length=len(whole.body), more=False)


def truncate_unnoticed(exchange: Exchange) -> None:
    whole = exchange.forward()
    exchange.reply(Answer(whole.status, whole.body[: len(whole.body) // 2], whole.headers))


def reset_and_forward(exchange: Exchange) -> None:
    exchange.reset()
    time.sleep(0.1)
    exchange.forward()


def give_up_and_forward(exchange: Exchange) -> None:
    exchange.reply(gateways(504), more=False)
    time.sleep(0.1)
    exchange.forward()


def forward_late(reported: threading.Event, exchange: Exchange) -> None:
    exchange.outwait()
    assert reported.wait(30)
    exchange.forward()


NO_GATEWAY: Fault = partial(answer, gateways(503))
LANDS: dict[str, Fault] = {
    "reset after the commit": reset_after_the_commit,
    "truncated": truncate,
    "truncated unnoticed": truncate_unnoticed,
    "reset, then forwarded in time": reset_and_forward,
    "504 of a gateway, then forwarded in time": give_up_and_forward,
    "500 after the commit": partial(answer_after_the_commit, kustos(500)),
    "503 of a gateway after the commit": partial(answer_after_the_commit, gateways(503)),
    "429 of a gateway after the commit": partial(answer_after_the_commit, gateways(429)),
}
FAILS: dict[str, Fault] = {
    "refused": partial(answer, kustos(400)),
    "forbidden": partial(answer, kustos(403)),
    "reset before the request": reset,
    "429 of a gateway": partial(answer, gateways(429)),
    "500": partial(answer, kustos(500)),
    "503 of a gateway": NO_GATEWAY,
}


def expected_outcomes(landed: int, then: str = "not applied") -> list[str]:
    """Return the outcomes of the steps if ``landed`` of them took effect, and the next one had outcome ``then``."""
    return (["applied"] * landed + [then] + ["not applied"] * len(VERBS))[: len(VERBS)]


def in_all(steps: list[str]) -> str:
    return steps[0] if len(set(steps)) == 1 else "partly applied"


@pytest.mark.parametrize("step", [1, 2, 3], ids=VERBS)
@pytest.mark.parametrize("fault", LANDS.values(), ids=LANDS.keys())
def test_a_command_that_took_effect_is_reported_as_applied_even_if_its_answer_is_lost(
    bench: Bench, fault: Fault, step: int
) -> None:
    bench.proxy.fail(step, fault)
    assert bench.apply(PATIENT) == ("applied", expected_outcomes(3))
    assert bench.held() == expected_outcomes(3)
    assert bench.recorded() == ("applied", expected_outcomes(3))
    assert bench.proxy.writes == [one.command for one in bench.plan.steps]


@pytest.mark.parametrize("step", [1, 2, 3], ids=VERBS)
@pytest.mark.parametrize("fault", FAILS.values(), ids=FAILS.keys())
def test_a_command_that_did_not_land_is_reported_as_not_applied_and_ends_the_plan(
    bench: Bench, fault: Fault, step: int
) -> None:
    bench.proxy.fail(step, fault)
    steps = expected_outcomes(step - 1)
    assert bench.apply(SHORT) == (in_all(steps), steps)
    assert bench.held() == steps
    assert bench.recorded() == (in_all(steps), steps)
    assert bench.proxy.writes == [one.command for one in bench.plan.steps[:step]]


THROTTLED: Fault = partial(answer, kustos(429))


@pytest.mark.parametrize("step", [1, 2, 3], ids=VERBS)
def test_a_command_that_the_service_reports_as_not_run_is_sent_again(bench: Bench, step: int) -> None:
    bench.proxy.fail(step, THROTTLED)
    assert bench.apply(PATIENT) == ("applied", expected_outcomes(3))
    assert bench.held() == expected_outcomes(3)
    sent = [one.command for one in bench.plan.steps]
    assert bench.proxy.writes == [*sent[:step], *sent[step - 1 :]]


@pytest.mark.parametrize("step", [1, 2, 3], ids=VERBS)
def test_a_command_that_is_throttled_to_the_end_is_not_applied(bench: Bench, step: int) -> None:
    bench.proxy.fault = lambda exchange, count: THROTTLED if exchange.writes and count >= step else None
    steps = expected_outcomes(step - 1)
    assert bench.apply(PATIENT) == (in_all(steps), steps)
    assert bench.held() == steps
    assert len(bench.proxy.writes) == step - 1 + AT_ONCE.attempts


def test_a_throttled_command_is_not_sent_again_after_another_writer_changed_the_policy(bench: Bench) -> None:
    def overtake(exchange: Exchange) -> None:
        bench.plain.merge("Second", {"system": ["AutomatedFlows"]})
        exchange.reply(kustos(429))

    bench.proxy.fail(2, overtake)
    with pytest.raises(ApplyError, match=r"was changed.* since this plan was made") as caught:
        bench.session.apply(bench.plan)
    assert caught.value.outcome == "partly applied"
    assert len(bench.proxy.writes) == 2
    assert "AutomatedFlows" in (bench.plain.state("Second") or {})["system"]


@pytest.mark.parametrize("step", [1, 2, 3], ids=VERBS)
def test_a_command_that_lands_after_the_client_gave_up_is_unknown_until_it_shows(bench: Bench, step: int) -> None:
    reported = threading.Event()
    bench.proxy.fail(step, partial(forward_late, reported))
    assert bench.apply(SHORT) == ("unknown", expected_outcomes(step - 1, "unknown"))
    assert bench.recorded() == ("unknown", expected_outcomes(step - 1, "unknown"))
    assert bench.held() == expected_outcomes(step - 1)
    reported.set()
    assert bench.proxy.over.wait(30)
    assert bench.held() == expected_outcomes(step)
    bench.session.settle()
    assert bench.recorded() == (in_all(expected_outcomes(step)), expected_outcomes(step))


@pytest.mark.parametrize("landed", [1, 2])
def test_reading_back_continues_while_the_connection_stays_broken(bench: Bench, landed: int) -> None:
    broken: Iterator[Fault] = iter([reset if landed == 1 else reset_after_the_commit, reset, NO_GATEWAY])
    bench.proxy.fault = lambda _, count: next(broken, None) if count == 2 else None
    steps = expected_outcomes(1) if landed == 1 else expected_outcomes(3)
    assert bench.apply(2 if landed == 1 else PATIENT) == (in_all(steps), steps)
    assert bench.held() == steps
    assert bench.recorded() == (in_all(steps), steps)


@pytest.mark.parametrize(("scope", "step"), [("database ['Second']", 2), ("cluster", 3)])
def test_if_a_policy_cannot_be_read_before_its_change_the_plan_ends_and_reports_what_landed(
    bench: Bench, scope: str, step: int
) -> None:
    bench.proxy.fault = lambda exchange, count: (
        reset if count == step - 1 and exchange.text.startswith(f".show {scope} policy") else None
    )
    steps = expected_outcomes(step - 1)
    assert bench.apply(SHORT) == ("partly applied", steps)
    assert bench.held() == steps
    assert bench.recorded() == ("partly applied", steps)


@pytest.mark.parametrize(("fault", "outcome"), [(reset_after_the_commit, "applied"), (reset, "not applied")])
def test_the_removal_of_an_empty_policy_is_reported_though_both_grant_the_same(
    bench: Bench, fault: Fault, outcome: str
) -> None:
    bench.plain.alter("First", {})
    plan = bench.session.plan({Scope.database("First"): None})
    bench.proxy.fail(1, fault)
    found, _ = replace(bench, plan=plan).apply(SHORT)
    assert found == outcome
    assert bench.plain.state("First") == (None if outcome == "applied" else {})


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (partial(answer, kustos(400)), "not applied"),
        (partial(answer_after_the_commit, gateways(429)), "applied"),
        (partial(answer_after_the_commit, gateways(503)), "applied"),
    ],
)
def test_a_command_of_a_cell_is_recorded_as_its_answer_or_its_policy_proves(
    bench: Bench, fault: Fault, outcome: str
) -> None:
    bench.proxy.fail(1, fault)
    with pytest.raises(ServiceError, match="kqlmi;"):
        bench.session.run(".delete cluster policy managed_identity")
    assert bench.recorded() == (outcome, [outcome])
    truth = "applied" if bench.plain.state(CLUSTER) is None else "not applied"
    assert truth == outcome


@pytest.mark.parametrize("way", ["cell", "cell without history", "plan"])
def test_a_throttled_write_is_sent_again_within_the_remaining_time(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, limits = [0.0], list[str]()

    def throttled_twice(exchange: Exchange, count: int) -> Fault | None:
        if exchange.writes:
            limits.append(exchange.server_timeout)
        return THROTTLED if exchange.writes and count <= 2 else None

    def pass_time(_: float) -> None:
        now[0] += 50

    monkeypatch.setattr("kqlmi.cluster.faults.retries.time", SimpleNamespace(monotonic=lambda: now[0]))
    patience = Patience(sleep=pass_time)
    with kqlmi.connect(
        bench.proxy.url, token=bench.cluster.token, timeout=200, patience=patience, history=way == "cell"
    ) as session:
        plan = session.plan({Scope.cluster(): None})
        bench.proxy.fault = throttled_twice
        if way == "plan":
            session.apply(plan, deadline=200)
        else:
            session.run(plan.steps[0].command)
    assert limits == ["0:03:20", "0:02:30", "0:01:40"]
    assert bench.plain.state(CLUSTER) is None


def test_a_throttled_command_of_a_cell_is_sent_again_and_recorded_once(bench: Bench) -> None:
    def overtake(exchange: Exchange) -> None:
        bench.plain.merge(CLUSTER, {"system": ["SqlRequest"]})
        exchange.reply(kustos(429))

    bench.proxy.fail(1, overtake)
    bench.session.run(".delete cluster policy managed_identity")
    assert bench.recorded() == ("applied", ["applied"])
    assert len(bench.proxy.writes) == 2
    [step] = bench.session.recorded().entries[-1].steps
    assert step.before is not None
    assert ("system", "SqlRequest") in step.before.grants  # undo restores the latest state before the command
