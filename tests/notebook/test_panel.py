"""The panel without a browser: requests go in as the browser sends them, and the traits are what it would show."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import kqlmi
from kqlmi.errors import ApplyError, ForbiddenError, InputError, PolicyError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Policy
from kqlmi.notebook.panel import Panel
from kqlmi.session import Session

SAMPLES, CLUSTER = Scope.database("Samples"), Scope.cluster()


@pytest.fixture(scope="module")
def world() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples", "Sales"], identities=["loader", "exporter", "system"]) as started:
        yield started


@pytest.fixture
def session(world: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(world.url, token=world.token) as opened:
        identity = world.identities[0].object_id
        opened.apply(
            opened.plan(
                {
                    CLUSTER: Policy.empty().grant(world.identities[1].object_id, "ExternalTable"),
                    SAMPLES: Policy.empty().grant(identity, "NativeIngestion").grant("system", "All"),
                    Scope.database("Sales"): None,
                }
            )
        )
        yield opened


@pytest.fixture
def loader(world: LocalCluster) -> str:
    return world.identities[0].object_id


@pytest.fixture
def exporter(world: LocalCluster) -> str:
    return world.identities[1].object_id


def ask(panel: Panel, action: str, **fields: Any) -> dict[str, Any]:
    """Send what the browser sends, and give the status."""
    number = panel.acknowledged + 1
    panel.request = {"id": number, "action": action, **fields}
    assert panel.acknowledged == number
    json.dumps([panel.view, panel.preview, panel.question, panel.status])
    return dict(panel.status)


def grants(session: Session, scope: Scope = SAMPLES) -> frozenset[tuple[str, str]]:
    policy = session.policy(scope)
    return policy.grants if policy else frozenset()


def cell(panel: Panel, identity: str, usage: str) -> dict[str, Any]:
    column = [column["usage"] for column in panel.view["columns"]].index(usage)
    return next(dict(row["cells"][column]) for row in panel.view["rows"] if row["identity"] == identity)


def test_a_tick_a_preview_and_an_execution_change_the_policy_as_shown(session: Session, loader: str) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    assert "Continuous export" in ask(panel, "toggle", identity=loader, usage="AutomatedFlows")["text"]
    assert cell(panel, loader, "AutomatedFlows")["changed"]
    ask(panel, "preview")
    assert grants(session) == before
    assert panel.preview["summary"] == "1 to grant, 0 to revoke, 2 unchanged"
    assert panel.preview["commands"] == [step.command for step in panel.plan.steps]
    status = ask(panel, "execute", plan=panel.preview["id"])
    assert status["kind"] == "done"
    assert grants(session) == before | {(loader, "AutomatedFlows")}
    assert panel.preview is None
    assert panel.plan.steps == ()


def test_a_revoke_wants_a_second_word(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity=loader, usage="NativeIngestion")
    ask(panel, "preview")
    assert ask(panel, "execute", plan=panel.preview["id"])["kind"] == "error"
    assert (loader, "NativeIngestion") in grants(session)
    assert ask(panel, "execute", plan=panel.preview["id"], confirmed=True)["kind"] == "done"
    assert (loader, "NativeIngestion") not in grants(session)


def test_only_what_was_previewed_is_executed(session: Session, loader: str) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    ask(panel, "toggle", identity=loader, usage="SqlRequest")
    ask(panel, "preview")
    shown = panel.preview["id"]
    ask(panel, "toggle", identity=loader, usage="AzureAI")
    assert panel.preview is None
    assert "out of date" in ask(panel, "execute", plan=shown)["text"]
    assert grants(session) == before


def test_unticking_what_all_covers_asks_and_offers_to_replace_all(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity="system", usage="SqlRequest")
    [[action, text]] = panel.question["offers"]
    assert text == "Replace All by the 7 known usages you keep (future usages end)"
    assert panel.plan.steps == ()
    ask(panel, action, identity="system", usage="SqlRequest")
    assert panel.question is None
    assert not cell(panel, "system", "SqlRequest")["allowed"]
    assert cell(panel, "system", "AzureAI")["granted"]


def test_what_the_cluster_grants_is_explained_and_not_offered(session: Session, exporter: str) -> None:
    panel = Panel(session, SAMPLES)
    assert cell(panel, exporter, "ExternalTable")["state"] == "through the cluster"
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    assert panel.question["offers"] == []
    assert "the policy of the cluster grants ExternalTable" in panel.question["text"]
    ask(panel, "dismiss")
    assert panel.question is None


def test_a_redundant_grant_is_shown_not_counted_and_can_be_removed(session: Session, exporter: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(exporter, usage="ExternalTable")
    assert panel.plan.summary.startswith("0 to grant, 0 to revoke, 1 redundant")
    assert cell(panel, exporter, "ExternalTable")["state"].startswith("redundant")
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    [[action, _]] = panel.question["offers"]
    ask(panel, action, identity=exporter, usage="ExternalTable")
    assert panel.plan.steps == ()


def test_a_cluster_only_usage_is_marked_at_a_database(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    assert "no effect" in ask(panel, "toggle", identity=loader, usage="SandboxArtifacts")["text"]
    assert cell(panel, loader, "SandboxArtifacts")["state"] == "no effect here"
    ask(panel, "preview")
    assert panel.preview["changes"][0]["note"] == "without effect"


def test_a_revoke_at_the_cluster_tells_where_the_usage_stays(session: Session, exporter: str) -> None:
    session.apply(session.plan({Scope.database("Sales"): Policy.empty().grant(exporter, "ExternalTable")}))
    panel = Panel(session, CLUSTER)
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    ask(panel, "preview")
    assert panel.preview["changes"][0]["note"] == "stays allowed in the database Sales"


def test_the_scope_is_chosen_and_ticks_elsewhere_stay(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, workflow="Continuous export")
    assert panel.view["scopes"] == ["cluster", "database Samples", "database Sales"]
    ask(panel, "scope", scope=2)
    ask(panel, "toggle", identity=loader, usage="SqlRequest")
    assert [str(step.scope) for step in panel.plan.steps] == ["database Samples", "database Sales"]
    panel.apply()
    assert (loader, "SqlRequest") in grants(session, Scope.database("Sales"))


def test_an_identity_is_added_by_its_object_id(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    assert "neither a GUID" in ask(panel, "add", identity="<b>x</b>")["text"]
    new = "11111111-2222-3333-4444-555555555555"
    ask(panel, "add", identity=new.upper())
    assert panel.view["rows"][-1]["identity"] == new


def test_the_system_identity_is_one_by_whatever_name_it_is_added(session: Session, world: LocalCluster) -> None:
    guid = world.identities[2].object_id
    panel = Panel(session, SAMPLES)
    ask(panel, "add", identity=guid)
    assert [row["identity"] for row in panel.view["rows"]].count("system") == 1
    assert guid not in [row["identity"] for row in panel.view["rows"]]
    assert panel.draft.cell(guid.upper(), "all").granted


def test_a_database_that_does_not_exist_is_refused(session: Session) -> None:
    with pytest.raises(InputError, match="Did you mean Samples"):
        Panel(session, Scope.database("Sample"))


def test_a_refusal_stands_where_the_user_looks_and_loses_no_tick(session: Session) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    unassigned = "11111111-2222-3333-4444-555555555555"
    panel.tick(unassigned, usage="SqlRequest")
    ask(panel, "preview")
    status = ask(panel, "execute", plan=panel.preview["id"])
    assert status["kind"] == "error"
    assert "refused and changed nothing" in status["text"]
    assert unassigned in status["text"]
    assert panel.plan.steps
    assert grants(session) == before


def test_what_somebody_else_changed_is_not_overwritten(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity=loader, usage="NativeIngestion")
    ask(panel, "preview")
    session.run(".delete database ['Samples'] policy managed_identity")
    assert "changed since" in ask(panel, "execute", plan=panel.preview["id"], confirmed=True)["text"]
    assert session.policy(SAMPLES) is None
    ask(panel, "discard")
    assert loader not in [row["identity"] for row in panel.view["rows"]]


def test_a_viewer_sees_his_database_and_that_the_cluster_was_not_read(world: LocalCluster, session: Session) -> None:
    del session
    token = world.token_for("viewer", database="Samples")
    with kqlmi.connect(world.url, token=token) as viewer:
        panel = Panel(viewer, SAMPLES)
        assert panel.view["unread"] == ["cluster"]
        assert ask(panel, "scope", scope=0)["kind"] == "error"
        assert panel.view["scope"] == 1
        with pytest.raises(ForbiddenError):
            Panel(viewer, CLUSTER)
        panel.tick("system", usage="SqlRequest")
        with pytest.raises(ApplyError, match="not authorized"):
            panel.apply()


def test_a_request_that_makes_no_sense_changes_nothing(session: Session, loader: str) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    for fields in ({"action": "x"}, {"action": "toggle"}, {"action": "toggle", "identity": loader, "usage": "x"}):
        assert ask(panel, **fields)["kind"] == "error"
    assert panel.plan.steps == ()
    assert grants(session) == before


def test_ticks_from_python_are_checked(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    with pytest.raises(PolicyError, match="Did you mean"):
        panel.tick(loader, usage="ExternalTables")
    with pytest.raises(InputError, match="replace_all"):
        panel.untick("system", usage="SqlRequest")
    panel.untick(loader, usage="NativeIngestion")
    assert panel.plan.revokes


def test_where_no_widget_shows_there_is_an_escaped_table() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    identity = kqlmi.local.Identity(hostile)
    with (
        kqlmi.local.start(databases=["Samples", "a<b>&c"], identities=[identity]) as world,
        kqlmi.connect(world.url, token=world.token, name="<i>here</i>") as session,
    ):
        scope = Scope.database("a<b>&c")
        session.apply(session.plan({scope: Policy.empty().grant(identity.object_id, "All")}))
        data, _ = Panel(session, scope)._repr_mimebundle_()
    assert hostile in data["text/plain"]
    assert "<img" not in data["text/html"]
    assert "<i>" not in data["text/html"]
    assert "a&lt;b&gt;&amp;c" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
