"""Tests of the catalogue of published refusals: each row is recognised in any wording, and nothing else is."""

import re

import pytest

from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.explain.explanation import Explained, evidence, from_refusal, judge
from kqlmi.model.explain.published import DISABLED, ROWS
from kqlmi.model.explain.refusals import Published, copied, find
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement

MINE, CLIENT, TENANT = (f"{digit * 8}-2222-3333-4444-555555555555" for digit in "179")
BLOB = "https://acct.blob.core.windows.net/c/a.csv"
READ = f"externaldata (a: string) [h'{BLOB};managed_identity={MINE}']"
CLOSED = Snapshot({Scope.cluster(): None, Scope.database("D"): None})
OPEN = CLOSED.with_policy(Scope.database("D"), Policy.empty().grant(MINE, "ExternalDataRequest"))
LISTED = [Identity(ObjectId(MINE), "loader", client_id=CLIENT, tenant_id=TENANT)]

# A published wording of each row that is recognised by its text; the others are recognised by code or type.
TEXTS = {
    "remote-callout": "The remote cluster is not allowed by the callout policy",
    "syntax": "Syntax error: SYN0002: A recognition error occurred.",
    "semantic": "Semantic error: SEM0100: 'where' operator: Failed to resolve column named 'x'",
    "limits": "Query execution lacks memory resources to complete (80DA0007): Partial query failure: Low memory condition "
    "(E_LOW_MEMORY_CONDITION).",
    "throttled": "The query was aborted due to throttling. Retrying after some backoff might succeed.",
    "flow-disabled": DISABLED,
    "not-allowed-by-policy": "ManagedIdentityNotAllowedByPolicyException",
    "local-grant": f"the managed identity 'loader' ({MINE}) may not be used for ExternalTable: neither the policy of the "
    "cluster nor that of the database 'D' allows it (message of the local cluster; Azure's may differ)",
    "local-assignment": f"the managed identity '{MINE}' is not assigned to this cluster (message of the local cluster)",
    "local-callout": f"the callout policy of the cluster does not allow 'external_data' to call {BLOB} (message)",
    "local-azure-role": f"the storage refuses the managed identity 'loader' ({MINE}): the role Storage Blob Data Reader is "
    f"required on {BLOB} (message)",
    "database-reader": f"Principal 'aadapp={MINE};{TENANT}' is not authorized to read database 'Sales'.",
    "operation": f"Principal 'aadapp={MINE};{TENANT}' is not authorized to perform operation 'Ingest' on 'any database'.",
    "storage-denied": f"Access to persistent storage path '{BLOB}' was denied",
    "invalid-managed-identity": "Managed Identity either doesn't exist or doesn't have the required permissions.",
    "download-forbidden": "Failed to download source from Azure storage - access forbidden",
    "delta-forbidden": "InaccessibleDeltaTable: Access to Delta table is forbidden",
    "acceleration-impersonation": "Managed identity must be specified for external tables with impersonation authentication.",
    "database-scope": "Not a database-scope command",
    "script-caller": "ScriptFailedUnauthorizedCaller: Caller is not authorized to perform this action",
    "sign-in-identity": "identity isn't assigned to this resource",
    "remote-server-403": "The remote server returned an error: (403) Forbidden",
    "remote-server": "The remote server returned an error: (405) Method Not Allowed",
    "callout-denied": "the operation is denied by callout policy",
    "forbidden": "Insufficient security permissions to execute request.",
    "acceleration-delta": "DeltaTableNotFound: Delta table does not exist",
    "mentions-identity": "The managed identity cannot be used here",
    "access-denied": "Access was denied",
}


def error(message: str = "", code: str = "", type_name: str = "") -> dict[str, str]:
    return {"message": message, "code": code, "type_name": type_name}


def explained(found: dict[str, str], snapshot: Snapshot, *, text: str = READ, assigned: bool = True) -> Explained:
    known = Directory.of(snapshot, LISTED if assigned else None)
    verdicts = tuple(judge(one, snapshot, "D", known) for one in Statement(text).references)
    return from_refusal(found, {}, verdicts, lambda one: evidence(one, snapshot, known), known=known)


def test_every_row_with_a_pattern_has_a_text() -> None:
    assert {row.id for row in ROWS if row.pattern} == TEXTS.keys()
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert all(row.source and row.cause and row.fix for row in ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if row.pattern], ids=lambda row: row.id)
@pytest.mark.parametrize(
    "wording",
    ["{0}", "Request is invalid and cannot be processed: {0} (request 1, node 2)", '{{\\"@message\\": \\"{0}\\"}}'],
)
@pytest.mark.parametrize("snapshot", [OPEN, CLOSED], ids=["open", "closed"])
def test_a_published_text_is_recognised_whatever_surrounds_it(row: Published, wording: str, snapshot: Snapshot) -> None:
    if row.id == "local-azure-role" and wording.startswith("{{"):
        return  # the local cluster nests no errors
    found = error(wording.format(TEXTS[row.id]), "General_BadRequest", "Kusto.Data.Exceptions.KustoBadRequestException")
    assert find(found, ROWS) is row
    closed = explained(found, snapshot).closed
    if not row.gates:
        assert closed is None
    elif row.proves and row.id != "not-allowed-by-policy":
        assert closed
        assert (closed.kind, closed.certain) == (row.gates[0], True)
    elif snapshot is OPEN:
        assert closed is None
    elif "grant" in row.gates:
        assert closed
        assert (closed.kind, closed.certain) == ("grant", row.proves)


