"""Tests that a session applies every kind of plan with one method, and returns one kind of outcome."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import kqlmi
from kqlmi.errors import InputError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.plan.plan import Plan
from kqlmi.report import Report
from kqlmi.session import Applied, Session

HUB = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/Microsoft.EventHub/namespaces/n"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"], identities=["loader"]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(
        cluster.url, token=cluster.token, resource_id=cluster.resource_id, arm_options=cluster.arm_options
    ) as opened:
        yield opened


def plans(session: Session) -> dict[str, Plan]:
    hub = f"{HUB}/eventhubs/h"
    return {
        "policy": session.grant("loader", "DataConnection", databases=["Samples"]),
        "assignment": session.unassign("loader"),
        "connection": session.connect_eventhub("dc", hub=hub, table="T", identity="loader", database="Samples"),
    }


@pytest.mark.parametrize("kind", ["policy", "assignment"])
def test_each_kind_is_applied_and_verified(session: Session, kind: str) -> None:
    plan = plans(session)[kind]
    done = session.apply(plan)
    assert isinstance(done, Applied)
    assert (done.plan, done.outcome) == (plan, "applied")
    summary = plan.summary if kind == "assignment" else "1 granted, 0 revoked, 0 unchanged"
    assert str(done).startswith(f"Applied and verified on {session.name}: {summary}.")
    assert bool(done.entry) == (kind == "policy")


def test_each_kind_has_its_own_id_which_it_shows(session: Session) -> None:
    made = plans(session)
    assert len({plan.id for plan in made.values()}) == len(made)
    for kind, plan in made.items():
        assert str(plan).startswith(f"Plan {plan.short} on {session.name}: {plan.summary}")
        assert plan.id == plans(session)[kind].id


def test_each_kind_knows_what_it_revokes(session: Session) -> None:
    assert {kind: plan.revokes for kind, plan in plans(session).items()} == {
        "policy": False,
        "assignment": True,
        "connection": False,
    }


def test_no_kind_is_applied_by_a_session_on_another_cluster_or_one_that_only_reads(session: Session) -> None:
    made = plans(session)
    session.name = "elsewhere"
    for plan in made.values():
        with pytest.raises(InputError, match="was made for"):
            session.apply(plan)
    session.read_only = True
    for plan in made.values():
        with pytest.raises(InputError, match="read-only"):
            session.apply(plan)


def test_a_kind_that_cannot_be_applied_is_an_error_and_not_a_success(session: Session) -> None:
    @dataclass(frozen=True, slots=True)
    class Other(Plan):
        cluster: str
        steps = ("DELETE /",)
        content: Any = "other"
        summary = "something else"

        def report(self) -> Report:
            return Report(self.title)

    with pytest.raises(NotImplementedError, match="Other"):
        session.apply(Other(session.name))
