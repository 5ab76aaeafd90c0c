"""Changes in Azure Resource Manager, planned and carried out over a session; its functions are methods of ``Session``."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kqlmi.errors import InputError, KqlmiError
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.azure.connectionplan import ConnectionPlan
from kqlmi.model.azure.dataconnections import USAGE
from kqlmi.model.entities import SYSTEM, Identity, Scope, did_you_mean
from kqlmi.model.plan.impact import Impact, unassigning
from kqlmi.model.policy.access import access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.uses.blobs import EVENT_FORMATS
from kqlmi.model.uses.needs import Discovery
from kqlmi.session.azure import resource_of

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource
    from kqlmi.session.session import Session

AzurePlan = AssignmentPlan | ConnectionPlan

# What would be another place in the request's URL.
_NAME: Final = re.compile(r"[^/\\?#%\x00-\x1f\x7f]+")
_HUB: Final = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/Microsoft\.EventHub/namespaces/[^/\s]+/eventhubs/[^/\s]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Done:
    """A plan that went through: what it wants was found there afterwards."""

    plan: AzurePlan

    def __str__(self) -> str:
        told = f"Done and verified on {self.plan.cluster}: {self.plan.summary}."
        return f"{told} %kqlmi undo does not take it back, this does: {self.plan.back}" if self.plan.back else told


def assign(session: "Session", identity: str) -> AssignmentPlan:
    """Give the plan that assigns an identity to the cluster, with all that are assigned already.

    Args:
        session: The session.
        identity: ``system``, or a user-assigned identity by its resource ID, or by its name, object ID or client ID in
            the cluster's subscription.

    Raises:
        InputError: There is no such identity, or the session does not know the cluster's resource ID.
        ResourceManagerError: What is assigned may not be read, or the identity.
    """
    from kqlmi.arm import identities

    resource = resource_of(session)
    now = identities.read(resource)
    is_system = session.met.directory.key(identity) == SYSTEM
    who = Identity(SYSTEM, is_system=True) if is_system else _in_azure(resource, identity.strip())
    session.know(session.met.directory.learning([who]))
    return AssignmentPlan(session.name, resource.resource_id, "assign", who, now.block)


def _in_azure(resource: "ClusterResource", text: str) -> Identity:
    """Return the user-assigned identity that ``text`` names; of several, that of the cluster's own resource group."""
    from kqlmi.arm import identities

    if one := identities.get(resource, text):
        return one
    directory = Directory().learning(identities.in_subscription(resource))
    if directory.find(text):
        return directory.resolve(text)
    hint = directory.hint(text) if directory.identities else "Give its resource ID."
    raise InputError(f"There is no user-assigned identity {text!r} in the cluster's subscription.", hint=hint)


def unassign(session: "Session", identity: str) -> AssignmentPlan:
    """Give the plan that takes an identity from the cluster; the others stay.

    Args:
        session: The session.
        identity: ``system``, or a user-assigned one by resource ID, name, object ID or client ID.

    Raises:
        InputError: It is not assigned, or the session does not know the cluster's resource ID.
        ResourceManagerError: What is assigned may not be read.
    """
    from kqlmi.arm import identities

    resource = resource_of(session)
    now = identities.read(resource)
    return AssignmentPlan(
        session.name, resource.resource_id, "unassign", _assigned(session, now.identities, identity), now.block
    )


def _assigned(session: "Session", known: tuple[Identity, ...], text: str) -> Identity:
    """Return the assigned identity that ``text`` names."""
    directory = Directory().assigning(known)
    if directory.find(text) and directory.state((one := directory.resolve(text)).object_id) == "assigned":
        return one
    raise InputError(
        f"No identity {text!r} is assigned to {session.name}.",
        hint=directory.hint(text) if known else "None is assigned.",
    )


def impact_of(session: "Session", plan: AzurePlan) -> Impact:
    """Give what stops where a plan unassigns an identity; what cannot be read is said, and never fails the plan."""
    if not isinstance(plan, AssignmentPlan) or not plan.revokes:
        return Impact()
    try:
        from kqlmi.arm import identities

        read, known = session.read(), identities.read(resource_of(session)).identities
        facts = Facts.of(read.snapshot, session.discover(), known)
        found = unassigning(str(plan.identity.object_id), plan.who, facts.live, facts.discovery)
    except KqlmiError as error:
        return Impact(unknown=(f"what would stop, because {error.message}",))
    refused = (
        f"whether the policy of the {scope} names {plan.who}, because {error.message}"
        for scope, error in read.refused.items()
    )
    return replace(found, unknown=(*found.unknown, *refused))


