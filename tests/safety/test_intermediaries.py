"""Tests that the reported outcome of a write matches the cluster, whatever an intermediary answers.

A row is the shape of an answer, from a proxy that forwarded the command or did not, at a step of a kind. What each row reports
is compared with the state of the cluster itself; it may be reported as unknown only if nothing could be read.
"""

import itertools
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import kqlmi
from kqlmi.cli import main
from kqlmi.cluster.connection import Connection, KustoConnection, Target
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.credentials import sign_in
from kqlmi.errors import AnswerError, ApplyError, KqlmiError
from kqlmi.history import History
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.http import wire
from kqlmi.local.http.service import Request, Service
from kqlmi.model.entities import Scope
from kqlmi.model.plan import planfile
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session import Session
from tests.standins.serving import Answer as Served
from tests.standins.serving import certify, serve, talker

from .plain import AFTER, BEFORE, CLUSTER, Plain, State
from .proxy import Answer, Exchange, Proxy

STEPS = {"grant": "First", "revoke": "Second", "delete": CLUSTER}
OTHER = {"First": "Second", "Second": "First", CLUSTER: "First"}


class Asked(NamedTuple):
    """The input of a shape: the scope that was written, and a state that is not the true one."""

    scope: str
    lie: str


Shape = Callable[[Asked], Answer]


def fixed(status: int, body: bytes, **headers: str) -> Shape:
    return lambda _: Answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


def table_of(columns: str, *rows: Callable[[Asked], tuple[Any, ...]], cut: float = 1.0) -> Shape:
    """Return a shape that answers with a table of Kusto's v1 protocol, complete or truncated."""

    def shape(asked: Asked) -> Answer:
        names = [{"ColumnName": name, "DataType": "String", "ColumnType": "string"} for name in columns.split()]
        found = [list(row(asked)) for row in rows]
        body = json.dumps({"Tables": [{"TableName": "Table_0", "Columns": names, "Rows": found}]}).encode()
        return Answer(200, body[: int(len(body) * cut)], {"Content-Type": "application/json"})

    return shape


def kusto(code: str = "General_Error") -> bytes:
    error = {"code": code, "message": "No.", "@type": "Some.Exception", "@message": "No.", "@permanent": True}
    return json.dumps({"error": error}).encode()


def entity(scope: str) -> str:
    return f"[{scope}]" if scope else ""


FIVE, TWO = "PolicyName EntityName Policy ChildEntities EntityType", "EntityName Policies"


def of(scope: Callable[[str], str], policy: str = "ManagedIdentityPolicy") -> Callable[[Asked], tuple[Any, ...]]:
    """Return a row about a scope, with the state that is not the true one."""

    def row(asked: Asked) -> tuple[Any, ...]:
        found = scope(asked.scope)
        return (policy, entity(found), asked.lie, "[]", "Database" if found else "Cluster")

    return row


PAGE = b"<!DOCTYPE html><html><title>Blocked</title></html>"
STRANGE = {"page": PAGE, "empty": b"", "denied": b'{"error": "denied"}', "Message": b'{"Message": "No entry."}'}
REFUSING = (400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 429, 431, 451)
FAILING = (500, 502, 503, 504, 520)
# Answers of any intermediary, whether or not it forwarded the command.
ANYBODYS: dict[str, Shape] = {
    **{
        f"{status} {name}": fixed(status, body)
        for status, (name, body) in itertools.product((*REFUSING, 503), STRANGE.items())
    },
    **{f"{status} page": fixed(status, PAGE) for status in (302, *FAILING)},
    **{f"{status} of Kusto": fixed(status, kusto()) for status in FAILING},
    **{f"200 {name}": fixed(200, body) for name, body in STRANGE.items()},
    "401 for a proxy": fixed(401, b"", WWW_Authenticate="Basic realm=proxy"),
    "403 half an error": fixed(403, b'{"error": {"code": "Forbidden", "message": "No."}}'),
    "200 object": fixed(200, b"{}"),
    "200 null": fixed(200, b"null"),
    "200 no tables": fixed(200, b'{"Tables": []}'),
    "200 half a table": fixed(200, b'{"Tables": [{"TableName": "T"}]}'),
    "200 cut short": table_of(FIVE, of(lambda scope: scope), cut=0.6),
    "200 zero rows": table_of(FIVE),
    "200 two rows": table_of(FIVE, of(lambda scope: scope), of(lambda scope: scope)),
    "200 another command's": table_of("TableName Folder", lambda _: ("T", "")),
    "200 another policy's": table_of(FIVE, of(lambda scope: scope, "CachingPolicy")),
    "200 another scope's": table_of(FIVE, of(OTHER.__getitem__)),
    "200 another scope's in two columns": table_of(TWO, lambda asked: (entity(OTHER[asked.scope]), asked.lie)),
    "200 nothing of a policy": table_of(FIVE, lambda asked: ("", entity(asked.scope), "[{", "", "")),
}
# Answers that only the service itself sends; it then did nothing.
KUSTOS: dict[str, Shape] = {
    **{f"{status} of Kusto": fixed(status, kusto()) for status in (400, 401, 403, 404, 409, 412)},
    "401 for a token": fixed(401, b"", WWW_Authenticate="Bearer authorization_uri=x"),
}


