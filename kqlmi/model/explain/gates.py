"""The gates of a flow: the conditions under which the service lets it use an identity."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from kqlmi.errors import printable
from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.explain import fixes
from kqlmi.model.explain.observations import NOTHING, UNSEEN, Observations, Outbound, RolesOn, Rule, Unread
from kqlmi.model.explain.roles import HeldRole, suffices
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.workflows import Workflow
from kqlmi.report import Block, Code, Described, Line, Report

Kind = Literal[
    "flow", "assignment", "grant", "plugin", "network", "callout", "azure role", "kusto role", "database role", "endpoint",
    "probe", "script", "spelling",
]  # fmt: skip
State = Literal["done", "not done", "not checked"]

_STATES: Final[Mapping[bool | None, State]] = {True: "done", False: "not done", None: "not checked"}
_INCLUDED: Final[Mapping[str, tuple[str, ...]]] = {
    "Storage Blob Data Reader": ("Storage Blob Data Contributor", "Storage Blob Data Owner"),
    "Storage Blob Data Contributor": ("Storage Blob Data Owner",),
    "Azure Event Hubs Data Receiver": ("Azure Event Hubs Data Owner",),
}
"""The roles that include each role."""

_NO_ADDRESS: Final = "to check it, pass the address of the target (--uri, --server, --storage or --hub)"

_Found = tuple[bool | None, str]
"""Whether a gate is open, and why."""


@dataclass(frozen=True, slots=True, repr=False)
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
    observed: Observations = NOTHING,
    targets: tuple[str, ...] = (),
    entity: str = "",
    on: str = "",
) -> Iterator[Gate]:
    """Yield the gates of a flow in the order in which the service checks them.

    ``targets`` are the resources that the flow reaches, the target of its callout first; ``entity`` is the table whose roles
    suffice.
    """
    yield assignment(identity, observed.assigned, on)
    yield grant(workflow.usage, identity, scope, snapshot, on)
    target = next(iter(targets), "")
    if workflow.plugin:
        is_enabled = _plugin(workflow.plugin, observed.plugins)
        lines = fixes.enable(workflow.plugin, on) if is_enabled[0] is False else ()
        yield _gate("plugin", f"the plugin {workflow.plugin} is enabled", is_enabled, lines)
    if workflow.callout or "//" in target:
        sentence = f"the network of the cluster lets it reach {printable(target) or 'the target'}"
        yield _gate("network", sentence, _network(target, observed.outbound))
    if workflow.callout:
        yield _callout(workflow.callout, target, observed.callouts, on)
    yield from _azure_roles(workflow, identity.principal, targets, observed.targets)
    yield _caller(workflow, scope, entity, observed, on)
    if workflow.reads_as_identity:
        sentence = f"the identity is a viewer of the {scope}"
        principal = f"aadapp={identity.principal}{identity.tenant_id and f';{identity.tenant_id}'}"
        lines = fixes.viewer(principal, str(scope.name), on) if identity.principal else ()
        yield _gate("database role", sentence, _suffices(observed.identity, "database viewers", scope), lines)


def checklist(found: Iterable[Gate]) -> tuple[Block, ...]:
    """Return gates for display, each with its mark and the lines that open it."""
    return tuple(block for gate in found for block in (Line(gate.sentence, gate.state), *gate.report().blocks))


def _gate(kind: Kind, sentence: str, found: _Found, lines: tuple[str, ...] = ()) -> Gate:
    is_open, why = found
    return Gate(kind, f"{sentence}: {why}", () if is_open else lines, _STATES[is_open], reason=why)


def assignment(identity: Identity, assigned: Collection[str] | Unread, on: str) -> Gate:
    """Return the gate that consists of the identities that are assigned to the cluster."""
    sentence = f"{identity} is assigned to the cluster"
    if isinstance(assigned, Unread):
        return _gate("assignment", sentence, (None, assigned.why))
    if identity.object_id in assigned:
        return Gate("assignment", f"{sentence}, according to Azure Resource Manager", state="done")
    name = identity.object_id if identity.object_id == SYSTEM else identity.display_name
    lines = (fixes.assign(name, on),) if fixes.is_plain(name) else ()
    return _gate("assignment", sentence, (False, "Azure Resource Manager does not list it"), lines)


def grant(usage: str, identity: Identity, scope: Scope, snapshot: Snapshot, on: str) -> Gate:
    """Return the gate that consists of the ManagedIdentity policies of the cluster and of a database."""
    found = access(snapshot, identity.object_id, usage, scope)
    lines = fixes.grant(identity.object_id, usage, scope, on)
    return _gate("grant", f"a policy allows {usage} in the {scope}", (found.allowed, found.reason), lines)


def _plugin(name: str, plugins: Mapping[str, bool] | Unread) -> _Found:
    if isinstance(plugins, Unread):
        return None, plugins.why
    if name not in plugins:
        return None, ".show plugins does not list it"
    return plugins[name], f".show plugins lists it as {'enabled' if plugins[name] else 'disabled'}"


def _network(target: str, outbound: Outbound | Unread) -> _Found:
    """Return whether a cluster's outbound access to a target is not restricted; a private endpoint is not considered."""
    if isinstance(outbound, Unread):
        return None, outbound.why
    if not outbound.is_restricted:
        return True, "its outbound access is not restricted"
    host = (urlsplit(target).hostname or target).casefold()
    if not outbound.hosts or not host:
        return None, "its outbound access is restricted in Azure, by rules that kqlmi does not read"
    if host in {one.casefold() for one in outbound.hosts}:
        return True, f"its outbound access is restricted, and allowedFqdnList contains {printable(host)}"
    return False, f"its outbound access is restricted, and allowedFqdnList does not contain {printable(host)}"


