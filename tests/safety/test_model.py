"""Tests that, whatever changes a policy, the cluster has the same grants as a dictionary of sets."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import kqlmi
from kqlmi.errors import ApplyError, InputError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan import edits
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy import commands

from .plain import CLUSTER, Plain, State, grants

Verb = Literal["alter", "alter-merge", "delete"]

DATABASES = ("First", "My second")
SCOPES = (*DATABASES, CLUSTER)
# The last one is known to the cluster, but not to kqlmi.
USAGES = ("ExternalTable", "SqlRequest", "All", "FutureFlow")
# Fixed, so that the same examples run every time in CI.
IDENTITIES = tuple(
    kqlmi.local.Identity(name, f"{place}0000000-0000-4000-8000-000000000000", is_system=name == "system")
    for place, name in enumerate(("loader", "exporter", "system"), 1)
)
NAMES = tuple("system" if one.is_system else one.object_id for one in IDENTITIES)

identities = st.sampled_from(NAMES)
usages = st.frozensets(st.sampled_from(USAGES), min_size=1, max_size=2)
one_scope = st.sampled_from(SCOPES)
some_scopes = st.sets(one_scope, min_size=1).map(lambda found: [name for name in SCOPES if name in found])
states = st.dictionaries(identities, usages, max_size=3)
verbs: st.SearchStrategy[Verb] = st.sampled_from(("alter", "alter-merge", "delete"))


@dataclass(frozen=True)
class Recorded:
    """A history entry: the states of some scopes before and after it, and the ID of the entry that it reverted."""

    before: Mapping[str, State]
    after: Mapping[str, State]
    undoes: str


def granted(state: State, identity: str, more: Iterable[str]) -> State:
    held = state or {}
    return {**held, identity: held.get(identity, frozenset()).union(more)}


def revoked(state: State, identity: str, gone: Iterable[str]) -> State:
    if state is None:
        return None
    left = {**state, identity: state.get(identity, frozenset()).difference(gone)}
    return {holder: held for holder, held in left.items() if held}


def written(state: State, verb: Verb, payload: Mapping[str, frozenset[str]]) -> State:
    if verb == "delete":
        return None
    if verb == "alter":
        return payload
    for identity, more in payload.items():
        state = granted(state, identity, more)
    return state or {}


def same(one: State, other: State) -> bool:
    """Check whether no command leads from one to the other: they grant the same, and both or neither is a policy."""
    return grants(one) == grants(other) and (one is None) == (other is None)


def scope(name: str) -> Scope:
    return Scope.cluster() if name == CLUSTER else Scope.database(name)


def policy(state: Mapping[str, frozenset[str]]) -> kqlmi.Policy:
    made = kqlmi.Policy.empty()
    for identity, held in state.items():
        made = made.grant(identity, *held, also=USAGES)
    return made


def unassign(cluster: LocalCluster, orphans: Iterable[str]) -> None:
    """Unassign identities from the cluster, which no command can do: in Azure it changes the cluster's resource."""
    gone = set(orphans)
    with cluster._state.lock:
        cluster._state.change(
            lambda world: replace(world, identities=tuple(one for one in IDENTITIES if one.object_id not in gone))
        )


