"""Tests that drift, undo and history match an oracle, despite clock jumps, full disks and processes that die."""

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import pytest

import kqlmi
from kqlmi import atomicfile
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ApplyError, InputError
from kqlmi.history import Entry, HistoryError
from kqlmi.local import commands as local_commands
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.http.service import Service
from kqlmi.local.state import policies
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy import commands
from kqlmi.model.statement import Statement
from kqlmi.session import Session
from kqlmi.session.connections.connection import _settle_open_entries

from .inside import Inside
from .plain import CLUSTER, State, grants, parse
from .test_model import IDENTITIES, NAMES, Verb, granted, policy, revoked, same, scope, written

ROUNDS, OPERATIONS = 64, 16
SCOPES = ("First", "My second", CLUSTER)
USAGES = ("ExternalTable", "SqlRequest", "All")


class Clock(datetime):
    """The clock of this machine, which may jump."""

    offset = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + cls.offset


class Died(BaseException):
    """The process ends here."""


class Mortal:
    """A connection of a process that may die before its next write is sent, or after it ran."""

    def __init__(self, behind: Connection) -> None:
        self.behind, self.dies = behind, ""

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        writes = bool(Statement(text).policy_writes)
        if writes and self.dies == "before":
            raise Died
        answer = self.behind.execute(text, database, timeout=timeout, client_request_id=client_request_id)
        if writes and self.dies == "after":
            raise Died
        return answer

    def close(self) -> None:
        self.behind.close()


class Disk:
    """A disk that accepts ``left`` more files; a negative number means any number."""

    def __init__(self) -> None:
        self.left, self._write = -1, atomicfile.write

    def write(self, path: Path, data: bytes, **options: bool) -> None:
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self.left -= 1
        self._write(path, data, **options)


@dataclass(frozen=True)
class Expected:
    """An entry in the oracle: ``outcome`` must be recorded, ``landed`` is whether it took effect."""

    before: dict[str, State]
    after: dict[str, State]
    outcome: str
    undoes: str
    landed: bool
    begun: datetime


