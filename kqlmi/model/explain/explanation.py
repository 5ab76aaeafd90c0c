"""Explanations of refusals, actual or predicted: the gate that is closed, and the narrowest line that opens it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kqlmi.errors import printable
from kqlmi.model.catalogue import USAGE_TAGS
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.explain import fixes
from kqlmi.model.explain.gates import Gate
from kqlmi.model.explain.holders import holder
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import Access, access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.uses.documents import POLICY_ENTRY
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW
from kqlmi.model.uses.references import Reference
from kqlmi.report import YES_NO, Rows

DISABLED = "Authentication with a Managed Identity is disabled for this flow"
"""The only error message about managed identities that the service's documentation quotes."""

_NOT_SUPPORTED = "This flow does not support managed identities."
_NOT_ALLOWED = "ManagedIdentityNotAllowedByPolicyException"
_INVALID = "BadRequest_InvalidManagedIdentity"
_NO_DATABASE = "UnauthorizedDatabaseAccessException"
# As published: Principal 'aadapp=<id>;<tenant>' is not authorized to read database '<name>'.
_READER = re.compile(
    r"Principal '(aadapp=[0-9a-fA-F-]{36}(?:;[0-9a-fA-F-]{36})?)' is not authorized to read database '(.+)'\."
)
# Errors that state their own cause, and are never about an identity.
_OTHER = ("SyntaxException", "SemanticException", "EntityNotFoundException", "DatabaseNotFoundException",
          "EntityAlreadyExistsException", "UnauthorizedOperationException")  # fmt: skip
_OTHER_CODES = ("BadRequest_SyntaxError", "BadRequest_EntityNotFound", "BadRequest_DatabaseNotExist")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A use of an identity in a command or query, and whether it would be allowed."""

    reference: Reference
    access: Access
    scope: Scope

    @property
    def needs(self) -> tuple[str, ...]:
        """Return what the flow requires besides the policy, and whether its usage is inferred."""
        row = self.reference.workflow
        if row is None:
            return ()
        needed = {
            "Azure role": row.external,
            "callout policy": row.callout,
            "Kusto role": row.kusto,
            "required when": row.required_when,
            "note": row.note,
            "usage": "inferred, not documented" if row.sure != "documented" else "",
        }
        return tuple(f"{name}: {value}" for name, value in needed.items() if value)


def judge(reference: Reference, snapshot: Snapshot, database: str, known: Directory | None = None) -> Verdict:
    """Check whether a reference would be allowed in a database now; ``known`` adds identities to those in the policies."""
    scope = Scope.database(reference.database or database) if reference.database or database else Scope.cluster()
    if reference.flow.startswith(UNKNOWN_FLOW):
        what = printable(reference.flow.removeprefix(UNKNOWN_FLOW))
        return Verdict(reference, Access(allowed=None, reason=f"{what} is not known to take a managed identity"), scope)
    if reference.workflow is None and reference.flow != POLICY_ENTRY:
        return Verdict(reference, Access(allowed=False, reason=DISABLED), scope)
    directory = known or Directory.of(snapshot)
    found = holder(reference, directory)
    if isinstance(found, Access):
        return Verdict(reference, found, scope)
    if reference.workflow:
        return Verdict(reference, access(snapshot, found, reference.workflow.usage, scope), scope)
    return Verdict(reference, _assigned(directory.state(found)), scope)


def _assigned(state: str) -> Access:
    """Return whether the service accepts an identity in a policy."""
    if not state:
        reason = "whether it is assigned to the cluster is not known; connect with --resource-id to check it"
        return Access(allowed=None, reason=reason)
    if state == "orphan":
        return Access(allowed=False, reason="it is not assigned to the cluster, so the service refuses the policy")
    return Access(allowed=True, reason="it is assigned to the cluster")


def from_verdict(verdict: Verdict, on: str = "") -> Gate | None:
    """Return the gate that is closed for a reference, or None if it would be allowed or that is not known."""
    workflow, identity = verdict.reference.workflow, verdict.reference.identity
    if verdict.access.allowed is not False:
        return None
    if workflow is None:
        return Gate("flow", f"{printable(verdict.reference.flow)} does not support managed identities.", certain=False)
    who = "The system identity" if identity == SYSTEM else f"The managed identity {printable(str(identity))}"
    sentence = f"{who} may not be used for {workflow.usage}, because {verdict.access.reason}."
    return Gate("grant", sentence, fixes.grant(str(identity), workflow.usage, verdict.scope, on), certain=False)


def from_refusal(
    error: Mapping[str, Any],
    details: Mapping[str, Any],
    snapshot: Snapshot,
    verdicts: tuple[Verdict, ...],
    on: str = "",
    *,
    known: Directory | None = None,
) -> Gate | None:
    """Return the closed gate that explains a cluster's error, or None; it is found by the error's fields and the references.

    ``error`` has ``message``, ``code`` and ``type_name``; ``details`` are the fields that a local cluster adds; ``on``
    is the name of the connection, which the fixes specify so that they change this cluster and no other.
    """
    found = _from_details(details, on)
    if found:
        return found
    if error["message"] == DISABLED:
        return Gate("flow", _NOT_SUPPORTED)
    if error["type_name"].endswith(_NO_DATABASE):
        return _reader(error["message"], known or Directory.of(snapshot), on)
    if error["code"] in _OTHER_CODES or error["type_name"].endswith(_OTHER):
        return None
    refused = next(filter(None, (from_verdict(one, on) for one in verdicts)), None)
    if refused:
        return replace(refused, certain=error["type_name"].endswith(_NOT_ALLOWED))
    return _by_code(error["code"], verdicts[0].reference, on) if len(verdicts) == 1 else None


def left_over(plan: PolicyPlan, on: str = "") -> list[str]:
    """Return a note for each entry of an earlier system identity in the scopes where a plan grants to the current one."""
    sentences = []
    for step in plan.steps:
        grants = any(one.identity == SYSTEM and one.kind == "grant" for one in step.changes)
        for entry in step.before.entries if step.before and grants else ():
            if entry.is_earlier:
                subject = f"The policy of the {step.scope} also lists {entry.object_id}, an earlier system identity"
                lines = fixes.change("revoke", entry.object_id, entry.usages, step.scope, on)
                sentences.append(f"{subject}, which has no effect.{f' To remove it: {lines[0]}' if lines else ''}")
    return sentences


def _by_code(code: str, reference: Reference, on: str) -> Gate | None:
    """Return the gate for a documented ingestion error; the command has one reference, and the policies allow it."""
    if code == _INVALID:
        return replace(_unassigned(str(reference.identity), on), certain=False)
    if code == "Download_Forbidden":
        role = fixes.ROLE.search(reference.workflow.external if reference.workflow else "")
        role_missing = _azure_role(str(reference.identity), role[0] if role else "", reference.target)
        return replace(role_missing, certain=False)
    return None


def _from_details(details: Mapping[str, Any], on: str) -> Gate | None:
    """Return the gate that a local cluster's details specify, or None if they have another form."""
    identity = details["identity"] if isinstance(details.get("identity"), str) else ""
    match details:
        case {"missing": "flow"}:
            return Gate("flow", _NOT_SUPPORTED)
        case {"missing": "assignment"} if identity:
            return _unassigned(identity, on)
        case {"missing": "grant", "usage": str(usage), "database": str(database)}:
            return _ungranted(identity, usage, database, on, is_cluster=details.get("scopes") == ["cluster"])
        case {"missing": "callout", "calloutType": str(kind), "url": str(url)}:
            sentence = f"The callout policy does not let '{printable(kind)}' call {printable(url)}."
            return Gate("callout", sentence, fixes.callout(kind, url, on))
        case {"missing": "azure role", "roles": [role, *_], "url": str(url)}:
            return _azure_role(identity, str(role), url)
    return None