class Policies(RuleBasedStateMachine):
    """A local cluster, a session on it, and the model: the state of each scope, and the recorded entries."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.patches = ExitStack()
        self.patches.enter_context(patch.dict("os.environ", {"KQLMI_STATE": self.folder.name}))
        self.patches.enter_context(patch("os.fsync"))  # it takes most of the time, and no crash is tested here
        self.cluster = kqlmi.local.start(databases=DATABASES, identities=IDENTITIES, usages=["FutureFlow"])
        self.session = kqlmi.connect(self.cluster.url, token=self.cluster.token)
        self.plain = Plain(self.cluster.url, self.cluster.token)
        self.model: dict[str, State] = dict.fromkeys(SCOPES)
        self.entries: dict[str, Recorded] = {}
        self.orphans: frozenset[str] = frozenset()

    def teardown(self) -> None:
        self.plain.close()
        self.session.close()
        self.cluster.stop()
        self.patches.close()
        self.folder.cleanup()

    @invariant()
    def the_cluster_matches_the_model(self) -> None:
        assert {name: self.plain.state(name) for name in SCOPES} == self.model

    @initialize(found=st.lists(states, min_size=len(SCOPES), max_size=len(SCOPES)))
    def start_with_existing_policies(self, found: list[Mapping[str, frozenset[str]]]) -> None:
        for where, state in zip(SCOPES, found, strict=True):
            self.another_writer(where, "alter-merge" if state else "delete", state)

    @rule(who=identities, what=usages, where=some_scopes)
    def grant(self, who: str, what: frozenset[str], where: list[str]) -> None:
        where = self.few(where)
        if "FutureFlow" in what and not self.known("FutureFlow", where):
            with pytest.raises(InputError):
                self.session.grant(who, *what, **scope_options(where))
            return
        plan = self.session.grant(who, *what, **scope_options(where))
        self.apply_and_check(plan, {name: granted(self.model[name], who, what) for name in where})

    @rule(who=identities, what=usages, where=some_scopes)
    def revoke(self, who: str, what: frozenset[str], where: list[str]) -> None:
        where = self.few(where)
        held = any(self.model[name] is not None for name in where)
        if held and "FutureFlow" in what and not self.known("FutureFlow", where):
            with pytest.raises(InputError):
                self.session.revoke(who, *what, **scope_options(where))
            return
        plan = self.session.revoke(who, *what, **scope_options(where))
        self.apply_and_check(plan, {name: revoked(self.model[name], who, what) for name in where})

    @precondition(lambda self: not self.orphans)
    @rule(old=identities, new=identities)
    def replace(self, old: str, new: str) -> None:
        held = {name: state[old] for name, state in self.model.items() if state and old in state}
        if old == new or not held:
            with pytest.raises(InputError):
                self.session.replace(old, new)
            return
        wanted = {name: revoked(granted(self.model[name], new, what), old, what) for name, what in held.items()}
        self.apply_and_check(self.session.replace(old, new), wanted)

    @rule(where=one_scope, state=st.none() | states)
    def plan_a_whole_policy(self, where: str, state: State) -> None:
        plan = self.session.plan({scope(where): None if state is None else policy(state)})
        # If there is no policy, no empty one is created, because both grant the same.
        self.apply_and_check(plan, {where: None if not state and self.model[where] is None else state})

    @rule(where=one_scope, verb=verbs, state=states)
    def run_a_command(self, where: str, verb: Verb, state: Mapping[str, frozenset[str]]) -> None:
        texts = {
            "alter": commands.alter(scope(where), policy(state)),
            "alter-merge": commands.alter_merge(scope(where), policy(state)),
            "delete": commands.delete(scope(where)),
        }
        if verb != "delete" and self.orphans & state.keys():
            with pytest.raises(ServiceError, match="not assigned"):
                self.session.run(texts[verb])
            return
        self.session.run(texts[verb])
        self.record({where: written(self.model[where], verb, state)})

    @rule(where=one_scope, verb=verbs, state=states)
    def another_writer(self, where: str, verb: Verb, state: Mapping[str, frozenset[str]]) -> None:
        if verb == "delete":
            self.plain.delete(where)
        elif self.orphans & state.keys():
            return
        else:
            (self.plain.alter if verb == "alter" else self.plain.merge)(where, state)
        self.model[where] = written(self.model[where], verb, state)

    @rule(who=st.sampled_from(NAMES[:2]))
    def unassign_an_identity_or_assign_it_again(self, who: str) -> None:
        self.orphans ^= {who}
        unassign(self.cluster, self.orphans)

    @rule()
    def undo(self) -> None:
        """Undo the last change that is still in effect."""
        undone = set()
        for entry_id, entry in reversed(self.entries.items()):
            if entry_id in undone:
                continue
            if entry.undoes:
                undone.add(entry.undoes)
            elif self.changed_since(entry) or not all(
                same(self.model[name], entry.before[name]) for name in entry.before
            ):
                self.undo_entry(entry_id, self.session.undo_plan)
                return
        with pytest.raises(InputError, match="nothing to undo"):
            self.session.undo_plan()

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def undo_any(self, data: st.DataObject) -> None:
        """Undo any change, including an undo, or one that was reverted before."""
        entry_id = data.draw(st.sampled_from(list(self.entries)))
        self.undo_entry(entry_id, lambda: self.session.undo_plan(entry_id))

    def undo_entry(self, entry_id: str, undo_plan: Callable[[], PolicyPlan]) -> None:
        """Undo an entry, which is refused if and only if a policy grants anything but what the entry left."""
        entry = self.entries[entry_id]
        if self.changed_since(entry):
            with pytest.raises(InputError, match="cannot be undone"):
                undo_plan()
        elif not (self.orphans and len(entry.before) > 1):
            self.apply_and_check(undo_plan(), entry.before)

    def changed_since(self, entry: Recorded) -> bool:
        return any(grants(self.model[name]) != grants(state) for name, state in entry.after.items())

    def apply_and_check(self, plan: PolicyPlan, wanted: Mapping[str, State]) -> None:
        """Apply a plan; if a command names an orphan, it is refused, and a second plan does the rest."""
        wanted = {name: state for name, state in wanted.items() if not same(self.model[name], state)}
        for _ in self.orphans & {identity for name in wanted for identity in self.sent(name, wanted[name])}:
            with pytest.raises(ApplyError, match="not assigned") as caught:
                self.session.apply(plan)
            assert caught.value.outcome == "not applied"
            self.the_cluster_matches_the_model()
            [orphan] = edits.named_in(plan, str(caught.value))
            plan = self.session.without(plan, [orphan])
            wanted = {name: self.dropped(name, state, orphan) for name, state in wanted.items()}
            wanted = {name: state for name, state in wanted.items() if not same(self.model[name], state)}
        assert self.session.apply(plan).outcome == "applied"
        assert {step.scope for step in plan.steps} == {scope(name) for name in wanted}
        if wanted:
            self.record(wanted, plan.undoes)

    def sent(self, name: str, wanted: State) -> frozenset[str]:
        """Return the identities that a command names: a merge those that gain something, an .alter all that remain."""
        gained = grants(wanted) - grants(self.model[name])
        merges = grants(self.model[name]) <= grants(wanted)
        return frozenset(identity for identity, _ in gained) if merges else frozenset(wanted or ())

    def dropped(self, name: str, wanted: State, orphan: str) -> State:
        """Return the wanted state without an orphan: an .alter drops it, and a merge leaves it unchanged."""
        if wanted is None:
            return None
        rest = {identity: held for identity, held in wanted.items() if identity != orphan}
        current = self.model[name] or {}
        if grants(current) <= grants(wanted) and orphan in current:
            return {**rest, orphan: current[orphan]}
        return None if not rest and self.model[name] is None else rest

    def record(self, after: Mapping[str, State], undoes: str = "") -> None:
        entry = self.session.recorded().entries[-1]
        assert entry.outcome == "applied"
        assert entry.id not in self.entries
        self.entries[entry.id] = Recorded({name: self.model[name] for name in after}, after, undoes)
        self.model.update(after)

    def known(self, usage: str, where: Iterable[str]) -> bool:
        return any(usage == held for name in where for _, held in grants(self.model[name]))

    def few(self, where: list[str]) -> list[str]:
        # A plan of several steps may be refused halfway (tests/safety/test_faults.py); here a refusal must change nothing.
        return where[:1] if self.orphans else where


def scope_options(where: Iterable[str]) -> Any:
    return {"databases": [name for name in where if name != CLUSTER], "cluster": CLUSTER in where}


def test_after_every_change_the_cluster_matches_a_simple_model() -> None:
    # Fewer than for other properties, because each example needs its own cluster and several hundred requests.
    examples = max(10, settings().max_examples // 8)
    run_state_machine_as_test(Policies, settings=settings(max_examples=examples, stateful_step_count=30))


def test_a_revoke_and_an_undo_with_an_orphan_are_refused_and_possible_without_it() -> None:
    loader, exporter = NAMES[:2]
    with (
        kqlmi.local.start(databases=DATABASES, identities=IDENTITIES) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token) as session,
        Plain(cluster.url, cluster.token) as plain,
    ):
        held = {loader: frozenset({"ExternalTable"}), exporter: frozenset({"ExternalTable", "SqlRequest"})}
        plain.alter("First", held)
        unassign(cluster, [loader])
        plan = session.revoke(exporter, "SqlRequest", databases=["First"])
        with pytest.raises(ApplyError, match="not assigned") as caught:
            session.apply(plan)
        assert caught.value.outcome == "not applied"
        assert plain.state("First") == held
        second = session.without(plan, edits.named_in(plan, str(caught.value)))
        assert {(change.identity, change.usage) for change in second.changes if change.kind == "revoke"} == {
            (loader, "ExternalTable"),
            (exporter, "SqlRequest"),
        }
        session.apply(second)
        assert plain.state("First") == {exporter: frozenset({"ExternalTable"})}

        undo = session.undo_plan()
        with pytest.raises(ApplyError, match="not assigned") as caught:
            session.apply(undo)
        assert plain.state("First") == {exporter: frozenset({"ExternalTable"})}
        session.apply(session.without(undo, edits.named_in(undo, str(caught.value))))
        assert plain.state("First") == {exporter: held[exporter]}


def test_a_grant_to_an_orphan_is_refused_and_without_it_the_orphan_keeps_what_it_has() -> None:
    loader, exporter = NAMES[:2]
    with (
        kqlmi.local.start(databases=DATABASES, identities=IDENTITIES) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token) as session,
        Plain(cluster.url, cluster.token) as plain,
    ):
        held = {loader: frozenset({"ExternalTable"})}
        plain.alter("First", held)
        unassign(cluster, [loader])
        more = policy(held).grant(loader, "SqlRequest").grant(exporter, "SqlRequest")
        plan = session.plan({scope("First"): more})
        with pytest.raises(ApplyError, match="not assigned") as caught:
            session.apply(plan)
        assert plain.state("First") == held
        session.apply(session.without(plan, edits.named_in(plan, str(caught.value))))
        assert plain.state("First") == {**held, exporter: frozenset({"SqlRequest"})}
