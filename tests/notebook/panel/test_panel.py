"""Tests of the panel without a browser: requests as the browser sends them, and traits as it would show them."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from traitlets import TraitError

import kqlmi
from kqlmi.errors import (
    ApplyError,
    ForbiddenError,
    InputError,
    KqlmiError,
    PolicyError,
    RequestInterruptedError,
)
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.notebook.panel.panel import Panel
from kqlmi.session import Applied, Session

TWINS = ("22222222-2222-3333-4444-555555555555", "33333333-2222-3333-4444-555555555555")
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
    """Send a request as the browser does, and return the status."""
    key = uuid.uuid4().hex
    panel.request = {"id": key, "action": action, **fields}
    assert panel.acknowledged == key
    assert panel.working == {}
    json.dumps(panel.get_state(panel.keys))
    return dict(panel.status)


def grants(session: Session, scope: Scope = SAMPLES) -> frozenset[tuple[str, str]]:
    policy = session.policy(scope)
    return policy.grants if policy else frozenset()


def rows(panel: Panel) -> list[str]:
    return [identity for identity, _, _ in panel.identities]


def cell(panel: Panel, identity: str, usage: str) -> dict[str, Any]:
    """Return the state of a cell as the view draws it."""
    column = [column["usage"] for column in panel.columns].index(usage)
    row = panel.edited.get(identity, panel.cells[rows(panel).index(identity)])
    return dict(panel.legend[ord(row[column]) - ord("0")])


def test_a_tick_a_preview_and_an_execution_change_the_policy_as_shown(session: Session, loader: str) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    assert "Continuous export" in ask(panel, "toggle", identity=loader, usage="AutomatedFlows")["text"]
    assert cell(panel, loader, "AutomatedFlows")["changed"]
    ask(panel, "preview")
    assert grants(session) == before
    assert panel.preview["summary"] == "1 to grant, 0 to revoke, 2 unchanged"
    assert [step["command"] for step in panel.preview["steps"]] == [step.command for step in panel.plan.steps]
    status = ask(panel, "execute", plan=panel.preview["id"])
    assert status["kind"] == "done"
    assert grants(session) == before | {(loader, "AutomatedFlows")}
    assert not panel.preview
    assert panel.plan.steps == ()


def test_the_preview_shows_a_property_that_goes_and_the_plan_by_the_id_that_is_compared_whole(
    session: Session, loader: str
) -> None:
    noted = f'[{{"ObjectId":"{loader}","AllowedUsages":"AzureAI","Note":"kept"}}]'
    session.run(f".alter database Sales policy managed_identity ```{noted}```")
    panel = Panel(session, Scope.database("Sales"))
    ask(panel, "toggle", identity=loader, usage="AzureAI")
    ask(panel, "preview")
    shown = panel.preview
    assert [(one["kind"], one["usage"], one["note"]) for one in shown["changes"]] == [
        ("revoke", "AzureAI", ""),
        ("revoke", "Note", "a property"),
    ]
    assert (shown["revokes"], shown["short"]) == (2, panel.plan.id[:12])
    assert ask(panel, "execute", plan=shown["short"], confirmed=True)["kind"] == "error"
    assert ask(panel, "execute", plan=panel.plan.id, confirmed=True)["kind"] == "done"


def test_a_revoke_needs_confirmation(session: Session, loader: str) -> None:
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
    assert not panel.preview
    assert "out of date" in ask(panel, "execute", plan=shown)["text"]
    assert grants(session) == before


def test_unticking_what_all_covers_asks_and_offers_to_replace_all(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity="system", usage="SqlRequest")
    [[action, text]] = panel.question["offers"]
    assert text == "Replace All with the 7 other known usages (future usages are no longer allowed)"
    assert panel.plan.steps == ()
    ask(panel, action, identity="system", usage="SqlRequest")
    assert not panel.question
    assert not cell(panel, "system", "SqlRequest")["allowed"]
    assert cell(panel, "system", "AzureAI")["granted"]


def test_a_grant_of_the_cluster_is_explained_and_can_be_repeated_in_the_database(
    session: Session, exporter: str
) -> None:
    panel = Panel(session, SAMPLES)
    assert cell(panel, exporter, "ExternalTable")["text"] == "through the cluster"
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    assert "the policy of the cluster grants ExternalTable" in panel.question["text"]
    ask(panel, "dismiss")
    assert not panel.question
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    [[action, _]] = panel.question["offers"]
    ask(panel, action, identity=exporter, usage="ExternalTable")
    assert cell(panel, exporter, "ExternalTable")["text"] == "redundant, through the cluster"
    ask(panel, "choose", scope=0)
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    assert panel.summary == "1 to grant, 1 to revoke, 2 unchanged"


def test_a_redundant_grant_is_shown_not_counted_and_can_be_removed(session: Session, exporter: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(exporter, "ExternalTable")
    assert panel.plan.summary.startswith("0 to grant, 0 to revoke, 1 redundant")
    assert cell(panel, exporter, "ExternalTable")["text"].startswith("redundant")
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    [[action, _]] = panel.question["offers"]
    ask(panel, action, identity=exporter, usage="ExternalTable")
    assert panel.plan.steps == ()


def test_a_cluster_only_usage_is_marked_at_a_database(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    assert (
        "an effect only in the cluster's policy"
        in ask(panel, "toggle", identity=loader, usage="SandboxArtifacts")["text"]
    )
    assert cell(panel, loader, "SandboxArtifacts")["text"] == "no effect here"
    ask(panel, "preview")
    assert panel.preview["changes"][0]["note"] == "without effect"


def test_a_revoke_at_the_cluster_lists_where_the_usage_stays(session: Session, exporter: str) -> None:
    session.apply(session.plan({Scope.database("Sales"): Policy.empty().grant(exporter, "ExternalTable")}))
    panel = Panel(session, CLUSTER)
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    ask(panel, "preview")
    assert panel.preview["changes"][0]["note"] == "2 databases were not read"
    while panel.read_more():
        pass
    ask(panel, "preview")
    assert panel.preview["changes"][0]["note"] == "stays allowed in the database Sales"


def test_the_scope_is_chosen_and_ticks_elsewhere_stay(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "Continuous export")
    assert panel.scopes == ["cluster", "database Samples", "database Sales"]
    ask(panel, "choose", scope=2)
    ask(panel, "toggle", identity=loader, usage="SqlRequest")
    assert [str(step.scope) for step in panel.plan.steps] == ["database Samples", "database Sales"]
    panel.apply()
    assert (loader, "SqlRequest") in grants(session, Scope.database("Sales"))


def test_an_identity_is_added_by_its_object_id(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    assert "neither a GUID" in ask(panel, "add", identity="<b>x</b>")["text"]
    new = "11111111-2222-3333-4444-555555555555"
    ask(panel, "add", identity=new.upper())
    assert rows(panel)[-1] == new


def test_the_system_identity_is_one_identity_under_any_name(session: Session, world: LocalCluster) -> None:
    guid = world.identities[2].object_id
    panel = Panel(session, SAMPLES)
    ask(panel, "add", identity=guid)
    assert rows(panel).count("system") == 1
    assert guid not in rows(panel)
    assert panel.draft.cell(guid.upper(), "all").granted


def test_a_database_that_does_not_exist_is_refused(session: Session) -> None:
    with pytest.raises(InputError, match="Did you mean Samples"):
        Panel(session, Scope.database("Sample"))


def test_a_refusal_is_shown_prominently_and_loses_no_tick(session: Session) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    unassigned = "11111111-2222-3333-4444-555555555555"
    panel.tick(unassigned, "SqlRequest")
    ask(panel, "preview")
    status = ask(panel, "execute", plan=panel.preview["id"])
    assert status["kind"] == "error"
    assert "refused and changed nothing" in status["text"]
    assert unassigned in status["text"]
    assert panel.plan.steps
    assert grants(session) == before


def test_another_writers_change_is_not_overwritten(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity=loader, usage="NativeIngestion")
    ask(panel, "preview")
    session.run(".delete database ['Samples'] policy managed_identity")
    assert "since this plan was made" in ask(panel, "execute", plan=panel.preview["id"], confirmed=True)["text"]
    assert session.policy(SAMPLES) is None
    ask(panel, "discard")
    assert loader not in rows(panel)


def test_a_viewer_sees_the_database_and_that_the_cluster_was_not_read(world: LocalCluster, session: Session) -> None:
    del session
    token = world.token_for("viewer", database="Samples")
    with kqlmi.connect(world.url, token=token) as viewer:
        panel = Panel(viewer, SAMPLES)
        assert panel.scope_states[0] == "x"
        ask(panel, "choose", scope=0)
        assert "not authorized" in panel.refusal
        assert panel.cells == []
        assert "was not read" in ask(panel, "toggle", identity="system", usage="SqlRequest", scope=0)["text"]
        ask(panel, "choose", scope=1)
        with pytest.raises(ForbiddenError):
            Panel(viewer, CLUSTER)
        panel.tick("system", "SqlRequest")
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
        panel.tick(loader, "ExternalTables")
    with pytest.raises(InputError, match="replace_all"):
        panel.untick("system", "SqlRequest")
    panel.untick(loader, "NativeIngestion")
    assert panel.plan.revokes


def test_if_no_widget_can_be_shown_there_is_an_escaped_table() -> None:
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


def other(world: LocalCluster) -> Session:
    return kqlmi.connect(world.url, token=world.token)


def test_another_writers_change_is_shown_in_the_preview_and_the_ticks_are_kept(
    session: Session, world: LocalCluster, loader: str, exporter: str
) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity=loader, usage="SqlRequest")
    ask(panel, "toggle", identity=loader, usage="NativeIngestion")
    with other(world) as somebody:
        theirs = Policy.empty().grant(exporter, "AzureAI").grant("system", "All")
        somebody.apply(somebody.plan({SAMPLES: theirs}))
    ask(panel, "preview")
    assert sorted(panel.theirs) == [
        f"+ exporter ({exporter}) AzureAI in the database Samples",
        f"- loader ({loader}) NativeIngestion in the database Samples",
    ]
    assert panel.preview["summary"] == "1 to grant, 0 to revoke, 2 unchanged"
    assert [loader, "loader", ""] in panel.identities
    ask(panel, "execute", plan=panel.preview["id"])
    assert grants(session) == theirs.grants | {(loader, "SqlRequest")}
    assert len(panel.theirs) == 2  # until the user has seen them
    ask(panel, "dismiss")
    assert panel.theirs == []


def test_a_change_between_preview_and_execution_is_shown_and_not_overwritten(
    session: Session, world: LocalCluster, loader: str
) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity=loader, usage="NativeIngestion")
    ask(panel, "preview")
    with other(world) as somebody:
        somebody.apply(somebody.plan({SAMPLES: Policy.empty().grant(loader, "NativeIngestion", "AzureAI")}))
    status = ask(panel, "execute", plan=panel.preview["id"], confirmed=True)
    assert "since this plan was made" in status["text"]
    assert f"+ loader ({loader}) AzureAI in the database Samples" in panel.theirs
    assert not panel.preview
    assert panel.summary == "0 to grant, 1 to revoke, 1 unchanged"
    assert (loader, "NativeIngestion") in grants(session)
    ask(panel, "preview")
    ask(panel, "execute", plan=panel.preview["id"], confirmed=True)
    assert grants(session) == {(loader, "AzureAI")}


def test_a_tick_that_another_writer_already_made_leaves_nothing_to_preview(
    session: Session, world: LocalCluster, loader: str
) -> None:
    panel = Panel(session, SAMPLES)
    ask(panel, "toggle", identity=loader, usage="SqlRequest")
    with other(world) as somebody:
        somebody.apply(somebody.grant(loader, "SqlRequest", databases=["Samples"]))
    ask(panel, "preview")
    assert not panel.preview
    assert panel.summary == ""
    assert len(panel.theirs) == 1


def test_the_panels_change_can_be_undone_in_the_panel(session: Session, loader: str) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    assert ask(panel, "undo")["kind"] == "error"
    ask(panel, "toggle", identity=loader, usage="SqlRequest")
    ask(panel, "preview")
    ask(panel, "execute", plan=panel.preview["id"])
    assert panel.undoable
    ask(panel, "undo")
    assert grants(session) != before
    assert panel.preview["undoes"] == panel.undoable
    assert "Cannot be determined: whether loader" in panel.preview["impact"][0]
    ask(panel, "execute", plan=panel.preview["id"], confirmed=True)
    assert grants(session) == before
    assert not panel.undoable
    assert not cell(panel, loader, "SqlRequest")["granted"]


def test_undo_is_refused_if_the_policy_has_changed_since(session: Session, world: LocalCluster, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    panel.apply()
    with other(world) as somebody:
        somebody.apply(somebody.grant(loader, "AzureAI", databases=["Samples"]))
    assert "cannot be undone" in ask(panel, "undo")["text"]
    assert not panel.preview


def test_the_progress_of_each_step_is_shown(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    reported: list[list[str]] = []
    panel.observe(lambda change: reported.append([step["outcome"] for step in change["new"]]), names="progress")
    panel.tick(loader, "SqlRequest")
    panel.choose(CLUSTER)
    panel.tick(loader, "AzureAI")
    ask(panel, "preview")
    ask(panel, "execute", plan=panel.preview["id"])
    assert reported == [["", ""], ["applied", ""], ["applied", "applied"], []]


def test_a_failure_halfway_shows_which_step_landed_and_keeps_the_other_tick(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    unassigned = "11111111-2222-3333-4444-555555555555"
    panel.tick(unassigned, "AzureAI")
    panel.choose(CLUSTER)
    panel.tick(loader, "SqlRequest")
    ask(panel, "preview")
    status = ask(panel, "execute", plan=panel.preview["id"])
    assert status["kind"] == "error"
    assert "Before it, 1 of 2 commands was applied" in status["text"]
    assert [step["outcome"] for step in panel.progress] == ["applied", "not applied"]
    assert panel.theirs == []
    assert panel.summary.startswith("1 to grant, 0 to revoke")
    assert panel.undoable


def test_a_request_that_waited_longer_than_the_browser_is_not_run(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Panel(session, SAMPLES)
    now = 1000.0
    monkeypatch.setattr("kqlmi.notebook.panel.requests.time.monotonic", lambda: now)
    panel.request = {"id": "page-1", "after": "", "since": 99999.0, "action": "hello"}
    toggle = {"action": "toggle", "identity": loader, "usage": "SqlRequest"}
    now += 3
    panel.request = {"id": "page-2", "after": "page-1", "since": 500.0, **toggle}
    assert "too late" in panel.status["text"]
    assert panel.acknowledged == "page-2"
    assert panel.summary == ""
    now += 1
    panel.request = {"id": "page-3", "after": "page-2", "since": 900.0, **toggle}
    assert panel.summary.startswith("1 to grant")
    # This holds however many other pages have connected meanwhile.
    for other_page in range(200):
        panel.request = {"id": f"{other_page}-1", "after": "", "since": 0, "action": "hello"}
    panel.request = {"id": "page-4", "after": "page-3", "since": 1.0, **toggle}
    assert panel.summary.startswith("1 to grant")
    assert "too late" in panel.status["text"]


def test_a_click_on_another_scope_than_the_one_shown_changes_nothing(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    assert (
        "The panel showed another scope" in ask(panel, "toggle", identity=loader, usage="SqlRequest", scope=0)["text"]
    )
    assert panel.summary == ""


def test_an_unread_scope_is_unread_and_read_when_it_is_chosen(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    assert panel.scope_states == "rru"
    ask(panel, "choose", scope=2)
    assert panel.scope_states == "rrr"
    assert ask(panel, "more") == {}
    assert not panel.read_more()


def test_other_scopes_are_read_in_the_background_without_closing_a_preview(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    ask(panel, "preview")
    shown = panel.preview
    ask(panel, "more")
    assert panel.scope_states == "rcr"
    assert panel.preview == shown
    assert ask(panel, "execute", plan=shown["id"])["kind"] == "done"


def test_the_view_of_all_scopes_shows_what_is_in_effect(session: Session, loader: str, exporter: str) -> None:
    panel = Panel(session, SAMPLES)
    while panel.read_more():
        pass
    panel.tick(loader, "AzureAI")
    ask(panel, "choose", scope=-1)
    assert panel.scope == -1
    assert cell(panel, exporter, "ExternalTable")["text"] == "everywhere"
    assert cell(panel, loader, "NativeIngestion")["text"] == "in 1 of 2 databases"
    assert cell(panel, "system", "SqlRequest")["text"] == "in 1 of 2 databases"
    assert cell(panel, "system", "SandboxArtifacts")["text"] == ""
    assert cell(panel, loader, "AzureAI")["text"] == ""
    reported = ask(panel, "where", identity="system", usage="SqlRequest", scope=-1)["text"]
    assert reported == "system may use SqlRequest, granted by the policy of: database Samples, through All."
    assert panel.summary.startswith("1 to grant")


def test_orphans_are_marked_if_assignments_are_known(
    session: Session, world: LocalCluster, loader: str, exporter: str
) -> None:
    third = "22222222-2222-3333-4444-555555555555"
    assigned = [Identity(ObjectId(loader), "loader"), Identity(ObjectId(third), "unused")]
    panel = Panel(session, SAMPLES, assigned=assigned)
    badges = {identity: badge for identity, _, badge in panel.identities}
    assert badges == {"system": "orphan", exporter: "orphan", loader: "assigned", third: "assigned"}
    assert {badge for _, _, badge in Panel(session, SAMPLES).identities} == {""}
    assert world.identities


def test_a_user_without_an_administrators_role_gets_a_request_to_copy(world: LocalCluster, session: Session) -> None:
    assert Panel(session, SAMPLES).denial == {}
    token = world.token_for("viewer", database="Samples")
    with kqlmi.connect(world.url, token=token, name="prod") as viewer:
        panel = Panel(viewer, SAMPLES)
        assert not panel.denial["certain"]
        panel.tick("system", "SqlRequest")
        ask(panel, "preview")
        request = panel.preview["request"]
        assert request.startswith("Please run this on prod; it needs AllDatabasesAdmin.")
        assert panel.plan.steps[0].command in request
    with kqlmi.connect(world.url, token=world.token, read_only=True) as reader:
        assert Panel(reader, SAMPLES).denial["certain"]


def test_traits_set_from_python_are_followed(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    panel.scope = 0
    assert panel.draft.scope == CLUSTER
    panel.scope = -1
    assert cell(panel, "system", "SqlRequest")["text"] == "in 1 of 1 databases"
    for place in (3, -2):
        with pytest.raises(TraitError):
            panel.scope = place
    assert panel.scope == panel.place == -1
    with pytest.raises(TraitError):
        panel.row_filter = "x"


def test_a_closed_preview_is_not_executed(session: Session, loader: str) -> None:
    panel, before = Panel(session, SAMPLES), grants(session)
    panel.tick(loader, "SqlRequest")
    ask(panel, "preview")
    shown = panel.preview["id"]
    ask(panel, "close")
    assert ask(panel, "execute", plan=shown)["kind"] == "error"
    assert grants(session) == before


def test_the_messages_of_a_tick_do_not_grow_with_the_identities() -> None:
    sizes: dict[int, list[int]] = {}
    for count in (3, 300):
        identities = [kqlmi.local.Identity(f"identity {n}") for n in range(count)]
        with (
            kqlmi.local.start(databases=["D"], identities=identities) as world,
            kqlmi.connect(world.url, token=world.token) as session,
        ):
            policy = Policy.empty()
            for one in identities:
                policy = policy.grant(one.object_id, "ExternalTable")
            session.apply(session.plan({Scope.database("D"): policy}))
            panel = Panel(session, Scope.database("D"))
            sent: list[dict[str, Any]] = []
            panel._send = lambda message, sent=sent, **_: sent.append(message)
            ask(panel, "toggle", identity=identities[0].object_id, usage="SqlRequest")
            sizes[count] = [len(json.dumps(message)) for message in sent]
    assert len(sizes[3]) == 2  # the echo, and the answer
    assert sizes[3] == pytest.approx(sizes[300], abs=20)


def test_undo_reverts_the_panels_change_and_no_other(
    session: Session, world: LocalCluster, loader: str, exporter: str
) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    panel.apply()
    mine = panel.undoable
    with other(world) as somebody:
        somebody.apply(somebody.grant(exporter, "AzureAI", databases=["Sales"]))
    panel.apply()  # nothing changes, so there is nothing to undo
    assert panel.undoable == mine
    ask(panel, "undo")
    assert [change["usage"] for change in panel.preview["changes"]] == ["SqlRequest"]


def test_choosing_a_scope_reads_its_current_policy(session: Session, world: LocalCluster, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    with other(world) as somebody:
        somebody.apply(somebody.grant(loader, "AzureAI", databases=["Samples"]))
    ask(panel, "choose", scope=1)
    assert cell(panel, loader, "AzureAI")["granted"]
    assert panel.theirs == []
    with other(world) as somebody:
        somebody.apply(somebody.grant(loader, "SqlRequest", databases=["Samples"]))
    assert "were read again" in ask(panel, "read_again")["text"]
    assert cell(panel, loader, "SqlRequest")["granted"]


def test_a_usage_that_stays_allowed_is_reported_from_the_current_policies(
    session: Session, world: LocalCluster, exporter: str
) -> None:
    sales = Scope.database("Sales")
    session.apply(session.plan({sales: Policy.empty().grant(exporter, "ExternalTable")}))
    panel = Panel(session, CLUSTER)
    while panel.read_more():
        pass
    with other(world) as somebody:
        somebody.apply(somebody.plan({sales: None}))
    ask(panel, "toggle", identity=exporter, usage="ExternalTable")
    ask(panel, "preview")
    assert panel.preview["changes"][0]["note"] == ""
    assert panel.theirs == [f"- exporter ({exporter}) ExternalTable in the database Sales"]


def test_a_policy_that_was_rewritten_with_the_same_grants_is_reported_and_kept(
    session: Session, world: LocalCluster, loader: str
) -> None:
    show = ".alter database ['Samples'] policy managed_identity "
    texts = [f'[{{"ObjectId":"{loader}","AllowedUsages":"AzureAI","Note":"{note}"}}]' for note in ("one", "two")]
    session.run(f"{show}'{texts[0]}'", "Samples")
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    panel.untick(loader, "AzureAI")
    with other(world) as somebody:
        somebody.run(f"{show}'{texts[1]}'", "Samples")
    ask(panel, "preview")
    assert panel.theirs == ["The policy of the database Samples was rewritten with the same grants."]
    assert '"Note": "two"' in panel.preview["steps"][0]["command"]


def test_one_system_identity_is_one_row_under_any_name(session: Session, world: LocalCluster) -> None:
    guid = world.identities[2].object_id
    for scope in (CLUSTER, SAMPLES):
        session.apply(session.plan({scope: None}))
    session.apply(session.plan({Scope.database("Sales"): Policy.empty().grant("system", "SqlRequest")}))
    nobody = "11111111-2222-3333-4444-555555555555"
    panel = Panel(session, SAMPLES, assigned=[Identity(ObjectId(guid), "adx")])
    ask(panel, "add", identity=guid)
    ask(panel, "toggle", identity=guid, usage="AzureAI")
    ask(panel, "add", identity=nobody)
    ask(panel, "choose", scope=2)
    assert sorted(rows(panel)) == sorted([nobody, "system"])
    assert cell(panel, "system", "SqlRequest")["granted"]
    assert not cell(panel, nobody, "SqlRequest")["granted"]
    assert ["system", "assigned"] in [[identity, badge] for identity, _, badge in panel.identities]


def test_a_scope_that_cannot_be_read_is_not_edited_under_another_name(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    session.close()
    with pytest.raises(KqlmiError):
        panel.scope = 2
    assert panel.scope == 1
    assert "closed" in ask(panel, "choose", scope=2)["text"]
    assert panel.scope == 1
    ask(panel, "toggle", identity=loader, usage="SqlRequest", scope=1)
    assert panel.draft.changes[0].scope == SAMPLES


def test_a_failure_stops_background_reading_and_is_explained(session: Session) -> None:
    panel = Panel(session, SAMPLES)
    panel.status = {"kind": "done", "text": "kept", "hint": ""}
    session.close()
    assert ask(panel, "more")["text"] == "kept"
    assert "closed" in panel.halted


@pytest.mark.parametrize("fault", [KeyboardInterrupt, KeyError("x")])
def test_no_revoke_is_applied_before_its_impact_is_known(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    panel = Panel(session, SAMPLES)
    panel.untick(loader, "NativeIngestion")
    plan = panel.plan

    def impact(_plan: object) -> None:
        assert panel.preview["impact"] is None
        with pytest.raises(InputError, match="out of date"):
            panel.execute(plan.id, confirmed=True)
        raise fault

    monkeypatch.setattr(session, "impact", impact)
    if isinstance(fault, KeyError):
        panel.show(plan)
        assert panel.preview["impact"] == ["Cannot be determined: what would stop, because 'x'"]
    else:
        with pytest.raises(KeyboardInterrupt):
            panel.show(plan)
        assert panel.preview is None


def test_a_revoke_reports_that_the_policy_of_the_cluster_was_not_read(world: LocalCluster, session: Session) -> None:
    del session
    with kqlmi.connect(world.url, token=world.token_for("viewer", database="Samples")) as viewer:
        panel = Panel(viewer, SAMPLES)
        panel.untick("system", "All")
        ask(panel, "preview")
        assert "may stay allowed" in panel.preview["changes"][0]["note"]


def test_a_usage_that_vanishes_under_a_tick_keeps_its_column() -> None:
    with (
        kqlmi.local.start(databases=["D"], identities=["a", "b"], usages=["FutureFlow"]) as newer,
        kqlmi.connect(newer.url, token=newer.token) as own,
    ):
        one, two = (identity.object_id for identity in newer.identities)
        payload = f'[{{"ObjectId":"{one}","AllowedUsages":"FutureFlow"}}]'
        own.run(f".alter database ['D'] policy managed_identity '{payload}'", "D")
        panel = Panel(own, Scope.database("D"))
        panel.tick(two, "FutureFlow")
        own.run(".delete database ['D'] policy managed_identity", "D")
        ask(panel, "read_again")
        assert cell(panel, two, "FutureFlow")["changed"]
        ask(panel, "toggle", identity=two, usage="FutureFlow")
        assert panel.summary == ""
        assert "is no longer shown" in ask(panel, "toggle", identity=two, usage="FutureFlow")["text"]


def test_names_that_look_the_same_are_distinguished_by_position(session: Session, loader: str) -> None:
    usages = ["Odd\u200bUse", "Odd\\u200bUse"]
    entry = Entry(ObjectId(loader), tuple(usages))
    panel = Panel(session, SAMPLES)
    panel.draft = Draft.start(Snapshot({CLUSTER: None, SAMPLES: Policy((entry,))}), SAMPLES)
    shown = [column["usage"] for column in panel.columns][-2:]
    assert shown[0] == shown[1]
    for place in (0, 1):
        ask(panel, "toggle", identity=loader, usage=shown[0], among=place)
        assert panel.draft.changes[0].usage == sorted(usages)[place]
        ask(panel, "toggle", identity=loader, usage=shown[0], among=place)


def test_a_cluster_only_usage_is_drawn_as_access_reports_it(session: Session, loader: str) -> None:
    session.apply(session.grant(loader, "SandboxArtifacts", cluster=True))
    panel = Panel(session, SAMPLES)
    assert session.access(loader, "SandboxArtifacts", database="Samples").allowed
    assert cell(panel, loader, "SandboxArtifacts") == {
        "granted": False,
        "allowed": True,
        "changed": False,
        "text": "through the cluster",
        "mark": "◆",
    }


def test_two_identities_of_one_name_are_distinguished_by_object_id(
    session: Session, loader: str, exporter: str
) -> None:
    panel = Panel(session, SAMPLES, assigned=[Identity(ObjectId(one), "twin") for one in (loader, exporter, *TWINS)])
    status = ask(panel, "toggle", identity=TWINS[0], usage="SqlRequest")
    assert status["text"].startswith(f"twin ({TWINS[0]}): SqlRequest enables")
    ask(panel, "preview")
    assert panel.preview["changes"][0]["who"] == f"twin ({TWINS[0]})"


# Interrupts and bugs


@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        (KeyboardInterrupt(), "Interrupted."),
        (RequestInterruptedError("Interrupted while it was sent."), "Interrupted while it was sent."),
        (ZeroDivisionError("x"), "ZeroDivisionError: x"),
        (InputError("It is closed."), "It is closed."),
    ],
    ids=repr,
)
@pytest.mark.parametrize("action", ["more", "choose", "read_again", "preview"])
def test_the_end_of_a_request_is_shown_and_background_reading_pauses(
    session: Session, monkeypatch: pytest.MonkeyPatch, action: str, fault: BaseException, reported: str
) -> None:
    panel = Panel(session, SAMPLES)

    def read(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(session, "read", read)
        if isinstance(fault, KeyboardInterrupt):
            with pytest.raises(type(fault)):
                ask(panel, action, scope=0)
        else:
            ask(panel, action, scope=0)
    assert panel.working == {}
    assert reported in (panel.halted if action == "more" else panel.status["text"])
    assert bool(panel.halted) == (action == "more")
    ask(panel, "more")
    assert panel.halted == ""
    assert not panel.more


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), InputError("It is closed.")])
def test_an_interrupt_after_a_plan_failed_does_not_hide_what_happened_to_it(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    ask(panel, "preview")
    failure = ApplyError("It did not go through.", outcome="not applied")

    def failing(error: BaseException) -> Callable[..., None]:
        def raises(*_: object, **__: object) -> None:
            raise error

        return raises

    monkeypatch.setattr(session, "apply", failing(failure))
    monkeypatch.setattr(session, "read", failing(fault))
    assert ask(panel, "execute", plan=panel.preview["id"])["text"] == "It did not go through."


def test_an_interrupt_after_a_plan_was_applied_does_not_hide_that_it_was(
    session: Session, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    ask(panel, "preview")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Applied, "repair", property(lambda _: {SAMPLES: None}))
    monkeypatch.setattr(session, "impact", interrupted)
    assert ask(panel, "execute", plan=panel.preview["id"])["kind"] == "done"
    assert panel.preview is None


def test_a_closed_session_executes_nothing_and_says_so(session: Session, world: LocalCluster, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    panel.tick(loader, "SqlRequest")
    ask(panel, "preview")
    session.close()
    status = ask(panel, "execute", plan=panel.preview["id"])
    assert status["kind"] == "error"
    assert "closed" in status["text"]
    with kqlmi.connect(world.url, token=world.token) as other:
        assert (loader, "SqlRequest") not in grants(other)


def test_a_broad_tick_warns_at_once_and_in_the_preview(session: Session, loader: str) -> None:
    panel = Panel(session, SAMPLES)
    assert ask(panel, "toggle", identity=loader, usage="AzureAI")["kind"] == "note"
    assert ask(panel, "toggle", identity=loader, usage="All")["kind"] == "warning"
    ask(panel, "choose", scope=0)
    assert ask(panel, "toggle", identity=loader, usage="SandboxArtifacts")["kind"] == "note"
    status = ask(panel, "toggle", identity=loader, usage="SqlRequest")
    assert status["kind"] == "warning"
    assert "in every database, including future ones" in status["text"]
    ask(panel, "preview")
    assert panel.preview["warnings"] == [
        f"loader ({loader}): SqlRequest is granted in every database of the cluster, including future ones.",
        f"loader ({loader}): All allows every usage, including future ones.",
    ]


def test_a_panel_that_cannot_write_says_what_to_do(world: LocalCluster) -> None:
    with kqlmi.connect(world.url, token=world.token, read_only=True) as session:
        assert "connect without --read-only" in Panel(session, SAMPLES).denial["todo"]
    with kqlmi.connect(world.url, token=world.token_for("viewer", database="Samples")) as session:
        assert "send an administrator the request" in Panel(session, SAMPLES).denial["todo"]


def test_the_client_ids_that_are_known_can_be_searched(session: Session, loader: str) -> None:
    known = Identity(ObjectId(loader), "loader", client_id=TWINS[0])
    assert Panel(session, SAMPLES, assigned=[known]).client_ids[loader] == TWINS[0]
