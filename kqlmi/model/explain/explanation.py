"""Why an identity was refused, or would be: the gate that is closed, and the narrowest line that opens it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import SYSTEM, Scope, is_guid
from kqlmi.model.kql import quoting
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.access import Access, access, without_effect
from kqlmi.model.policy.directory import Directory, like_system
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.uses.references import Reference

Gate = Literal["flow", "assignment", "grant", "callout", "azure role", "database role"]

DISABLED = "Authentication with a Managed Identity is disabled for this flow"
"""The one sentence about managed identities that the service's documentation quotes."""

_NOT_ALLOWED = "ManagedIdentityNotAllowedByPolicyException"
_INVALID = "BadRequest_InvalidManagedIdentity"
_NO_DATABASE = "UnauthorizedDatabaseAccessException"
# As published: Principal 'aadapp=<id>;<tenant>' is not authorized to read database '<name>'.
_READER = re.compile(
    r"Principal '(aadapp=[0-9a-fA-F-]{36}(?:;[0-9a-fA-F-]{36})?)' is not authorized to read database '(.+)'\."
)
_ROLE = re.compile(r"(?:Storage Blob|Azure Event Hubs) Data \w+")
_PLAIN_URL = re.compile(r"[a-z]+://[A-Za-z0-9$._/@-]+")
_RESOURCE = re.compile(r"/subscriptions/[A-Za-z0-9$._/-]+")
_KIND = re.compile(r"[a-z_]+")
# Errors that say in their own words what is wrong, and are never about an identity.
_OTHER = ("SyntaxException", "SemanticException", "EntityNotFoundException", "DatabaseNotFoundException",
          "EntityAlreadyExistsException", "UnauthorizedOperationException")  # fmt: skip
_OTHER_CODES = ("BadRequest_SyntaxError", "BadRequest_EntityNotFound", "BadRequest_DatabaseNotExist")
_STORAGE = re.compile(r"(?:https://([a-z0-9]+)\.(?:blob|dfs)[^/]*/|abfss://)([^/@;?]+)(?:@([a-z0-9]+)\.)?")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A refusal explained.

    ``fixes`` are lines to run, the narrowest first, or a cell of two lines; none where none can be written. ``certain``
    says that the cluster named the gate; otherwise it follows from the text and the policies, and another gate may be
    closed as well.
    """

    gate: Gate
    sentence: str
    fixes: tuple[str, ...] = ()
    certain: bool = True

    def __str__(self) -> str:
        sentence = self.sentence if self.certain else f"Probably: {self.sentence}"
        return "\n".join([sentence, *(f"    {line}" for fix in self.fixes for line in fix.splitlines())])


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reference of a text, and whether it would be allowed; ``needs`` are the gates beside the policy."""

    reference: Reference
    access: Access
    scope: Scope
    needs: tuple[str, ...]


def judge(reference: Reference, snapshot: Snapshot, database: str, known: Directory | None = None) -> Verdict:
    """Return whether a reference would be allowed in a database now, and what else it needs.

    ``known`` is who is who beyond the policies.
    """
    scope = Scope.database(reference.database or database) if reference.database or database else Scope.cluster()
    workflow = reference.workflow
    if workflow is None:
        return Verdict(reference, Access(allowed=False, reason=DISABLED), scope, ())
    needs = tuple(
        f"{what}: {value}"
        for what, value in (
            ("Azure role", workflow.external),
            ("callout policy", workflow.callout),
            ("Kusto role", workflow.kusto),
            ("required when", workflow.required_when),
            ("note", workflow.note),
            ("usage", "inferred, not documented" if workflow.sure != "documented" else ""),
        )
        if value
    )
    return Verdict(reference, _access(reference, workflow.usage, scope, snapshot, known), scope, needs)


def _access(reference: Reference, usage: str, scope: Scope, snapshot: Snapshot, known: Directory | None) -> Access:
    directory = known or Directory.of(snapshot)
    if reference.identity is None:
        return Access(allowed=None, reason="the text does not tell which identity it is")
    holder = directory.key(reference.identity)
    if not is_identity(holder):
        meant = f", by which {SYSTEM} seems to be meant" if like_system(reference.identity) else ""
        reason = f"{printable(reference.identity)} is neither an object ID nor 'system'{meant}"
        return Access(allowed=False, reason=reason)
    if client := directory.client_of(holder):
        return Access(allowed=False, reason=f"{holder} is the client ID of {client}: the text must give its object ID")
    return access(snapshot, holder, usage, scope)