class Row(NamedTuple):
    """The shape of the answer to a command at a kind of step; ``landed`` if the cluster ran the command."""

    shape: str
    step: str
    landed: bool
    blind: bool = False
    """Whether every later request gets the same answer, so that nothing can be read."""
    way: str = "plan"


IN_CELLS = [name for name in ANYBODYS if name.startswith(("200", "403", "500"))]
ROWS = [
    *(Row(*words) for words in itertools.product(ANYBODYS, STEPS, (True, False))),
    *(Row(shape, step, landed=False) for shape, step in itertools.product(KUSTOS, STEPS)),
    *(Row(shape, "grant", landed, way="cell") for shape, landed in itertools.product(IN_CELLS, (True, False))),
    *(Row(shape, "revoke", landed=False, way="cell") for shape in KUSTOS),
]
# Rows in which every later request gets the same answer.
BLIND = [
    Row(shape, step, landed, blind=True, way=way)
    for (shape, step), landed, way in itertools.product(
        [("200 zero rows", "delete"), ("403 page", "grant"), ("502 page", "revoke")], (True, False), ("plan", "cell")
    )
]


class Near:
    """A connection that reads from the cluster without a network, because most reads do not matter here, unless it is ``far``."""

    def __init__(self, over_http: Connection, cluster: LocalCluster) -> None:
        self.over_http, self.far = over_http, False
        self._service = Service(cluster._state)
        self._caller = cluster._admin

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        if self.far or not text.startswith(".show"):
            return self.over_http.execute(text, database, timeout=timeout, client_request_id=client_request_id)
        if text.startswith(".show journal"):
            text = ".show journal"  # it contains only policies of a moment ago, and a filter would start an engine
        request = Request(self._caller, text, database, client_request_id)
        tables = self._service.begin(request, is_query=False).work()
        [found] = json.loads(wire.v1(*tables))["Tables"]
        columns = tuple(Column.of(one["ColumnName"], one["ColumnType"]) for one in found["Columns"])
        return Table(columns, found["Rows"])

    def close(self) -> None:
        self._service.close()
        self.over_http.close()


@dataclass
class Bench:
    """A session through a proxy, a plan for each kind of step, and the real state of the cluster."""

    cluster: LocalCluster
    plain: Plain
    proxy: Proxy
    session: Session
    plans: Mapping[str, PolicyPlan]
    texts: Mapping[str, tuple[str, str]]
    folder: Path
    near: Near

    def truth(self, scope: str) -> str:
        state = self.cluster._state
        found = state.database(scope).policy if scope else state.world.policy
        now = found if found is None else {"system": frozenset(usage for entry in found for usage in entry.usages)}
        return {json.dumps(_plain(BEFORE[scope])): "not applied", json.dumps(_plain(AFTER[scope])): "applied"}[
            json.dumps(_plain(now))
        ]

    def meet(self, row: Row) -> tuple[str, str]:
        """Send a step through the proxy, and return the reported and the recorded outcome."""
        scope = STEPS[row.step]
        if self.truth(scope) != "not applied":
            self.plain.alter(scope, BEFORE[scope] or {})
        self.cluster._state.change(lambda world: replace(world, journal=()))  # it is read again and again
        shape = {**ANYBODYS, **KUSTOS}[row.shape]
        made_up = shape(Asked(scope, self.texts[row.step][0 if row.landed else 1]))
        # A separate history, because all of it is read for each entry.
        history = History(self.folder / str(len(list(self.folder.iterdir()))))
        self.session.__dict__["recorder"] = replace(self.session.recorder, history=history)
        exchanges: list[Exchange] = []
        self.near.far = row.blind

        def fault(exchange: Exchange) -> None:
            if exchange.writes and row.landed and exchange not in exchanges:
                exchange.forward()
            exchanges.append(exchange)
            exchange.reply(made_up)

        self.proxy.fault = lambda exchange, _: (
            fault if (exchange.writes and not exchanges) or (row.blind and exchanges) else None
        )
        try:
            reported = self.send(row)
        finally:
            self.proxy.fault = lambda _, __: None
            self.near.far = False
        assert exchanges
        entries = self.session.recorded().entries
        return reported, entries[-1].outcome if entries else "none"

    def send(self, row: Row) -> str:
        plan = self.plans[row.step]
        if row.way == "plan":
            try:
                return self.session.apply(plan, deadline=1).outcome
            except ApplyError as error:
                return error.outcome if error.entry else "no entry"
        try:
            self.session.run(plan.steps[0].command, timeout=1)
        except KqlmiError as error:
            says = error.hint
            if says.startswith("The policy was changed nevertheless"):
                return "applied"
            return "unknown" if "check before" in says.casefold() else "not applied"
        return "applied"