def connect_hub(
    session: "Session",
    name: str,
    *,
    hub: str,
    table: str,
    identity: str,
    database: str = "",
    consumer_group: str = "$Default",
    data_format: str = "",
    mapping: str = "",
) -> ConnectionPlan:
    """Give the plan for a data connection that receives an event hub's events into a table, as an identity.

    Args:
        session: The session.
        name: The name of the data connection, which must be new.
        hub: The event hub's resource ID.
        table: The table, in ``database`` (by default the one in context).
        identity: An assigned identity: ``system``, or its name, resource ID, object ID or client ID.
        database: The database.
        consumer_group: The hub's consumer group.
        data_format: The format of the events, such as ``json``; the service's own default where it is not said.
        mapping: The name of an ingestion mapping of the table.

    Raises:
        InputError: The database, the hub's resource ID or the identity is wrong.
        ResourceManagerError: What is assigned may not be read.
    """
    from kqlmi.arm import identities

    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name of a data connection.", hint="Write a name without / \\ ? # and %.")
    if data_format and data_format.casefold() not in EVENT_FORMATS:
        raise InputError(f"There is no data format {data_format!r}.", hint=did_you_mean(data_format, EVENT_FORMATS))
    if not _HUB.fullmatch(hub):
        raise InputError(
            f"{hub!r} is not the resource ID of an event hub.",
            hint="Write /subscriptions/…/providers/Microsoft.EventHub/namespaces/…/eventhubs/…",
        )
    resource = resource_of(session)
    if not (database or session.database):
        raise InputError("No database is said.", hint="Say --database NAME.")
    scope = session.database_scope(database or session.database)
    now = identities.read(resource)
    who = _assigned(session, now.identities, identity)
    facts = Facts.of(session.read([Scope.cluster(), scope]).snapshot, Discovery(), now.identities)
    return ConnectionPlan(
        session.name,
        resource.resource_id,
        now.location,
        str(scope.name),
        name,
        hub,
        consumer_group,
        table,
        who,
        resource.resource_id if who.object_id == SYSTEM else who.resource_id,
        access(facts.live, str(who.object_id), USAGE, scope),
        data_format,
        mapping,
    )


def carry_out(
    session: "Session",
    plan: AzurePlan,
    *,
    confirm: str = "",
    deadline: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Done:
    """Carry out exactly ``plan``, within ``deadline`` seconds, and verify it; no history entry is made.

    Args:
        session: The session.
        plan: What was shown.
        confirm: The cluster's name, where the plan cannot be taken back.
        deadline: How long the operation is followed; 15 minutes by default.
        tell: Called with a sentence as the operation goes on.

    Raises:
        InputError: The session is read-only, or the cluster's name is not the one to confirm.
        ApplyError: It did not go through; the error's ``outcome`` says whether anything changed.
    """
    from kqlmi.arm import assignments, dataconnections, operations

    if session.read_only:
        raise InputError(f"The session on {session.name} is read-only.", hint="Connect without read_only to write.")
    if plan.cluster != session.name:
        raise InputError(f"The plan was made for {plan.cluster}, and this session is on {session.name}.")
    if confirm.casefold() != plan.confirm.casefold() and plan.confirm:
        raise InputError(
            f"Plan {plan.short} cannot be undone, and wants the name of the cluster to confirm it.",
            hint="The name is the last part of the cluster's resource ID.",
        )
    if not plan.steps:
        return Done(plan)
    resource, limit = resource_of(session), operations.DEADLINE if deadline is None else deadline
    lost = min(operations.LOST, limit)
    if isinstance(plan, AssignmentPlan):
        session.know(session.met.directory.unsure_of_assigned())
        assignments.apply(resource, plan, deadline=limit, lost=lost, tell=tell)
    else:
        dataconnections.apply(resource, plan, deadline=limit, lost=lost, tell=tell)
    return Done(plan)
