"""The gates of a flow: the conditions under which the service lets it use an identity."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import Identity, Scope
from kqlmi.model.explain import fixes
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.workflows import Workflow
from kqlmi.report import Code, Described, Report

Kind = Literal["flow", "assignment", "grant", "callout", "azure role", "kusto role", "database role", "endpoint"]
State = Literal["done", "not done", "not checked"]

_UNSEEN: Final = "kqlmi cannot check this"


@dataclass(frozen=True, slots=True)
class Gate(Described):
    """One gate, and whether it is open.

    ``fixes`` are the lines or two-line cells that open it, the narrowest first, or nothing if none can be written.
    ``reason`` is the part of the sentence that states why it is open or closed, if any. A gate that is not ``certain``
    to be closed was inferred from the command and the policies; another gate may be closed as well.
    """

    kind: Kind
    sentence: str
    fixes: tuple[str, ...] = ()
    state: State = "not done"
    certain: bool = True
    reason: str = ""

    def report(self) -> Report:
        """Return the gate with the lines that open it."""
        sentence = self.sentence if self.certain else f"Probably: {self.sentence}"
        return Report(sentence, blocks=tuple(Code(fix, "") for fix in self.fixes))


def gates(
    workflow: Workflow,
    identity: Identity,
    scope: Scope,
    snapshot: Snapshot,
    *,
    assigned: Collection[str] | None = None,
    targets: tuple[str, ...] = (),
    on: str = "",
) -> Iterator[Gate]:
    """Yield the gates of a flow in the order in which the service checks them.

    ``assigned`` are object IDs, or None if not known; ``targets`` are the resources that the flow reaches, the target of its
    callout first.
    """
    yield _assignment(identity, assigned)
    yield grant(workflow.usage, identity, scope, snapshot, on)
    if workflow.callout:
        target = next(iter(targets), "")
        sentence = f"the callout policy lets '{workflow.callout}' call {printable(target) or 'the target'}: {_UNSEEN}"
        # An artifact is a single file; other flows reach everything that begins with the URL.
        whole = workflow.callout == "sandbox_artifacts"
        bare = target.partition("?")[0]
        yield Gate("callout", sentence, fixes.callout(workflow.callout, bare, on, whole=whole), "not checked")
    sentence = f"the Azure role ({workflow.external}): {_UNSEEN}"
    yield Gate("azure role", sentence, tuple(_role_lines(workflow, identity.principal, targets)), "not checked")
    yield Gate("kusto role", f"the Kusto role ({workflow.kusto}): {_UNSEEN}", state="not checked")
    if workflow.usage == "AutomatedFlows" and "the identity itself" in workflow.kusto:
        sentence = f"the identity is a viewer of the {scope} and of every other database that the flow reads: {_UNSEEN}"
        principal = f"aadapp={identity.principal}{identity.tenant_id and f';{identity.tenant_id}'}"
        lines = fixes.viewer(principal, str(scope.name), on) if identity.principal else ()
        yield Gate("database role", sentence, lines, "not checked")


def _assignment(identity: Identity, assigned: Collection[str] | None) -> Gate:
    who = f"{identity} is assigned to the cluster"
    if assigned is None:
        sentence = f"{who}: not checked; to check it, connect with %kqlmi connect … --resource-id ID"
        return Gate("assignment", sentence, state="not checked")
    if identity.object_id in assigned:
        return Gate("assignment", f"{who}, according to Azure Resource Manager", state="done")
    return Gate("assignment", f"{who}: Azure Resource Manager does not list it")


def grant(usage: str, identity: Identity, scope: Scope, snapshot: Snapshot, on: str) -> Gate:
    """Return the gate that consists of the ManagedIdentity policies of the cluster and of a database."""
    found = access(snapshot, identity.object_id, usage, scope)
    state: State = "done" if found.allowed else "not checked" if found.allowed is None else "not done"
    sentence = f"a policy allows {usage} in the {scope}: {found.reason}"
    lines = () if found.allowed else fixes.grant(identity.object_id, usage, scope, on)
    return Gate("grant", sentence, lines, state, reason=found.reason)


def _role_lines(workflow: Workflow, principal: str, targets: tuple[str, ...]) -> Iterator[str]:
    """Yield the line that assigns the required role on each target."""
    roles = fixes.ROLE.findall(workflow.external)
    for target in targets:
        is_hub = "/microsoft.eventhub/" in target.casefold()
        # If a flow lists two roles of a kind, the first is for reading, and the second for writing or deleting the source.
        role = next((one for one in roles if ("Event Hubs" in one) == is_hub), "")
        yield from fixes.azure_role(principal, role, target)