def _unassigned(identity: str, on: str) -> Gate:
    sentence = (
        f"The managed identity {printable(identity)} is not assigned to the cluster. Assigning it is an Azure resource "
        f"operation. To plan it: {fixes.assign(SYSTEM if identity == SYSTEM else '', on)}"
    )
    return Gate("assignment", sentence)


def _ungranted(identity: str, usage: str, database: str, on: str, *, is_cluster: bool) -> Gate:
    scope = Scope.cluster() if is_cluster or not database else Scope.database(database)
    sentence = f"{printable(identity)} may not be used for {printable(usage)} in the database {printable(database)}."
    if is_cluster:
        sentence += f" {printable(usage)} has an effect only in the cluster's policy."
    return Gate("grant", sentence, fixes.grant(identity, usage, scope, on))


def _azure_role(identity: str, role: str, url: str) -> Gate:
    sentence = f"The identity lacks the Azure role {printable(role)} on {printable(url)}."
    return Gate("azure role", sentence, fixes.azure_role(identity, role, url))


def _reader(message: str, directory: Directory, on: str) -> Gate | None:
    found = _READER.fullmatch(message)
    if not found:
        return None
    principal, database = found.groups()
    identity = principal.removeprefix("aadapp=").partition(";")[0]
    known = directory.named(identity)
    if known is None:
        return None  # a user, or an application
    sentence = f"The managed identity {known} is not a viewer of the database {printable(database)}."
    return Gate("database role", sentence, fixes.viewer(principal, database, on))


def verdict_rows(verdicts: Iterable[Verdict], statement: Statement) -> Rows:
    """Return a row for each identity that a statement uses.

    Columns: ``workflow``, ``identity`` (missing if the statement does not determine it), ``usage``, ``scope``,
    ``allowed`` (missing if not known), ``reason``, ``also_needs`` (a list: the requirements besides the policy, and
    what is inferred), ``target`` and ``line`` (in the statement, from 1).
    """
    return Rows.of(
        verdicts,
        {
            "workflow": lambda one: one.reference.workflow.title if one.reference.workflow else one.reference.flow,
            "identity": lambda one: one.reference.identity,
            "usage": lambda one: one.reference.workflow.usage if one.reference.workflow else None,
            "scope": lambda one: str(one.scope),
            "allowed": lambda one: one.access.allowed,
            "reason": lambda one: one.access.reason,
            "also_needs": lambda one: list(one.needs),
            "target": lambda one: one.reference.target,
            "line": lambda one: statement.line(one.reference.start),
        },
        {"allowed": "boolean"},
        {"identity": "id", "usage": USAGE_TAGS, "allowed": YES_NO},
    )