@pytest.mark.parametrize(
    ("code", "row"), [(code, row) for row in ROWS for code in row.codes], ids=lambda one: getattr(one, "id", one)
)
def test_a_code_is_recognised_with_any_text(code: str, row: Published) -> None:
    assert find(error("Something went wrong", code), ROWS) is row


@pytest.mark.parametrize("kind", [(kind, row) for row in ROWS for kind in row.types], ids=lambda one: one[0])
def test_an_exception_type_is_recognised_in_any_namespace(kind: tuple[str, Published]) -> None:
    name, row = kind
    assert find(error("Something went wrong", type_name=f"Kusto.Some.Exceptions.{name}"), ROWS) is row


UNRELATED = [
    "Relop semantic error: SEM0001: Arithmetic expression cannot be carried-out between ManagedIdentity and long",
    "Query is expired",
    "Request is invalid and cannot be executed.",
    "Entity ID 'Sales' of kind 'Database' was not found.",
    "Query execution has exceeded the allowed limits (80DA0003): (E_QUERY_RESULT_SET_TOO_LARGE)",
    "Aggregation over string column exceeded the memory budget of 8GB during evaluation (E_RUNAWAY_QUERY)",
    f"Syntax error: SYN0002: Query could not be parsed at '{DISABLED}'",
    f"Semantic error: SEM0100: 'print' operator: Failed to resolve '{DISABLED}'",
    "Syntax error: SYN0002: A recognition error occurred at 'managed_identity policy'",
    "Semantic error: SEM0056: The remote cluster is not allowed by the callout policy",
    f"A value of type string was expected; found h'{BLOB};managed_identity=system'",
    "Principal 'aaduser=jane@contoso.com' is not authorized to read database 'Sales'.",
    "Principal 'msauser=jane@outlook.com' is not authorized to perform operation 'VersionShowCommand' on 'https://x'.",
    "The columns of the input differ from those of the table",
    "Column 'Denied' does not exist",
    "Cannot access column 'x' of a null",
]
OTHER_CODES = [(code, row.id) for row in ROWS if not row.gates for code in row.codes]


@pytest.mark.parametrize("message", UNRELATED)
def test_an_error_about_something_else_blames_no_identity(message: str) -> None:
    found = explained(error(message, "General_BadRequest", "Kusto.Data.Exceptions.KustoBadRequestException"), CLOSED)
    assert found.closed is None
    assert "Probably" not in str(found)


@pytest.mark.parametrize(("code", "_row"), OTHER_CODES, ids=[code for code, _ in OTHER_CODES])
def test_a_code_about_something_else_blames_no_identity(code: str, _row: str) -> None:
    assert explained(error("Access was denied by the managed identity", code), CLOSED).closed is None or code == ""


def test_there_are_enough_refusals_that_are_not_about_identities() -> None:
    assert len(UNRELATED) + len(OTHER_CODES) >= 40


@pytest.mark.parametrize(
    "written", [f"aadapp={MINE}", f"AADAPP={MINE.upper()};{TENANT}", f"aadapp={CLIENT};{TENANT}", MINE]
)
def test_a_named_identity_is_found_in_any_spelling(written: str) -> None:
    found = explained(error(f"Forbidden: Principal '{written}' is not authorized to read database 'Sales'."), CLOSED)
    assert found.closed
    assert "loader" in found.closed.sentence
    assert all("Sales" in line for line in found.closed.fixes)


def test_a_stranger_is_not_taken_for_an_identity() -> None:
    stranger = "aadapp=22222222-2222-3333-4444-555555555555"
    found = explained(error(f"Principal '{stranger}' is not authorized to read database 'Sales'."), CLOSED)
    assert found.closed is None
    assert found.note
    assert f"viewers ('{stranger}')" in found.note.fixes[0]


def test_a_client_id_in_place_of_an_object_id_is_recognised() -> None:
    found = explained(error("x", "BadRequest_InvalidManagedIdentity"), OPEN, text=READ.replace(MINE, CLIENT))
    assert found.closed
    assert found.closed.kind == "assignment"
    assert f"the object ID {MINE} is required" in found.closed.sentence


def test_a_storage_denial_with_every_seen_gate_open_names_candidates_only() -> None:
    found = explained(error(TEXTS["storage-denied"]), OPEN)
    assert found.closed is None
    shown = str(found)
    assert "Probably" not in shown
    assert re.search(r"Azure role .*az role assignment create", shown, re.DOTALL)


def test_an_orphan_is_seen_by_the_assigned_identities() -> None:
    other = "33333333-2222-3333-4444-555555555555"
    found = explained(error("x", "BadRequest_InvalidManagedIdentity"), OPEN, text=READ.replace(MINE, other))
    assert found.closed
    assert (found.closed.kind, found.closed.certain) == ("assignment", False)


@pytest.mark.parametrize("field", ["code", "type_name"])
def test_a_code_or_type_inside_a_copied_text_is_the_row_that_lists_it(field: str) -> None:
    for row in ROWS:
        for known in row.codes if field == "code" else row.types:
            found = copied(f"[Error] request 7 failed: {known}, at 10:00.", ROWS)
            assert found[field] == known
            assert find(found, ROWS) == find(error(found["message"], **{field: known}), ROWS)
