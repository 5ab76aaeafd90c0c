"""The access check for managed identities, made whenever storage is opened or a flow runs as one."""

from dataclasses import dataclass
from typing import Any

from kqlmi.local.state import callouts
from kqlmi.local.state.policies import Policy
from kqlmi.local.state.state import State
from kqlmi.local.values import identities
from kqlmi.local.values.faults import BAD_REQUEST, Inner, KustoError
from kqlmi.local.values.identities import Identity
from kqlmi.local.values.principals import Principal
from kqlmi.model.workflows import WORKFLOWS, Workflow

_WORKFLOWS = {workflow.id: workflow for workflow in WORKFLOWS}
_ALL = "All"
_OWN_WORDS = "(message of the local cluster; Azure's may differ)"
DISABLED = "Authentication with a Managed Identity is disabled for this flow"


@dataclass(frozen=True)
class Use:
    """An operation in a database for which access is checked.

    ``flow`` is the ID of a workflow; any other word is a flow that does not take a managed identity.
    ``principal`` is the caller for ``;impersonate``, or None if the flow has no caller.
    """

    flow: str
    database: str
    principal: Principal | None = None


def permit(state: State, use: Use, identity: str) -> Identity:
    """Return the managed identity with an object ID or ``system``, or raise if it is not allowed for this use."""
    workflow = _WORKFLOWS.get(use.flow)
    if workflow is None:
        raise disabled(use.flow, identity, use.database)
    found = identities.find(state.world.identities, identity)
    if found is None:
        raise _refused(use, identity, "assignment", _unassigned(state, identity))
    if not _allows(state.world.policy, found, workflow) and (
        workflow.cluster_only or not _allows(state.database(use.database).policy, found, workflow)
    ):
        raise _refused(use, identity, "grant", _ungranted(state, use, workflow, found))
    return found


def disabled(flow: str, identity: str, database: str = "") -> KustoError:
    """Return the error for a flow that does not take a managed identity, with the only published message."""
    return _refused(Use(flow, database), identity, "flow", DISABLED)


def permit_callout(state: State, use: Use, url: str) -> None:
    """Raise if the callout policy does not allow this flow to call a URL."""
    workflow = _WORKFLOWS.get(use.flow)
    kind = workflow.callout if workflow else ""
    if kind and not callouts.permits(state.world.callouts, kind, url):
        what = f"the callout policy of the cluster does not allow '{kind}' to call {url} {_OWN_WORDS}"
        raise _refused(use, "", "callout", what, {"calloutType": kind, "url": url})


def refuse_role(use: Use, identity: str, who: str, *, roles: tuple[str, ...], url: str) -> KustoError:
    """Return the error for a missing Azure role, which no policy of the cluster can grant."""
    what = f"the storage refuses {who}: the role {roles[0]} is required on {url} {_OWN_WORDS}"
    return _refused(use, identity, "azure role", what, {"roles": list(roles), "url": url})


def _allows(policy: Policy | None, identity: Identity, workflow: Workflow) -> bool:
    wanted = {workflow.usage, _ALL}
    return any(entry.identity.object_id == identity.object_id and wanted & set(entry.usages) for entry in policy or ())


def _unassigned(state: State, identity: str) -> str:
    for one in state.world.identities:
        if one.client_id.lower() == identity.strip().lower():
            hint = f"that is the client ID of '{one.display_name}', whose object ID is {one.object_id} {_OWN_WORDS}"
            return f"no managed identity with the object ID '{identity}' is assigned to this cluster; {hint}"
    return f"the managed identity '{identity}' is not assigned to this cluster {_OWN_WORDS}"


def _ungranted(state: State, use: Use, workflow: Workflow, identity: Identity) -> str:
    what = f"the managed identity '{identity.display_name}' ({identity.object_id}) may not be used for {workflow.usage}"
    database = state.database(use.database)
    if not workflow.cluster_only:
        return f"{what}: neither the policy of the cluster nor that of the database '{database.name}' allows it {_OWN_WORDS}"
    useless = ", and allowing it for a database has no effect" if _allows(database.policy, identity, workflow) else ""
    return f"{what}: the policy of the cluster does not allow it{useless} {_OWN_WORDS}"


def _refused(use: Use, identity: str, missing: str, what: str, more: dict[str, Any] | None = None) -> KustoError:
    """Return the error, with the missing prerequisite in ``details`` for programs."""
    workflow = _WORKFLOWS.get(use.flow)
    details: dict[str, Any] = {"missing": missing, "flow": use.flow, "identity": identity, "database": use.database}
    if workflow:
        scopes = ["cluster"] if workflow.cluster_only else ["cluster", "database"]
        details |= {"usage": workflow.usage, "scopes": scopes}
    code, type_name = _KINDS.get(missing, ("BadRequest", BAD_REQUEST))
    if missing == "azure role" and use.flow.startswith("ingest."):
        code = "Download_Forbidden"  # documented for ingestion
    inner = Inner(code, what, type_name, details | (more or {}))
    return KustoError(400, code, type_name, what, message="Access to an external resource was refused.", inner=inner)


# The only known names: an error code of ingestion, and an exception from a third party's comment.
_KINDS = {
    "assignment": ("BadRequest_InvalidManagedIdentity", BAD_REQUEST),
    "grant": ("BadRequest_InvalidManagedIdentity", "ManagedIdentityNotAllowedByPolicyException"),
}
