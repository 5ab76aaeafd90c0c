"""Explanations of refusals, actual or predicted: the gate that is closed, and the narrowest line that opens it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kqlmi.errors import printable
from kqlmi.model.catalogue import USAGE_TAGS
from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.explain import fixes
from kqlmi.model.explain.gates import Gate, checklist, gates
from kqlmi.model.explain.holders import holder
from kqlmi.model.explain.observations import NOTHING, Observations, Unread
from kqlmi.model.explain.published import DISABLED, ROWS
from kqlmi.model.explain.refusals import Published, copied, find
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import Access, access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.uses.documents import POLICY_ENTRY
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW
from kqlmi.model.uses.references import Reference
from kqlmi.report import YES_NO, Described, Line, Report, Rows, Section, counted

_CLOSED: Final = {
    "assignment": "The managed identity {who} is not assigned to the cluster",
    "grant": "The managed identity {who} may not be used for {usage} in the {scope}",
    "callout": "The callout policy does not allow {target}",
    "azure role": "The managed identity {who} lacks its Azure role on {target}",
}
_FQN: Final = re.compile(r"\w+=[\w.@#-]+(?:;[\w.-]+)?")


@dataclass(frozen=True, slots=True, repr=False)
class Verdict(Described):
    """A use of an identity in a command or query, and whether it would be allowed."""

    reference: Reference
    access: Access
    scope: Scope

    def report(self) -> Report:
        """Return whether the use would be allowed, with the reason, and what the flow also requires."""
        found, row = self.access.report(), self.reference.workflow
        flow, who = row.title if row else self.reference.flow, self.reference.identity or "an unknown identity"
        return Report(
            f"{found.title}: {flow} with {who} in the {self.scope}", found.verdict, tuple(map(Line, self.needs))
        )

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


class Verdicts(Described, tuple[Verdict, ...]):
    """The verdicts on the uses of identities in one text, as a tuple."""

    __slots__ = ()

    def report(self) -> Report:
        """Return the number of uses and of those that would be allowed, and the report of each use."""
        allowed = sum(one.access.allowed is True for one in self)
        found = (one.report() for one in self)
        sections = (Section(one.title, (Line(one.verdict), *one.blocks)) for one in found)
        return Report(
            counted(len(self), "use of an identity", "uses of identities"), f"{allowed:,} allowed", tuple(sections)
        )


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


@dataclass(frozen=True, slots=True, repr=False)
class Explained(Described):
    """A refusal as it is explained: the row of the catalogue, and the gates that it can mean, each with its state.

    ``gates`` is empty if the refusal is not about an identity. ``note`` is a sentence about a principal that is not an identity
    of the cluster, with the line that helps it.
    """

    published: Published | None = None
    gates: tuple[Gate, ...] = ()
    note: Gate | None = None

    @property
    def closed(self) -> Gate | None:
        """Return the first gate that is seen closed, or None."""
        return next((one for one in self.gates if one.state == "not done"), None)

    def report(self) -> Report:
        """Return the closed gate and the lines that open it, else the candidates as such, and what the catalogue knows."""
        row, closed = self.published, self.closed
        others = tuple(one for one in self.gates if one is not closed)
        seen = Section("It can also mean" if closed else "It can mean", checklist(others))
        is_plain = row is None or (closed and row.sure == "local cluster")
        known = (
            () if is_plain or row is None else (Section(f"{row.id} in the reference of refusals", tuple(row.lines)),)
        )
        if closed:
            found = closed.report()
        elif self.note:
            found = self.note.report()
        elif others:
            found = Report("No gate of an identity is seen closed.")
        elif row and row.gates:
            found = Report(f"The cause can be: {', '.join(row.gates)}. Which one was not determined.")
        else:
            found = Report("The reason does not seem to be an identity.")
        return replace(found, blocks=(*found.blocks, *([seen] if others else []), *known))


def from_refusal(
    error: Mapping[str, Any],
    details: Mapping[str, Any],
    verdicts: tuple[Verdict, ...],
    evidence: Callable[[Verdict], Iterable[Gate]],
    on: str = "",
    *,
    known: Directory,
) -> Explained:
    """Return what a cluster's error can mean, by the catalogue, and what was read about each gate.

    ``error`` has ``message``, ``code`` and ``type_name``; ``details`` are the fields that a local cluster adds;
    ``evidence`` returns the gates of a use of an identity; ``on`` is the name of the connection, which the fixes specify so
    that they change this cluster and no other.
    """
    row = find(error, ROWS)
    fields = (row and row.found(error["message"])) or {}
    if stated := _from_details(details, on) or (_stated(row, fields, on) if row and row.gates else None):
        return Explained(row, (stated,))
    if row is None or not row.gates:
        return Explained(row)
    if "principal" in fields:
        return _principal(row, fields, known, on)
    return weighed(row, verdicts, evidence)


def from_text(text: str, on: str = "", *, known: Directory) -> Explained:
    """Return what an error of which only the text is known can mean; see ``from_refusal``."""
    return from_refusal(copied(text, ROWS), {}, (), lambda _: (), on, known=known)


def weighed(row: Published, verdicts: tuple[Verdict, ...], evidence: Callable[[Verdict], Iterable[Gate]]) -> Explained:
    """Return the gates that a refusal can mean, in the order of its row, for the uses of identities in the statement."""
    seen = tuple(one for verdict in verdicts for one in evidence(verdict))
    ordered = sorted((one for one in seen if one.kind in row.gates), key=lambda one: row.gates.index(one.kind))
    found = Explained(row, tuple(dict.fromkeys(replace(one, certain=False) for one in ordered)))
    if row.proves and found.closed:
        return Explained(row, (replace(found.closed, certain=True),))
    return found


def _stated(row: Published, fields: Mapping[str, str], on: str) -> Gate | None:
    """Return the gate that a text names by itself: the fields that it contains, or what it says about every statement."""
    kind = row.gates[0]
    if kind in {"flow", "script", "spelling"}:
        return Gate(kind, row.cause)
    if row.sure != "local cluster":
        return None
    scopes = [] if "database" in fields else ["cluster"]
    roles = [fields["role"]] if "role" in fields else []
    return _from_details({"missing": kind, "database": "", **fields, "scopes": scopes, "roles": roles}, on)


def evidence(
    verdict: Verdict, snapshot: Snapshot, known: Directory, *, observed: Observations = NOTHING, on: str = ""
) -> Iterator[Gate]:
    """Yield the gates of a use of an identity, each open, closed or not checked, by what was read."""
    reference = verdict.reference
    if reference.workflow is None:
        return
    key = holder(reference, known)
    if isinstance(key, Access):
        # It is written by another kind of ID, or by none.
        yield from [Gate("assignment", f"{key.reason}.")] if key.allowed is False else []
        return
    if isinstance(observed.assigned, Unread) and known.assigned is not None:
        observed = replace(observed, assigned=known.assigned)
    targets = (reference.target,) if reference.target else ()
    identity = known.named(key) or Identity(key)
    for gate in gates(reference.workflow, identity, verdict.scope, snapshot, observed=observed, targets=targets, on=on):
        what = _CLOSED.get(gate.kind, "") if gate.state == "not done" else ""
        yield replace(gate, sentence=_sentence(what, gate, verdict, str(identity))) if what else gate


def _sentence(what: str, gate: Gate, verdict: Verdict, identity: str) -> str:
    row = verdict.reference.workflow
    usage, target = row.usage if row else "", printable(verdict.reference.target)
    return f"{what.format(who=identity, usage=usage, scope=verdict.scope, target=target)}: {gate.reason}."


def _principal(row: Published, fields: Mapping[str, str], known: Directory, on: str) -> Explained:
    """Return the gate of an identity that a refusal names, or a note about another principal that it names."""
    principal = fields["principal"]
    kind, _, rest = principal.rpartition("=")
    named = known.named(rest.partition(";")[0]) if kind.casefold() in {"", "aadapp", "aadobject"} else None
    database = fields.get("database", "")
    what = f"is not a viewer of the database {printable(database)}"
    if not database:
        what = f"lacks the Kusto role for {printable(fields.get('operation', 'the operation'))}"
    safe = _FQN.fullmatch(principal)
    lines = fixes.viewer(principal, database, on) if database and safe else ()
    if named is None:
        who = "a user or group" if kind.casefold() in {"aaduser", "aadgroup", "msauser"} else "no known identity"
        request = f"{printable(principal)} {what}. It is {who} of this cluster's policies, so no policy helps."
        return Explained(row, note=Gate(row.gates[0], request, lines))
    return Explained(row, (Gate(row.gates[0], f"The managed identity {named} {what}.", lines),))


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


def _from_details(details: Mapping[str, Any], on: str) -> Gate | None:
    """Return the gate that a local cluster's details specify, or None if they have another form."""
    identity = details["identity"] if isinstance(details.get("identity"), str) else ""
    match details:
        case {"missing": "flow"}:
            return Gate("flow", "This flow does not support managed identities.")
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
