"""Tests that a plan that revokes names the uses that would stop, on the local cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import kqlmi
from kqlmi.model.entities import Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.impact import Impact, impact
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.uses.needs import Discovery, Evidence, Need
from kqlmi.notebook.panel.panel import Panel
from kqlmi.session import Session

CONTAINER = "https://acct.blob.core.windows.net/data"
MINE = "11111111-2222-3333-4444-555555555555"
D = Scope.database("D")


def need(usage: str, scope: Scope = D, identity: str | None = MINE) -> Need:
    return Need(identity, usage, scope, (Evidence(".show external tables", "the external table T"),))


def planned(before: Snapshot, after: Snapshot, *needs: Need) -> Impact:
    return impact(make_plan(before, after, cluster="here"), before, Discovery((D,), (), needs))


def test_only_uses_that_are_allowed_before_and_not_after_stop() -> None:
    granted = Policy.empty().grant(MINE, "ExternalTable", "AutomatedFlows")
    before = Snapshot({Scope.cluster(): None, D: granted})
    after = Snapshot({D: granted.revoke(MINE, "ExternalTable")})
    result = planned(before, after, need("ExternalTable"), need("AutomatedFlows"), need("ExportRequest"))
    assert [one.usage for one in result.stops] == ["ExternalTable"]
    assert result.lines[0].startswith(f"Would stop: {MINE} ExternalTable in the database D")


def test_a_use_that_another_grant_still_allows_does_not_stop() -> None:
    granted = Policy.empty().grant(MINE, "ExternalTable")
    before = Snapshot({Scope.cluster(): Policy.empty().grant(MINE, "All"), D: granted})
    assert planned(before, Snapshot({D: granted.revoke(MINE, "ExternalTable")}), need("ExternalTable")).stops == ()


def test_what_cannot_be_known_is_reported() -> None:
    granted = Policy.empty().grant(MINE, "NativeIngestion")
    before = Snapshot({Scope.cluster(): None, D: granted})
    result = planned(
        before, Snapshot({D: granted.revoke(MINE, "NativeIngestion")}), need("ExternalTable", identity=None)
    )
    assert result.stops == ()
    assert "SDK" in result.lines[0]


@pytest.fixture
def used(tmp_path: Path) -> Iterator[tuple[Session, str]]:
    """A session on a cluster on which an external table uses an identity."""
    with kqlmi.local.start(databases=["D"], identities=["mine"]) as cluster:
        mine = cluster.identities[0].object_id
        cluster.add_storage(CONTAINER, tmp_path)
        session = kqlmi.connect(cluster.url, token=cluster.token, database="D", name="here")
        session.apply(session.grant(mine, "ExternalTable", databases=["D"]))
        where = f"h@'{CONTAINER};managed_identity={mine}'"
        session.run(f".create external table T (a: string) kind=storage dataformat=csv ({where})")
        yield session, mine
        session.close()


def test_the_session_finds_it_and_undo_lists_it(used: tuple[Session, str]) -> None:
    session, mine = used
    for plan in (session.revoke(mine, "ExternalTable", databases=["D"]), session.undo_plan()):
        (line,) = session.impact(plan).lines
        assert "Would stop" in line
        assert "external table" in line
    assert session.impact(session.grant(mine, "AzureAI", databases=["D"])) == Impact()


def test_the_panel_lists_it_in_the_preview(used: tuple[Session, str]) -> None:
    session, mine = used
    panel = Panel(session, D)
    panel.untick(mine, "ExternalTable")
    panel.request = {"id": "a-1", "action": "preview"}
    (line,) = panel.preview["impact"]
    assert "Would stop" in line
    panel.close()


def test_a_user_who_may_not_read_everything_sees_what_was_not_read() -> None:
    with kqlmi.local.start(databases=["D"], identities=["mine"]) as cluster:
        mine = cluster.identities[0].object_id
        admin = kqlmi.connect(cluster.url, token=cluster.token)
        admin.apply(admin.grant(mine, "ExternalTable", databases=["D"]))
        token = cluster.token_for("monitor", database="D")
        with kqlmi.connect(cluster.url, token=token, database="D") as session:
            result = session.impact(admin.revoke(mine, "ExternalTable", databases=["D"]))
        assert result.stops == ()
        admin.close()
