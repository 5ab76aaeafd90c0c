"""Plans for changes through Azure Resource Manager."""

import re
from typing import TYPE_CHECKING, Final

from kqlmi.errors import InputError
from kqlmi.model.audit.findings import Facts
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.azure.connectionplan import FLOW, ConnectionPlan, Stream
from kqlmi.model.entities import SYSTEM, Identity, Scope
from kqlmi.model.policy.directory import Directory
from kqlmi.model.uses.needs import Discovery
from kqlmi.session.core import Core, database_name, know
from kqlmi.session.observation import Subject, observe
from kqlmi.session.policies import database_scope, read
from kqlmi.session.resource_manager import Azure, resource_of

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource

# Any other character would change the path of the request's URL.
_NAME: Final = re.compile(r"[^/\\?#%\x00-\x1f\x7f]+")


def assign(core: Core, identity: str) -> AssignmentPlan:
    """Return the plan that assigns an identity to the cluster. The identities already assigned stay."""
    from kqlmi.arm import identities

    resource = resource_of(core)
    now = identities.read(resource)
    is_system = core.known.directory.key(identity) == SYSTEM
    who = Identity(SYSTEM, is_system=True) if is_system else _in_azure(resource, identity.strip())
    know(core, core.known.directory.learning([who]))
    return AssignmentPlan(core.name, resource.resource_id, "assign", who, now.block)


def _in_azure(resource: "ClusterResource", text: str) -> Identity:
    """Return the user-assigned identity that ``text`` names. The cluster's resource group takes precedence."""
    from kqlmi.arm import identities

    if one := identities.get(resource, text):
        return one
    directory = Directory().learning(identities.in_subscription(resource))
    if directory.find(text):
        return directory.resolve(text)
    hint = directory.hint(text) if directory.identities else "Pass its resource ID."
    raise InputError(f"User-assigned identity {text!r} is not in the cluster's subscription.", hint=hint)


def unassign(core: Core, identity: str) -> AssignmentPlan:
    """Return the plan that unassigns an identity from the cluster. The others stay."""
    from kqlmi.arm import identities

    resource = resource_of(core)
    now = identities.read(resource)
    return AssignmentPlan(
        core.name, resource.resource_id, "unassign", _assigned(core, now.identities, identity), now.block
    )


def _assigned(core: Core, known: tuple[Identity, ...], text: str) -> Identity:
    directory = Directory().assigning(known)
    if directory.find(text) and directory.state((one := directory.resolve(text)).object_id) == "assigned":
        return one
    raise InputError(
        f"Identity {text!r} is not assigned to {core.name}.",
        hint=directory.hint(text) if known else "No identities are assigned.",
    )


def connect_eventhub(core: Core, name: str, stream: Stream, *, identity: str, database: str) -> ConnectionPlan:
    """Return the plan for a data connection that ingests the events of an event hub into a table."""
    from kqlmi.arm import identities

    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a valid name for a data connection.", hint="Use a name without / \\ ? # and %."
        )
    resource = resource_of(core)
    scope = database_scope(core, database_name(core, database))
    now = identities.read(resource)
    who = _assigned(core, now.identities, identity)
    facts = Facts.of(read(core, [Scope.cluster(), scope]).snapshot, Discovery(), now.identities)
    subject = Subject(FLOW, who, scope, (stream.hub,))
    observed = observe(core, Azure(now.identities, outbound=now.outbound), subject)
    found = subject.gates(facts.live, observed, core.name)
    return ConnectionPlan(core.name, resource.resource_id, now.location, str(scope.name), name, stream, who, found)