def _plain(state: State) -> Any:
    return state and {identity: sorted(usages) for identity, usages in state.items()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # no crash is tested here
        patch.setattr("kqlmi.cluster.connection._GRACE", timedelta(seconds=5))
        clock = [1000.0]

        def sleep(_: float) -> None:
            clock[0] += 30

        # Waits for a late command use this clock, on which they end quickly.
        for module in ("kqlmi.cluster.outcome_recovery", "kqlmi.apply.execution", "kqlmi.apply.sender"):
            patch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
        patch.setattr("kqlmi.cluster.outcome_recovery._AFTER_INTERRUPT", 0.5)
        with (
            ExitStack() as held,
            kqlmi.local.start(databases=["First", "Second"], identities=["system"]) as cluster,
            Plain(cluster.url, cluster.token) as plain,
            Proxy(cluster.url) as proxy,
            kqlmi.connect(proxy.url, token=cluster.token, patience=Patience(sleep=lambda _: None)) as session,
        ):
            near = Near(session.connection, cluster)
            held.callback(near.close)
            session.connection = near
            session.__dict__.pop("recorder", None)  # it keeps a connection
            texts = {}
            for step, scope in STEPS.items():
                policies = []
                for state in (BEFORE[scope], AFTER[scope]):
                    plain.alter(scope, state) if state is not None else plain.delete(scope)
                    target = f"database ['{scope}']" if scope else "cluster"
                    [row] = plain.rows(f".show {target} policy managed_identity")
                    policies.append(str(row["Policy"]))
                texts[step] = (policies[0], policies[1])
                plain.alter(scope, BEFORE[scope] or {})
            empty = kqlmi.Policy.empty()
            plans = {
                "grant": session.plan({Scope.database("First"): empty.grant("system", "SqlRequest", "ExternalTable")}),
                "revoke": session.plan({Scope.database("Second"): empty.grant("system", "ExternalTable")}),
                "delete": session.plan({Scope.cluster(): None}),
            }
            yield Bench(cluster, plain, proxy, session, plans, texts, tmp_path_factory.mktemp("state"), near)


def by_shape(rows: list[Row]) -> Mapping[str, list[Row]]:
    return {shape: [row for row in rows if row.shape == shape] for shape in dict.fromkeys(row.shape for row in rows)}


@pytest.mark.parametrize("rows", by_shape(ROWS).values(), ids=by_shape(ROWS))
def test_the_reported_outcome_matches_the_cluster(bench: Bench, rows: list[Row]) -> None:
    untrue = []
    for row in rows:
        reported, recorded = bench.meet(row)
        truth = bench.truth(STEPS[row.step])
        if (reported, recorded) != (truth, truth):
            untrue.append((row, reported, recorded, truth))
    assert untrue == []


@pytest.mark.parametrize("row", BLIND, ids=str)
def test_if_nothing_can_be_read_the_outcome_of_a_write_is_unknown(bench: Bench, row: Row) -> None:
    assert bench.meet(row) == ("unknown", "unknown")
    bench.session.settle()
    [entry] = bench.session.recorded().entries
    assert (entry.outcome == "applied") is (bench.truth(STEPS[row.step]) == "applied")


def test_the_table_is_large_and_distinguishes_what_landed_from_what_did_not() -> None:
    landed = sum(row.landed for row in ROWS)
    assert len(ROWS) >= 500
    assert 200 <= landed <= len(ROWS) - 200


@pytest.mark.parametrize("landed", [True, False])
def test_a_dripping_answer_ends_with_the_timeout_of_the_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, landed: bool  # noqa: FBT001
) -> None:  # fmt: skip
    if bench.truth("First") != "not applied":
        bench.plain.alter("First", BEFORE["First"] or {})

    def fault(exchange: Exchange) -> None:
        if landed:
            exchange.forward()
        exchange.drip()

    monkeypatch.setattr("kqlmi.cluster.connection._GRACE", timedelta(seconds=-0.7))  # out of the one second that it has
    bench.proxy.fault = lambda exchange, _: fault if exchange.writes else None
    try:
        # Until the command has run, it may still arrive.
        assert bench.send(Row("", "grant", landed)) == ("applied" if landed else "unknown")
    finally:
        bench.proxy.fault = lambda _, __: None
    assert bench.truth("First") == ("applied" if landed else "not applied")