class Oracle:
    """A cluster, one process after another that changes it, and the expected results."""

    def __init__(self, cluster: LocalCluster, service: Service, disk: Disk, seed: int) -> None:
        self.random, self.disk, self.seed = random.Random(seed), disk, seed  # noqa: S311 - a simulation
        self.cluster, self.inside = cluster, Inside(cluster, service)
        self.model: dict[str, State] = {name: self.state(name) for name in SCOPES}
        self.entries: dict[str, Expected] = {}
        self.touched: set[str] = set()
        self.trail: list[str] = []
        self.session = self.connect()

    def connect(self) -> Session:
        return _settle_open_entries(Session("local", Mortal(self.inside)), lambda _: None)

    def state(self, name: str) -> State:
        state = self.cluster._state
        return parse(policies.render(state.world.policy if name == CLUSTER else state.database(name).policy))

    @property
    def context(self) -> str:
        return f"round {self.seed}: {', '.join(self.trail)}"

    # Operations

    def step(self) -> str:
        operation = self.random.choices(*zip(*OPERATIONS_BY_WEIGHT, strict=True))[0]
        self.trail.append(operation.__name__)
        operation(self)
        self.check()
        return str(operation.__name__)

    def plan_and_apply(self) -> None:
        plan, wanted = self.planned(self.some())
        self.apply_and_check(plan, wanted)

    def run_cell(self) -> None:
        name, text, wanted = self.cell()
        self.session.run(text)
        self.add({name: self.model[name]}, {name: wanted}, "applied")

    def run_script(self) -> None:
        wanted, parts = dict(self.model), []
        names = self.random.choices([name for name in SCOPES if name != CLUSTER], k=3)
        for name in names:
            _, text, wanted[name] = self.cell(name, wanted[name])
            parts.append(text)
        before = {name: self.model[name] for name in dict.fromkeys(names)}
        self.session.run(".execute database script <|\n" + "\n".join(parts), "First")
        self.add(before, {name: wanted[name] for name in before}, "applied")

    def another_writes(self) -> None:
        self.write(self.one(), self.anything())

    def apply_after_another_wrote(self) -> None:
        """Apply a plan after a policy that it was made from has changed."""
        names = self.some()
        plan, wanted = self.planned(names)
        name = self.random.choice(names)
        self.write(name, self.anything())
        moved = [step for step in plan.steps if step.scope == scope(name)]
        before = parse(moved[0].before.to_record()) if moved and moved[0].before else None
        if plan.steps and moved and grants(before) != grants(self.model[name]):
            with pytest.raises(ApplyError, match=r"was changed.* since this plan was made.*Nothing was sent"):
                self.session.apply(plan)
        else:
            wanted.pop(name, None) if not moved else None
            self.apply_and_check(plan, wanted)

    def undo(self) -> None:
        self.settle()
        target = self.last()
        if isinstance(target, str) and target not in self.entries:
            with pytest.raises(InputError, match=target):
                self.session.undo_plan()
            return
        self.undo_entry(target, self.session.undo_plan)

    def undo_one(self) -> None:
        known = [key for key, expected in self.entries.items() if expected.outcome == "applied"]
        if known:
            target = self.random.choice(known)
            self.undo_entry(target, lambda: self.session.undo_plan(target))

    def jump(self) -> None:
        Clock.offset += timedelta(hours=self.random.choice((-200, -24, -1, 1, 24, 200)))

    def with_a_full_disk(self) -> None:
        plan, wanted = self.planned(self.some())
        _, text, _ = self.cell()
        self.disk.left = 0
        try:
            if plan.steps:
                with pytest.raises(HistoryError, match="No space left"):
                    self.session.apply(plan)
            with pytest.raises(HistoryError, match="No space left"):
                self.session.run(text)
        finally:
            self.disk.left = -1
        assert wanted is not None

    def the_disk_is_full_at_the_end(self) -> None:
        """Apply a change while the disk becomes full, so that its entry stays open."""
        plan, wanted = self.planned(self.some())
        self.disk.left = 1
        try:
            self.apply_and_check(plan, wanted, outcome="open")
        finally:
            self.disk.left = -1

    def die(self) -> None:
        """End a process midway; another may then make the same change, and the next process connects, at once or later."""
        plan, wanted = self.planned([self.one()])
        if len(plan.steps) != 1:
            return
        [(name, state)] = wanted.items()
        lands = self.random.random() < 1 / 2
        assert isinstance(self.session.connection, Mortal)
        self.session.connection.dies = "after" if lands else "before"
        with pytest.raises(Died):
            self.session.apply(plan)
        self.add({name: self.model[name]}, wanted, "open", landed=lands)
        if self.random.random() < 1 / 2:
            self.write(name, state)
        if self.random.random() < 1 / 2:
            Clock.offset += timedelta(hours=1)
        self.session = self.connect()
        self.settle()

    def damage(self) -> None:
        """Damage a file: undo then asks which entry is meant, and refuses the damaged one."""
        if not self.entries:
            return
        assert self.session.history
        damaged = self.random.choice(list(self.entries))
        [path] = self.session.history.folder.rglob(f"*{damaged}.json")
        whole = path.read_bytes()
        path.write_bytes(whole[: self.random.randrange(len(whole) - 2)])
        with pytest.raises(InputError, match=rf"may be the last change: .*{damaged}"):
            self.session.undo_plan()
        with pytest.raises(HistoryError, match=damaged):
            self.session.undo_plan(damaged)
        path.write_bytes(whole)
        self.session.settle()
        self.settle()

    # Expected results

    def check(self) -> None:
        assert {name: self.state(name) for name in SCOPES} == self.model, self.context
        found = self.session.recorded()
        assert found.unreadable == ()
        assert [(one.id, one.outcome, one.undoes or "") for one in found.entries] == [
            (key, expected.outcome, expected.undoes) for key, expected in self.entries.items()
        ], self.context
        for entry in found.entries:
            self.check_entry(entry, self.entries[entry.id])

    def check_entry(self, entry: Entry, expected: Expected) -> None:
        first = {step.scope: step for step in reversed(entry.steps)}
        last = {step.scope: step for step in entry.steps}
        for name in expected.before:
            assert _grants(first[scope(name)].before) == grants(expected.before[name]), self.context
            assert _grants(last[scope(name)].after) == grants(expected.after[name]), self.context
        assert first.keys() == {scope(name) for name in expected.before}

    def settle(self) -> None:
        """Update each open entry with what can be known about it."""
        for key, expected in self.entries.items():
            if expected.outcome in {"open", "unknown"}:
                late = datetime.now(UTC) + Clock.offset - expected.begun > timedelta(minutes=1) * max(
                    1, len(expected.before)
                )
                outcome = "applied" if expected.landed else "not applied" if late else "unknown"
                self.entries[key] = replace(expected, outcome=outcome)

    def last(self) -> str:
        """Return the ID of the entry that undo refers to, or its error message."""
        undone, passed = set(), False
        for key, expected in reversed(self.entries.items()):
            if expected.outcome in {"open", "unknown"}:
                passed = True
            elif key in undone or expected.outcome != "applied":
                continue
            elif expected.undoes:
                undone.add(expected.undoes)
            elif passed:
                return "could not determine whether entry"
            elif self.changed_since(expected) or not self.is_as_before(expected):
                return key
        return "could not determine whether entry" if passed else "nothing to undo"

    def changed_since(self, expected: Expected) -> bool:
        return any(grants(self.model[name]) != grants(state) for name, state in expected.after.items())

    def is_as_before(self, expected: Expected) -> bool:
        return all(same(self.model[name], state) for name, state in expected.before.items())

    def undo_entry(self, key: str, plan: Callable[[], PolicyPlan]) -> None:
        expected = self.entries[key]
        if self.changed_since(expected):
            with pytest.raises(InputError, match="cannot be undone"):
                plan()
            return
        found = plan()
        assert found.undoes == key, self.context
        self.apply_and_check(found, expected.before)

    def apply_and_check(self, plan: PolicyPlan, wanted: dict[str, State], *, outcome: str = "applied") -> None:
        wanted = {name: state for name, state in wanted.items() if not same(self.model[name], state)}
        before = {name: self.model[name] for name in wanted}
        assert {step.scope for step in plan.steps} == {scope(name) for name in wanted}, self.context
        assert self.session.apply(plan).outcome == "applied"
        if wanted:
            self.add(before, wanted, outcome, undoes=plan.undoes)

    def add(
        self, before: dict[str, State], after: dict[str, State], outcome: str, *, undoes: str = "", landed: bool = True
    ) -> None:
        entry = self.session.recorded().entries[-1]
        assert entry.id not in self.entries, self.context
        self.entries[entry.id] = Expected(dict(before), dict(after), outcome, undoes, landed, entry.time)
        if landed:
            self.model.update(after)

    # Random choices

    def one(self) -> str:
        return self.random.choice(SCOPES)

    def some(self) -> list[str]:
        return self.random.sample(SCOPES, self.random.choice((1, 1, 2, 3)))

    def anything(self) -> State:
        if self.random.random() < 1 / 6:
            return None
        holders = self.random.sample(NAMES, self.random.randrange(3))
        return {one: frozenset(self.random.sample(USAGES, self.random.choice((1, 2)))) for one in holders}

    def write(self, name: str, state: State) -> None:
        """Write a policy as another writer."""
        text = commands.delete(scope(name)) if state is None else commands.alter(scope(name), policy(state))
        self.inside.execute(text, client_request_id="another's")
        self.model[name] = state

    def cell(self, name: str = "", state: Any = ...) -> tuple[str, str, State]:
        """Return a command for a scope, and the state that it leaves."""
        name = name or self.one()
        state = self.model[name] if state is ... else state
        verbs: tuple[Verb, ...] = ("alter", "alter-merge", "delete")
        verb, payload = self.random.choice(verbs), self.anything() or {}
        text = commands.delete(scope(name))
        if verb == "alter":
            text = commands.alter(scope(name), policy(payload))
        elif verb == "alter-merge":
            text = commands.alter_merge(scope(name), policy(payload))
        return name, text + self.random.choice(("", ";", " // so")), written(state, verb, payload)

    def planned(self, names: list[str]) -> tuple[PolicyPlan, dict[str, State]]:
        """Plan a whole policy for each of some scopes, or a grant or revoke in all of them."""
        wanted: dict[str, State] = {}
        who, what = self.random.choice(NAMES), self.random.sample(USAGES, 1)
        way = self.random.choice((granted, revoked, None))
        for name in names:
            state = way(self.model[name], who, what) if way else self.anything()
            # If there is no policy, no empty one is created, because both grant the same.
            wanted[name] = None if not state and self.model[name] is None else state
        desired = {scope(name): None if state is None else policy(state) for name, state in wanted.items()}
        return self.session.plan(desired), wanted


