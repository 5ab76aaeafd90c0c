"""Tests of which gate is closed, and the line that opens it."""

from typing import Any

import pytest

from kqlmi.model.entities import Scope
from kqlmi.model.explain.explanation import evidence, from_refusal, judge
from kqlmi.model.explain.gates import Gate
from kqlmi.model.explain.published import DISABLED
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement

MINE = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-2222-3333-4444-555555555555"
READ = f"externaldata (a: string) [h'https://acct.blob.core.windows.net/c/a.csv;managed_identity={MINE}']"
NOTHING = Snapshot({Scope.cluster(): None, Scope.database("D"): None})
GRANTED = NOTHING.with_policy(Scope.database("D"), Policy.empty().grant(MINE, "ExternalDataRequest"))


def refusal(message: str = "no", code: str = "", type_name: str = "") -> dict[str, str]:
    return {"message": message, "code": code, "type_name": type_name}


def explained(fields: dict[str, str], snapshot: Snapshot = NOTHING, text: str = READ, **details: Any) -> Gate | None:
    verdicts = tuple(judge(one, snapshot, "D") for one in Statement(text).references)
    known = Directory.of(snapshot)
    return from_refusal(fields, details, verdicts, lambda one: evidence(one, snapshot, known), known=known).closed


@pytest.mark.parametrize(
    "details",
    [
        {"missing": "grant"},
        {"missing": ["x"]},
        {"missing": "azure role", "url": "https://a/b", "roles": []},
        {"missing": "callout", "calloutType": 1, "url": 2},
        {"missing": "nothing"},
    ],
)
def test_details_in_another_form_are_ignored(details: dict[str, Any]) -> None:
    assert explained(refusal(), text="print 1", **details) is None


@pytest.mark.parametrize(
    "details",
    [
        {"missing": "grant", "identity": "system All --cluster\n%kqlmi apply x", "usage": "All", "database": "D"},
        {"missing": "grant", "identity": MINE, "usage": "All --cluster", "database": "D"},
        {"missing": "callout", "calloutType": 'sql","CalloutUriRegex":".*', "url": "https://a.b/c"},
        {"missing": "callout", "calloutType": "sql", "url": "https://a.b/c'`$(x)"},
        {"missing": "azure role", "identity": MINE, "roles": ["Owner"], "url": "https://acct.blob.core.windows.net/c"},
        {
            "missing": "azure role",
            "identity": MINE,
            "roles": ["Storage Blob Data Reader"],
            "url": "https://x.blob/$(x)",
        },
    ],
)
def test_a_line_to_copy_contains_nothing_hostile(details: dict[str, Any]) -> None:
    result = explained(refusal(), text="print 1", **details)
    assert result
    assert result.fixes == ()


def test_a_local_clusters_details_are_certain() -> None:
    result = explained(refusal(), missing="grant", identity="system", usage="All", database="D", scopes=["cluster"])
    assert result
    assert (result.kind, result.certain, result.fixes) == ("grant", True, ("%kqlmi grant system All --cluster",))
    callout = explained(refusal(), missing="callout", calloutType="sandbox_artifacts", url="https://a.b/c")
    assert callout
    (line,) = callout.fixes
    pattern = "^https://a\\\\\\\\.b/c$"
    payload = f'[{{"CalloutType": "sandbox_artifacts", "CalloutUriRegex": "{pattern}", "CanCall": true}}]'
    assert line == f"%%kqlmi\n.alter-merge cluster policy callout '{payload}'"


def test_without_details_the_policies_show_what_is_probable() -> None:
    result = explained(refusal("Access was denied."))
    assert result
    assert (result.kind, result.certain) == ("grant", False)
    assert str(result).startswith("Probably: ")
    named = explained(refusal(type_name="X.ManagedIdentityNotAllowedByPolicyException"))
    assert named
    # The name of the exception is known only from a third party.
    assert (named.kind, named.certain) == ("grant", False)
    assert explained(refusal("Access was denied."), GRANTED) is None
    assert explained(refusal("no")) is None


def test_the_published_sentence_means_a_flow_without_identities() -> None:
    result = explained(refusal(DISABLED), text="print 1")
    assert result
    assert (result.kind, result.fixes) == ("flow", ())


def test_a_viewer_is_added_only_for_an_identity() -> None:
    message = f"Principal 'aadapp={MINE};{TENANT}' is not authorized to read database 'O'Brien''."
    fields = refusal(message, type_name="Kusto.DataNode.Exceptions.UnauthorizedDatabaseAccessException")
    result = explained(fields, GRANTED, text="print 1")
    assert result
    assert result.fixes == (f"%%kqlmi\n.add database ['O\\'Brien\\''] viewers ('aadapp={MINE};{TENANT}')",)
    assert explained(fields, NOTHING, text="print 1") is None
    assert explained(refusal("Principal 'aaduser=x' …", type_name=fields["type_name"]), GRANTED, text="print 1") is None


def test_a_text_that_hides_its_identity_is_not_explained() -> None:
    text = "declare query_parameters(u: string); externaldata (a: string) [u]"
    (hidden,) = Statement(text).references
    assert judge(hidden, NOTHING, "D").access.allowed is None
    assert explained(refusal("Access was denied."), text=text) is None


def test_an_unread_policy_blames_no_identity() -> None:
    assert explained(refusal("Access was denied."), Snapshot()) is None


def test_the_system_identity_is_recognised_by_its_object_id() -> None:
    text = f'[{{"ObjectId": "{MINE}", "IsSystem": true, "AllowedUsages": "ExternalDataRequest"}}]'
    snapshot = NOTHING.with_policy(Scope.cluster(), Policy.parse(text))
    (one,) = Statement(READ).references
    assert judge(one, snapshot, "D").access.allowed is True
