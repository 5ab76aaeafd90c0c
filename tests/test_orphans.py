"""Tests of a scope with an identity that is no longer assigned: what repeats it is refused, and a way to proceed is offered."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import kqlmi
from kqlmi.errors import ApplyError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan import edits
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session import Session

SAMPLES = Scope.database("Samples")
ORPHAN, LOADER = (kqlmi.local.Identity(name) for name in ("orphan", "loader"))


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"], identities=[ORPHAN, LOADER]) as started:
        yield started


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(cluster.url, token=cluster.token) as opened:
        opened.apply(opened.grant(ORPHAN.object_id, "ExternalTable", databases=["Samples"]))
        opened.apply(opened.grant(LOADER.object_id, "SqlRequest", databases=["Samples"]))
        opened.apply(opened.grant(LOADER.object_id, "AzureAI", databases=["Samples"]))
        cluster._state.change(lambda world: replace(world, identities=(LOADER,)))
        yield opened


def by_revoke(session: Session) -> PolicyPlan:
    return session.revoke("loader", "AzureAI", databases=["Samples"])


def by_undo(session: Session) -> PolicyPlan:
    return session.undo_plan()


def by_file(session: Session) -> PolicyPlan:
    return session.plan_file(session.export().replace("[SqlRequest, AzureAI]", "[SqlRequest]"))[0]


@pytest.mark.parametrize("make", [by_revoke, by_undo, by_file])
def test_a_plan_that_repeats_an_orphan_is_refused_and_succeeds_without_it(
    session: Session, make: Callable[[Session], PolicyPlan]
) -> None:
    before, plan = session.policy(SAMPLES), make(session)
    with pytest.raises(ApplyError, match="refused and changed nothing") as caught:
        session.apply(plan)
    assert caught.value.outcome == "not applied"
    assert session.policy(SAMPLES) == before
    orphans = edits.named_in(plan, caught.value.message)
    assert orphans == (ORPHAN.object_id,)
    second = session.without(plan, orphans)
    assert f"- orphan ({ORPHAN.object_id}) ExternalTable" in str(second)
    assert second.undoes == plan.undoes
    session.apply(second)
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert policy.grants == {(LOADER.object_id, "SqlRequest")}


def test_an_exported_orphan_plans_nothing(session: Session) -> None:
    plan, unmanaged = session.plan_file(session.export())
    assert (plan.steps, unmanaged) == ((), ())