OPERATIONS_BY_WEIGHT = (
    (Oracle.plan_and_apply, 6),
    (Oracle.run_cell, 4),
    (Oracle.run_script, 2),
    (Oracle.another_writes, 2),
    (Oracle.apply_after_another_wrote, 3),
    (Oracle.undo, 6),
    (Oracle.undo_one, 3),
    (Oracle.jump, 2),
    (Oracle.with_a_full_disk, 2),
    (Oracle.the_disk_is_full_at_the_end, 3),
    (Oracle.die, 4),
    (Oracle.damage, 2),
)


def _grants(found: kqlmi.Policy | None) -> frozenset[tuple[str, str]]:
    return found.grants if found else frozenset()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LocalCluster, Service, Disk]]:
    disk = Disk()
    monkeypatch.setattr("os.fsync", lambda _: None)  # it takes most of the time, and no crash of the machine is tested
    monkeypatch.setattr(atomicfile, "write", disk.write)
    monkeypatch.setattr(local_commands, "match", lru_cache(1000)(local_commands.match))  # it takes half of the rest
    monkeypatch.setattr("kqlmi.history.entries.datetime", Clock)
    monkeypatch.setattr("kqlmi.history.open_entries.datetime", Clock)
    monkeypatch.setattr(Clock, "offset", timedelta(0))
    with ExitStack() as stack:
        cluster = stack.enter_context(kqlmi.local.start(databases=SCOPES[:2], identities=IDENTITIES))
        service = Service(cluster._state)
        stack.callback(service.close)
        yield cluster, service, disk


def test_drift_undo_and_history_match_an_oracle(world: tuple[LocalCluster, Service, Disk]) -> None:
    cluster, service, disk = world
    counts: dict[str, int] = {}
    for seed in range(ROUNDS):
        shutil.rmtree(os.environ["KQLMI_STATE"], ignore_errors=True)
        cluster._state.change(lambda world: replace(world, journal=()))
        oracle = Oracle(cluster, service, disk, seed)
        for _ in range(OPERATIONS):
            name = oracle.step()
            counts[name] = counts.get(name, 0) + 1
    assert sum(counts.values()) == ROUNDS * OPERATIONS >= 1000
    assert min(counts.values()) > 20, counts