def _callout(kind: str, target: str, rules: tuple[Rule, ...] | Unread, on: str) -> Gate:
    sentence = f"the callout policy lets '{kind}' call {printable(target) or 'the target'}"
    if isinstance(rules, tuple) and (denied := next((one for one in rules if not one.allows), None)):
        why = f"the rule {printable(denied.pattern)} denies it, whatever other rules allow"
        return _gate("callout", sentence, (False, why))
    # An artifact is a single file; other flows reach everything that begins with the URL.
    lines = fixes.callout(kind, target.partition("?")[0], on, whole=kind == "sandbox_artifacts")
    if isinstance(rules, Unread):
        return _gate("callout", sentence, (None, rules.why if target else _NO_ADDRESS), lines)
    allowed = f"the rule {printable(rules[0].pattern)} allows it" if rules else "no rule allows it"
    return _gate("callout", sentence, (bool(rules), allowed), lines)


def _azure_roles(
    workflow: Workflow, principal: str, targets: tuple[str, ...], found: Mapping[str, RolesOn | Unread]
) -> Iterator[Gate]:
    """Yield a gate for each role and each target that needs it."""
    sentence = f"the Azure role ({workflow.external})"
    # If a flow lists two roles of a kind, the first is for reading, and the second for writing or deleting the source.
    roles = {"Event Hubs" in one: one for one in reversed(fixes.ROLE.findall(workflow.external))}
    if not roles:
        where = f" on {printable(targets[0])}" if targets else ""
        yield _gate("azure role", f"{sentence}{where}", (None, UNSEEN.why))
    for is_hub, role in sorted(roles.items()):
        own = [one for one in targets if ("/microsoft.eventhub/" in one.casefold()) == is_hub]
        if not own:
            yield _gate("azure role", f"{sentence}: {role}", (None, _NO_ADDRESS))
        for target in own:
            on, lines = found.get(target, UNSEEN), fixes.azure_role(principal, role, target)
            if isinstance(on, Unread):
                yield _gate("azure role", f"{sentence} on {printable(target)}", (None, on.why), lines)
                continue
            held = next((one for one in (role, *_INCLUDED[role]) if one in on.roles), "")
            why = f"it has {held}" if held else f"Azure Resource Manager lists no {role} for it there"
            lines = fixes.azure_role(principal, role, on.resource_id)
            yield _gate("azure role", f"{sentence} on {printable(target)}", (bool(held), why), lines)


def _caller(workflow: Workflow, scope: Scope, entity: str, observed: Observations, on: str) -> Gate:
    sentence = f"your Kusto role ({workflow.kusto})" if workflow.caller else f"your role ({workflow.kusto})"
    if not workflow.caller:
        if isinstance(observed.manages, Unread):
            return _gate("kusto role", sentence, (None, observed.manages.why))
        why = f"Azure Resource Manager {'lets' if observed.manages else 'does not let'} you change the cluster"
        return _gate("kusto role", sentence, (observed.manages, why))
    is_database = workflow.caller.startswith("database ")
    name = str(scope.name) if is_database else entity
    lines = fixes.add_role(workflow.caller, name, observed.fqn, on, str(scope.name)) if name and observed.fqn else ()
    return _gate("kusto role", sentence, _suffices(observed.caller, workflow.caller, scope, entity), lines)


def _suffices(roles: tuple[HeldRole, ...] | Unread, needed: str, scope: Scope, entity: str = "") -> _Found:
    return (None, roles.why) if isinstance(roles, Unread) else suffices(roles, needed, str(scope.name), entity)