def from_verdict(verdict: Verdict, on: str = "") -> Explanation | None:
    """Give what is missing for a reference that would be refused; None for one that would not, or cannot be told."""
    workflow, identity = verdict.reference.workflow, verdict.reference.identity
    if verdict.access.allowed is not False:
        return None
    if workflow is None:
        return Explanation("flow", f"{printable(verdict.reference.flow)} takes no managed identity.", certain=False)
    who = "the system identity" if identity == SYSTEM else f"the managed identity {printable(str(identity))}"
    what = f"{who} may not be used for {workflow.usage}, because {verdict.access.reason}."
    return Explanation("grant", what, grant_lines(str(identity), workflow.usage, verdict.scope, on), certain=False)


def from_refusal(
    error: Mapping[str, Any],
    details: Mapping[str, Any],
    snapshot: Snapshot,
    verdicts: tuple[Verdict, ...],
    on: str = "",
    *,
    known: Directory | None = None,
) -> Explanation | None:
    """Explain what a cluster answered, from its fields and from what the text uses; None where no identity is to blame.

    ``error`` has ``message``, ``code`` and ``type_name``; ``details`` is what a local cluster adds for programs; ``on`` is
    the name of the connection, so that a line fixes this cluster and no other.
    """
    found = _from_details(details, on)
    if found:
        return found
    if error["message"] == DISABLED:
        return Explanation("flow", "This flow takes no managed identity.")
    if error["type_name"].endswith(_NO_DATABASE):
        return _reader(error["message"], known or Directory.of(snapshot), on)
    if error["code"] in _OTHER_CODES or error["type_name"].endswith(_OTHER):
        return None
    refused = next(filter(None, (from_verdict(one, on) for one in verdicts)), None)
    if refused:
        return replace(refused, certain=error["type_name"].endswith(_NOT_ALLOWED))
    return _by_code(error["code"], verdicts[0].reference, on) if len(verdicts) == 1 else None


def grant_lines(identity: str, usage: str, scope: Scope, on: str = "") -> tuple[str, ...]:
    """Give the ``%kqlmi grant`` line for one usage, at the database unless it counts at the cluster only.

    Empty where no line can be written that is safe to copy: an identity that is none, or a name that a line cannot hold.
    """
    return _lines("grant", identity, (usage,), Scope.cluster() if without_effect(scope, usage) else scope, on)


def _lines(verb: str, identity: str, usages: tuple[str, ...], scope: Scope, on: str) -> tuple[str, ...]:
    where = "--cluster" if scope.is_cluster else f"--database={word(str(scope.name))}"
    words = [f"%kqlmi {verb}", identity, ",".join(usages), where, *([f"--on={word(on)}"] if on else [])]
    is_safe = is_identity(identity) and all(map(str.isalnum, usages)) and not any(one.endswith("=") for one in words)
    return (" ".join(words),) if is_safe else ()


def left_over(plan: Plan, on: str = "") -> list[str]:
    """Return what to drop beside a grant to the system identity: the entries of earlier ones, which allow nothing."""
    sentences = []
    for step in plan.steps:
        grants = any(one.identity == SYSTEM and one.kind == "grant" for one in step.changes)
        for entry in step.before.entries if step.before and grants else ():
            if entry.is_earlier:
                what = f"The policy of the {step.scope} also names {entry.object_id}, an earlier system identity"
                lines = _lines("revoke", entry.object_id, entry.usages, step.scope, on)
                sentences.append(f"{what}, which allows nothing.{f' To drop it: {lines[0]}' if lines else ''}")
    return sentences


def assign_line(name: str, on: str = "") -> str:
    """Give the ``%kqlmi assign`` line for ``system`` or a name; ``NAME`` stands for one that is not known, or not safe."""
    known = name if re.fullmatch(r"\w[\w-]*", name) else "NAME"
    return f"%kqlmi assign {known}" + (f" --on={word(on) or 'SESSION'}" if on else "")


def is_identity(text: str) -> bool:
    """Tell an object ID and ``system`` from any other text."""
    return text == SYSTEM or is_guid(text)


def _by_code(code: str, reference: Reference, on: str) -> Explanation | None:
    """Explain the documented error codes of ingestion, for the one identity of a text, which the policies allow."""
    if code == _INVALID:
        return replace(_unassigned(str(reference.identity), on), certain=False)
    if code == "Download_Forbidden":
        role = _ROLE.search(reference.workflow.external if reference.workflow else "")
        role_missing = azure_role(str(reference.identity), role[0] if role else "", reference.target)
        return replace(role_missing, certain=False)
    return None


