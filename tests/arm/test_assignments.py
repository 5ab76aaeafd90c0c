"""Tests of assigning and unassigning with Azure's own clients: preview, drift check, verification and recovery of outcomes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import ApplyError, InputError, ResourceManagerError
from kqlmi.local.azure import arm
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.session import Session
from tests.arm.conftest import Connect, create, unassign_by_hand
from tests.safety.proxy import Answer, Exchange, Fault, Proxy

SAMPLES = Scope.database("Samples")


def names(cluster: LocalCluster) -> list[str]:
    return [one.display_name for one in cluster.identities]


def system_of(cluster: LocalCluster) -> str:
    return next(one.object_id for one in cluster.identities if one.is_system)


def test_an_assigned_identity_leaves_the_system_one_and_the_others(cluster: LocalCluster, session: Session) -> None:
    made, system = create(cluster, "newcomer"), system_of(cluster)
    plan = session.assign("newcomer")
    assert plan.after.type == "SystemAssigned, UserAssigned"
    assert sorted(one.rpartition("/")[2] for one in plan.body["identity"]["userAssignedIdentities"]) == [
        *("exporter", "loader", "newcomer")
    ]
    assert json.dumps(plan.body, indent=2) in str(plan)
    assert names(cluster) == ["system", "loader", "exporter"]
    reported: list[str] = []
    done = session.apply(plan, tell=reported.append)
    assert names(cluster) == ["system", "loader", "exporter", "newcomer"]
    assert system_of(cluster) == system
    assert f"To revert it: %kqlmi unassign {made.id}" in str(done)
    assert "accepted" in reported[0]
    assert "Nothing to do" in str(session.assign(made.id))


def test_unassigning_keeps_the_others_and_the_last_user_assigned_one_goes_too(
    cluster: LocalCluster, session: Session
) -> None:
    plan = session.unassign("LOADER")
    assert plan.revokes
    assert list(plan.body["identity"]["userAssignedIdentities"].values()) == [None]
    session.apply(plan)
    assert names(cluster) == ["system", "exporter"]
    exporter = next(one for one in session.assigned() if one.display_name == "exporter")
    session.apply(session.unassign(exporter.object_id))
    assert names(cluster) == ["system"]
    session.apply(session.assign(exporter.resource_id))
    assert names(cluster) == ["system", "exporter"]


def test_unassigning_the_system_identity_needs_the_cluster_name_and_leaves_an_orphan(
    cluster: LocalCluster, session: Session
) -> None:
    session.apply(session.grant("system", "ExternalTable", databases=["Samples"]))
    first = system_of(cluster)
    plan = session.unassign("system")
    assert "cannot be undone" in str(plan)
    assert f"Would become an orphan: system ({first}) in the policy of the database Samples: ExternalTable" in str(
        session.impact(plan)
    )
    for confirm in ("", "here"):
        with pytest.raises(InputError, match="must be confirmed with the name of the cluster"):
            session.apply(plan, confirm=confirm)
    assert system_of(cluster) == first
    done = session.apply(plan, confirm=cluster.name)
    assert "undo" not in str(done)
    assert names(cluster) == ["loader", "exporter"]
    session.apply(session.assign("system"))
    second = system_of(cluster)
    rows = {one.identity.principal_id: one for one in session.identities().identities}
    assert rows[second].note == "not in any policy"
    assert rows[first].note == "orphan: not assigned, formerly the system identity"
    policy = session.policy(SAMPLES)
    assert policy is not None
    assert first in policy.to_json()
    assert [one.rule for one in session.audit().findings if one.identity == first] == ["orphan"]


def test_an_unassign_lists_the_uses_that_would_stop(cluster: LocalCluster, session: Session, tmp_path: Path) -> None:
    loader = next(one.object_id for one in cluster.identities if one.display_name == "loader")
    session.apply(session.grant(loader, "ExternalTable", "SqlRequest", databases=["Samples"]))
    cluster.add_storage("https://acct.blob.core.windows.net/data", tmp_path)
    where = f"h@'https://acct.blob.core.windows.net/data;managed_identity={loader}'"
    session.run(f".create external table T (a: string) kind=storage dataformat=csv ({where})", "Samples")
    reported = str(session.impact(session.unassign("loader")))
    assert f"Would stop: loader ({loader}) ExternalTable in the database Samples: external table T" in reported
    assert "Would become an orphan: loader" in reported
    assert re.search("Cannot be determined: whether loader .* uses SqlRequest", reported)
    assert not session.impact(session.assign("loader")).lines


def test_a_policy_that_could_not_be_read_may_name_what_is_unassigned(cluster: LocalCluster) -> None:
    loader = next(one.object_id for one in cluster.identities if one.display_name == "loader")
    with kqlmi.connect(
        cluster.url,
        token=cluster.token_for("viewer", database="Samples"),
        resource_id=cluster.resource_id,
        arm_options=cluster.arm_options,
    ) as viewer:
        reported = viewer.impact(viewer.unassign("loader")).lines
    [line] = [one for one in reported if "the policy of" in one]
    assert line.startswith(
        f"Cannot be determined: whether the policy of the cluster names loader ({loader}), because Principal"
    )


def test_a_plan_that_is_out_of_date_is_refused_and_nothing_is_sent(cluster: LocalCluster, session: Session) -> None:
    create(cluster, "newcomer")
    plan = session.assign("newcomer")
    unassign_by_hand(cluster, "loader")
    with pytest.raises(ApplyError, match=r"were changed since plan .* was made, from .*Nothing was sent") as caught:
        session.apply(plan)
    assert caught.value.outcome == "not applied"
    assert names(cluster) == ["system", "exporter"]


def through(cluster: LocalCluster, connect: Connect, fault: Fault) -> tuple[Proxy, Session]:
    proxy = Proxy(cluster.url)
    proxy.fail(1, fault)
    return proxy, connect(base_url=proxy.url)


def test_a_change_between_the_check_and_the_request_is_refused_too(cluster: LocalCluster, connect: Connect) -> None:
    def overtaken(exchange: Exchange) -> None:
        unassign_by_hand(cluster, "exporter")
        exchange.reply(exchange.forward())

    proxy, session = through(cluster, connect, overtaken)
    with proxy, pytest.raises(ApplyError, match="PreconditionFailed") as caught:
        session.apply(session.unassign("loader"))
    assert caught.value.outcome == "not applied"
    assert names(cluster) == ["system", "loader"]


def lost_after(exchange: Exchange) -> None:
    exchange.forward()
    exchange.reset()


def gateway_after(exchange: Exchange) -> None:
    exchange.forward()
    exchange.reply(Answer(504, b"", {"Retry-After": "0"}))


@pytest.mark.parametrize("fault", [lost_after, gateway_after])
def test_a_lost_answer_is_resolved_by_reading_back_and_nothing_is_sent_twice(
    cluster: LocalCluster, connect: Connect, fault: Fault
) -> None:
    proxy, session = through(cluster, connect, fault)
    reported: list[str] = []
    with proxy:
        session.apply(session.unassign("loader"), tell=reported.append)
        assert proxy.writes == ["PATCH"]
    assert reported == ["The response was lost. Reading the current state…"]
    assert names(cluster) == ["system", "exporter"]


def test_a_request_that_may_still_arrive_is_unknown(cluster: LocalCluster, connect: Connect) -> None:
    proxy, session = through(cluster, connect, lambda exchange: exchange.reset())
    with proxy, pytest.raises(ApplyError, match=r"may still be made.*%kqlmi identities") as caught:
        session.apply(session.unassign("loader"), deadline=0.1)
    assert caught.value.outcome == "unknown"
    assert names(cluster) == ["system", "loader", "exporter"]


@pytest.mark.parametrize(
    ("status", "outcome", "says"),
    [
        (409, "not applied", "Another operation seems to be in progress"),
        (429, "not applied", "Try again in 7 s"),
        (403, "not applied", "Contributor"),
        (500, "unknown", "may still be made"),
    ],
)
def test_a_refusal_is_distinguished_from_errors_that_prove_nothing(
    cluster: LocalCluster, connect: Connect, status: int, outcome: str, says: str
) -> None:
    body = json.dumps({"error": {"code": "Code", "message": "No\x1b[31m."}}).encode()
    headers = {"Content-Type": "application/json", "Retry-After": "7"}
    proxy, session = through(cluster, connect, lambda exchange: exchange.reply(Answer(status, body, headers)))
    with proxy, pytest.raises(ApplyError, match=says) as caught:
        session.apply(session.unassign("loader"), deadline=0.1)
    assert caught.value.outcome == outcome
    assert "\x1b" not in str(caught.value)
    assert proxy.writes == ["PATCH"]
    assert names(cluster) == ["system", "loader", "exporter"]


def test_an_interrupted_change_is_read_back(cluster: LocalCluster, session: Session) -> None:
    before = cluster.identities

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(ApplyError, match="Interrupted, but Azure completed the request to unassign loader") as caught:
        session.apply(session.unassign("loader"), tell=interrupt)
    assert caught.value.outcome == "applied"
    assert names(cluster) == ["system", "exporter"]

    cluster._state.change(lambda world: replace(world, identities=before))
    plan = session.unassign("loader")

    def undone(_: str) -> None:
        cluster._state.change(lambda world: replace(world, identities=before))
        raise KeyboardInterrupt

    with pytest.raises(ApplyError, match=r"Interrupted.*does not stop an operation.*%kqlmi identities") as caught:
        session.apply(plan, tell=undone)
    assert caught.value.outcome == "unknown"


def test_a_reader_can_plan_and_sees_which_role_is_missing(cluster: LocalCluster, connect: Connect) -> None:
    session = connect(**cluster.arm_options_for("Reader"))
    create(cluster, "newcomer")
    with pytest.raises(ApplyError, match=r"AuthorizationFailed.*Contributor.*Managed Identity Operator") as caught:
        session.apply(session.assign("newcomer"))
    assert caught.value.outcome == "not applied"


def test_a_user_without_any_role_sees_which_role_is_missing(cluster: LocalCluster, connect: Connect) -> None:
    session = connect(**cluster.arm_options_for("none"))
    with pytest.raises(ResourceManagerError, match=r"did not list the assigned identities.*Reader on the cluster"):
        session.assign("loader")


def test_a_failed_operation_is_not_applied(
    cluster: LocalCluster, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = session.unassign("loader")
    before, accept = cluster.identities, arm._accepted

    def fail(asked: arm.Request) -> arm.Answer:
        answer = accept(asked)
        asked.state.change(lambda world: replace(world, identities=before))
        asked.state.operations = dict.fromkeys(asked.state.operations, "Failed")
        return answer

    monkeypatch.setattr(arm, "_accepted", fail)
    with pytest.raises(ApplyError, match="Nothing changed") as caught:
        session.apply(plan)
    assert caught.value.outcome == "not applied"


def test_names_that_match_nothing_or_another_session_are_refused(cluster: LocalCluster, session: Session) -> None:
    with pytest.raises(InputError, match="Did you mean loader"):
        session.assign("loadre")
    with pytest.raises(InputError, match="is not the resource ID of a user-assigned identity"):
        session.assign("/subscriptions/x")
    with pytest.raises(InputError, match=r"Identity 'newcomer' is not assigned.*Known|Did you mean"):
        session.unassign("newcomer")
    session.read_only = True
    with pytest.raises(InputError, match="read-only"):
        session.apply(session.unassign("loader"))
    assert names(cluster) == ["system", "loader", "exporter"]


def test_by_object_id_an_identity_of_the_subscription_is_assigned(cluster: LocalCluster, session: Session) -> None:
    made = create(cluster, "newcomer")
    assert session.assign(made.principal_id).identity.display_name == "newcomer"


def test_an_undo_of_what_is_no_longer_assigned_says_so_before_it_is_sent(
    cluster: LocalCluster, session: Session
) -> None:
    loader = next(one.object_id for one in cluster.identities if one.display_name == "loader")
    session.apply(session.grant(loader, "ExternalTable", databases=["Samples"]))
    session.apply(session.revoke(loader, "ExternalTable", databases=["Samples"]))
    plan = session.undo_plan()
    assert session.not_assigned(plan) == ()
    unassign_by_hand(cluster, "loader")
    assert session.not_assigned(plan) == (loader,)
    with pytest.raises(ApplyError, match="not assigned"):
        session.apply(plan)
