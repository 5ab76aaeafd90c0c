"""The checklist of a template: every gate of its flow, open, closed, or not to be seen from here."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import Scope
from kqlmi.model.explain.explanation import azure_role, callout, cell, grant_lines, word
from kqlmi.model.kql import quoting
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.templates.forms import Form
from kqlmi.model.templates.values import Place, Values

State = Literal["done", "not done", "not checked"]
Gate = Literal["assignment", "grant", "callout", "azure role", "kusto role", "database role", "endpoint"]

MARKS: Final[dict[State, str]] = {"done": "[x]", "not done": "[ ]", "not checked": "[?]"}
_UNSEEN: Final = "not checked from here"
_ROLE: Final = re.compile(r"(?:Storage Blob|Azure Event Hubs) Data \w+")


@dataclass(frozen=True, slots=True)
class Item:
    """One gate: ``lines`` open it, each a line to run or a cell of two lines; none where none can be written."""

    gate: Gate
    state: State
    says: str
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = () if self.state == "done" else self.lines
        below = (f"      {part}" for line in shown for part in line.splitlines())
        return "\n".join([f"{MARKS[self.state]} {self.says}", *below])


def items(
    form: Form, values: Values, place: Place, snapshot: Snapshot, assigned: Collection[str] | None
) -> Iterator[Item]:
    """Give the gates of a flow in the order in which the service asks; ``assigned`` are object IDs, None if not known."""
    workflow = form.workflow
    yield _assignment(values, assigned)
    yield _grant(workflow.usage, values, snapshot, place.on)
    target = values["uri"] or values["server"]
    if workflow.callout:
        says = f"the callout policy lets '{workflow.callout}' call {printable(target) or 'the target'}: {_UNSEEN}"
        # An artifact is one file; anything else is what the URL begins with.
        whole = workflow.callout == "sandbox_artifacts"
        bare = target.partition("?")[0]
        yield Item("callout", "not checked", says, callout(workflow.callout, bare, place.on, whole=whole).fixes)
    yield from _azure_roles(workflow.external, values)
    yield Item("kusto role", "not checked", f"the Kusto role ({workflow.kusto}): {_UNSEEN}")
    if workflow.usage == "AutomatedFlows" and "MI" in workflow.kusto:
        yield _viewer(values, place.on)
    if form.is_ingestion:
        yield _endpoint(values, place)


def _assignment(values: Values, assigned: Collection[str] | None) -> Item:
    who = f"{values.identity} is assigned to the cluster"
    if assigned is None:
        says = f"{who}: {_UNSEEN}; %kqlmi connect … --resource-id lets Azure Resource Manager tell"
        return Item("assignment", "not checked", says)
    if values.identity.object_id in assigned:
        return Item("assignment", "done", f"{who}, by Azure Resource Manager")
    return Item("assignment", "not done", f"{who}: Azure Resource Manager does not list it")


def _grant(usage: str, values: Values, snapshot: Snapshot, on: str) -> Item:
    scope, identity = Scope.database(values.database), values.identity.object_id
    found = access(snapshot, identity, usage, scope)
    says = f"a policy allows {usage} in the {scope}: {found.reason}"
    state: State = "done" if found.allowed else "not checked" if found.allowed is None else "not done"
    return Item("grant", state, says, () if found.allowed else grant_lines(identity, usage, scope, on))


def _azure_roles(external: str, values: Values) -> Iterator[Item]:
    """Give the roles on the target, each with the line of the Azure CLI that assigns it."""
    storage = [values[name] for name in ("uri", "storage") if values[name]]
    hubs = [values["hub"]] if values["hub"] else []
    lines: list[str] = []
    for role in dict.fromkeys(_ROLE.findall(external)):
        targets = hubs if "Event Hubs" in role else storage
        lines += [line for target in targets for line in azure_role(values.principal_id, role, target).fixes]
    # A flow that reads or writes names both roles, and one that deletes the source names the second for that.
    many = len(storage) + len(hubs)
    yield Item("azure role", "not checked", f"the Azure role ({external}): {_UNSEEN}", tuple(lines[:many]))


def _viewer(values: Values, on: str) -> Item:
    says = f"the identity is a viewer of the {Scope.database(values.database)}, and of others that are read: {_UNSEEN}"
    if not values.principal_id:
        return Item("database role", "not checked", says)
    tenant = f";{values.identity.tenant_id}" if values.identity.tenant_id else ""
    principal = quoting.literal(f"aadapp={values.principal_id}{tenant}")
    command = f".add database {quoting.name(values.database)} viewers ({principal})"
    return Item("database role", "not checked", says, cell(command, on))


def _endpoint(values: Values, place: Place) -> Item:
    """Tell whether the session is at the ingestion endpoint, where the command must run."""
    wanted = values["ingest_uri"] or place.ingest_uri
    if wanted and place.url.rstrip("/") == wanted.rstrip("/"):
        return Item("endpoint", "done", f"the session is at the ingestion endpoint, {wanted}")
    says = (
        f"the command runs at the ingestion endpoint, {wanted or 'https://ingest-<cluster>.<region>.kusto.windows.net'}"
    )
    database = word(values.database)
    more = f" --database={database}" if database else ""
    return Item("endpoint", "not done", says, (f"%kqlmi connect {wanted}{more}",) if wanted else ())