def _from_details(details: Mapping[str, Any], on: str) -> Explanation | None:
    """Explain what a local cluster names; what is not of its form is passed over."""
    identity = details["identity"] if isinstance(details.get("identity"), str) else ""
    match details:
        case {"missing": "flow"}:
            return Explanation("flow", "This flow takes no managed identity.")
        case {"missing": "assignment"} if identity:
            return _unassigned(identity, on)
        case {"missing": "grant", "usage": str(usage), "database": str(database)}:
            return _ungranted(identity, usage, database, on, is_cluster=details.get("scopes") == ["cluster"])
        case {"missing": "callout", "calloutType": str(kind), "url": str(url)}:
            return callout(kind, url, on)
        case {"missing": "azure role", "roles": [role, *_], "url": str(url)}:
            return azure_role(identity, str(role), url)
    return None


def _unassigned(identity: str, on: str) -> Explanation:
    sentence = (
        f"The managed identity {printable(identity)} is not assigned to the cluster. That is an Azure resource operation, "
        f"which this line plans: {assign_line(SYSTEM if identity == SYSTEM else '', on)}"
    )
    return Explanation("assignment", sentence)


def _ungranted(identity: str, usage: str, database: str, on: str, *, is_cluster: bool) -> Explanation:
    scope = Scope.cluster() if is_cluster or not database else Scope.database(database)
    sentence = f"{printable(identity)} may not be used for {printable(usage)} in the database {printable(database)}."
    if is_cluster:
        sentence += f" {printable(usage)} counts in the cluster's policy only."
    return Explanation("grant", sentence, grant_lines(identity, usage, scope, on))


def callout(kind: str, url: str, on: str, *, whole: bool = True) -> Explanation:
    """Explain a callout that is not allowed; the fix allows the URL, or if not ``whole`` what begins with it."""
    sentence = f"The callout policy does not let '{printable(kind)}' call {printable(url)}."
    if not _KIND.fullmatch(kind) or not _PLAIN_URL.fullmatch(url):
        return Explanation("callout", sentence)
    pattern = f"^{re.escape(url)}{'$' if whole else ''}".replace("\\", "\\\\")
    payload = f'[{{"CalloutType": "{kind}", "CalloutUriRegex": "{pattern}", "CanCall": true}}]'
    command = f".alter-merge cluster policy callout {quoting.literal(payload)}"
    return Explanation("callout", sentence, cell(command, on))


def cell(command: str, on: str) -> tuple[str, ...]:
    """Give a command as the cell to run it in."""
    name = f" --on={word(on)}" if on else ""
    return (f"%%kqlmi{name}\n{command}",) if not name.endswith("=") else ()


def azure_role(identity: str, role: str, url: str) -> Explanation:
    """Tell that an Azure role is missing on a container, a hub, or a resource by its ID."""
    sentence = f"The identity lacks the Azure role {printable(role)} on {printable(url)}."
    scope = _azure_scope(url)
    if not scope or not _ROLE.fullmatch(role):
        return Explanation("azure role", sentence)
    who = identity if is_guid(identity) else "<object ID>"
    line = (
        f"az role assignment create --assignee-object-id {who} --assignee-principal-type ServicePrincipal "
        f'--role "{role}" --scope "{scope}"'
    )
    return Explanation("azure role", sentence, (line,))


def _azure_scope(url: str) -> str:
    """Give the scope of a container or hub, whose subscription and group are not known here, or of a resource ID."""
    if _RESOURCE.fullmatch(url):
        return url
    group = "/subscriptions/<subscription>/resourceGroups/<group>/providers"
    if not _PLAIN_URL.fullmatch(url):
        return ""
    if found := _STORAGE.match(url):
        account, container = found[1] or found[3], found[2]
        return f"{group}/Microsoft.Storage/storageAccounts/{account}/blobServices/default/containers/{container}"
    if url.startswith("sb://"):
        host, _, hub = url.removeprefix("sb://").partition("/")
        return f"{group}/Microsoft.EventHub/namespaces/{host.partition('.')[0]}/eventhubs/{hub}"
    return ""


def _reader(message: str, directory: Directory, on: str) -> Explanation | None:
    found = _READER.fullmatch(message)
    if not found:
        return None
    principal, database = found.groups()
    identity = principal.removeprefix("aadapp=").partition(";")[0]
    known = directory.named(identity)
    if known is None:
        return None  # a person, or an application
    command = f".add database {quoting.name(database)} viewers ({quoting.literal(principal)})"
    sentence = f"The managed identity {known} is no viewer of the database {printable(database)}."
    return Explanation("database role", sentence, cell(command, on))


def word(text: str) -> str:
    """Write the value of an option, which is a glob too, and cut at blanks outside quotes; empty if a line cannot hold it."""
    if not text.isprintable() or set(text) & set("*?[]") or {"'", '"'} <= set(text):
        return ""
    if re.fullmatch(r"[\w.-]+", text):
        return text
    return f'"{text}"' if '"' not in text else f"'{text}'"