class Through:
    """A connection that sends its writes another way."""

    def __init__(self, reads: Connection, writes: Connection) -> None:
        self.reads, self.writes = reads, writes

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        by = self.reads if text.startswith((".show", "print")) else self.writes
        return by.execute(text, database, timeout=timeout, client_request_id=client_request_id)

    def close(self) -> None:
        self.writes.close()


def refuse_the_way(there: socket.socket) -> None:
    there.recv(65_536)
    there.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", ["not trusted", "no proxy", "no name", "refused"])
def test_a_command_that_was_never_sent_is_reported_as_not_applied(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, step: str
) -> None:
    if bench.truth(STEPS[step]) != "not applied":
        bench.plain.alter(STEPS[step], BEFORE[STEPS[step]] or {})
    monkeypatch.setenv("NO_PROXY", "*" if way != "no proxy" else "")
    with ExitStack() as held:
        url = "https://no.invalid"
        if way == "not trusted":
            port = held.enter_context(serve(lambda _: Served(200, {}), certify(tmp_path).tls))
            url = f"https://127.0.0.1:{port}"
        elif way == "no proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{held.enter_context(talker(refuse_the_way))}")
        elif way == "refused":
            free = held.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        broken = KustoConnection(Target(url, sign_in("none")), retrying=Retrying(Patience(sleep=lambda _: None)))
        name, connection = bench.session.name, Through(bench.session.connection, broken)
        session = held.enter_context(Session(name, connection, retrying=Retrying(Patience(sleep=lambda _: None))))
        with pytest.raises(
            ApplyError, match=r"was not sent: .* cannot be reached, because .* Nothing was sent"
        ) as caught:
            session.apply(bench.plans[step])
        assert caught.value.outcome == "not applied"
        assert session.recorded().entries[-1].outcome == "not applied"
    assert bench.truth(STEPS[step]) == "not applied"


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (Row("200 zero rows", "grant", landed=True, blind=True), 3),
        (Row("200 zero rows", "grant", landed=False, blind=True), 3),
        (Row("403 page", "grant", landed=True), 0),
        (Row("403 page", "grant", landed=False), 1),
        (Row("403 of Kusto", "grant", landed=False), 1),
    ],
    ids=str,
)
def test_the_status_of_the_command_line_follows_the_outcome(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row, status: int
) -> None:
    monkeypatch.setenv("KQLMI_TOKEN", bench.cluster.token)
    file = tmp_path / "plan.json"
    file.write_text(planfile.to_json(bench.plans["grant"]))
    words = ["apply", str(file), "--yes", "--on", bench.proxy.url, "--auth", "token"]
    monkeypatch.setattr(bench, "send", lambda _: str(main(words)))
    assert bench.meet(row)[0] == str(status)


@pytest.mark.parametrize("way", ["plan", "cell"])
def test_if_the_policy_cannot_be_read_before_the_change_nothing_is_sent(bench: Bench, way: str) -> None:
    made_up = ANYBODYS["200 zero rows"](Asked("First", ""))
    bench.proxy.fault = lambda exchange, _: (
        (lambda one: one.reply(made_up)) if "policy managed_identity" in exchange.text else None
    )
    sent = len(bench.proxy.writes)
    bench.near.far = True
    try:
        if way == "plan":
            with pytest.raises(ApplyError, match=r"Cannot read the policy of the .+ before changing it") as caught:
                bench.session.apply(bench.plans["grant"])
            assert caught.value.outcome == "not applied"
        else:
            with pytest.raises(AnswerError, match="Cannot read"):
                bench.session.run(bench.plans["grant"].steps[0].command)
    finally:
        bench.proxy.fault, bench.near.far = lambda _, __: None, False
    assert len(bench.proxy.writes) == sent
    assert all(entry.outcome != "open" for entry in bench.session.recorded().entries)
