"""Tests of gates that cannot be read: they are not checked, for the reason that the cluster gave, and never open."""

import json
from collections.abc import Mapping

import pytest

from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ForbiddenError
from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.explain.observations import Observations, Unread
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.session import Session
from kqlmi.session.observation import Subject, observe
from kqlmi.session.resource_manager import Azure

MINE = Identity(ObjectId("11111111-2222-3333-4444-555555555555"), "mine", "99999999-2222-3333-4444-555555555555")
URL = "https://acct.blob.core.windows.net/c"
CALLOUT = ".show cluster policy callout"
PRINCIPALS = ".show database ['D'] principals"
ROLES = f".show principal 'aadapp={MINE.object_id}' roles"
DENIES = json.dumps([{"CalloutType": "external_data", "CalloutUriRegex": "x", "CanCall": False}])

Answers = Mapping[str, tuple[Mapping[str, object], ...]]


class Answering:
    """A connection that answers requests by their beginning, and refuses all others."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        del database, timeout, client_request_id
        rows = next((rows for start, rows in self.answers.items() if text.startswith(start)), None)
        if rows is None:
            raise ForbiddenError("Refused.", hint="Ask somebody.")
        names = tuple(rows[0]) if rows else ()
        kinds = ("bool" if isinstance(value, bool) else "string" for value in (rows[0].values() if rows else ()))
        columns = tuple(Column.of(name, kind) for name, kind in zip(names, kinds, strict=True))
        return Table(columns, [list(row.values()) for row in rows])

    def close(self) -> None:
        pass


def observed(flow: str, answers: Answers) -> Observations:
    row = next(one for one in WORKFLOWS if one.id == flow)
    session = Session("here", Answering(answers), history=False)
    return observe(session, Azure(None, "Azure is closed."), Subject(row, MINE, Scope.database("D"), (URL,)))


def test_what_is_refused_is_not_checked_for_the_reason_of_the_cluster() -> None:
    found = observed("python.external_artifacts", {})
    reason = Unread("it was not read, because Ask somebody")
    assert found.callouts == found.plugins == found.caller == reason
    for part in (found.assigned, found.outbound, found.targets[URL]):
        assert isinstance(part, Unread)
        assert "--resource-id" in part.why


@pytest.mark.parametrize(
    ("policy", "matches"),
    [
        ("[", ()),
        ("{}", ()),
        ("[1]", ()),
        (DENIES, ()),
        (DENIES, ({"r1": True},)),
        (DENIES, ({"r0": "true"},)),
    ],
)
def test_a_callout_policy_that_cannot_be_understood_is_not_checked(
    policy: str, matches: tuple[Mapping[str, object], ...]
) -> None:
    found = observed("externaldata", {CALLOUT: ({"Policy": policy},), "print r0": matches})
    assert isinstance(found.callouts, Unread)


def test_no_callout_policy_has_no_rules() -> None:
    for policy in ("null", "", "[]"):
        assert observed("externaldata", {CALLOUT: ({"Policy": policy},)}).callouts == ()


@pytest.mark.parametrize(
    "row",
    [
        {"Role": "Database D Viewer", "PrincipalObjectId": MINE.object_id.upper(), "PrincipalFQN": ""},
        {"Role": "Database D Viewer", "PrincipalObjectId": "", "PrincipalFQN": f"aadapp={MINE.client_id};tenant"},
        {"Role": "AllDatabasesViewer", "PrincipalObjectId": "", "PrincipalFQN": f"AadApp={MINE.object_id}"},
    ],
)
def test_an_identity_is_found_by_either_of_its_ids(row: Mapping[str, object]) -> None:
    found = observed("continuous_export", {PRINCIPALS: (row,)}).identity
    assert not isinstance(found, Unread)
    assert [one.kind for one in found] == ["viewer"]


def test_the_role_of_another_principal_is_not_the_identitys() -> None:
    row = {"Role": "Database D Viewer", "PrincipalObjectId": "", "PrincipalFQN": f"aaduser={MINE.object_id}"}
    assert observed("continuous_export", {PRINCIPALS: (row,)}).identity == ()


def test_if_the_principals_are_refused_only_a_role_that_is_seen_counts() -> None:
    seen = {"Scope": "Database D", "Role": "Database Viewer"}
    found = observed("continuous_export", {ROLES: (seen,)}).identity
    assert not isinstance(found, Unread)
    assert observed("continuous_export", {ROLES: ()}).identity == Unread("it was not read, because Ask somebody")
    other = {"Scope": "Database E", "Role": "Database Viewer"}
    assert isinstance(observed("continuous_export", {ROLES: (other,)}).identity, Unread)
