"""The plan for a data connection that receives the events of an event hub."""

import json
from dataclasses import dataclass
from typing import Any

from kqlmi.errors import printable
from kqlmi.model.entities import Identity, Scope
from kqlmi.model.explain import fixes
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.access import Access
from kqlmi.model.workflows import WORKFLOWS

_FLOW = next(row for row in WORKFLOWS if row.id == "dataconnection.eventhub")


@dataclass(frozen=True, slots=True)
class ConnectionPlan(Plan):
    """A data connection to create, of which there must be none by that name before.

    ``cluster`` is the session's name, ``resource_id`` the cluster's. ``by`` is the resource ID that stands for the
    identity: its own, or the cluster's for the system identity. ``allowed`` is what the policies say of it.
    """

    cluster: str
    resource_id: str
    location: str
    database: str
    name: str
    hub: str
    consumer_group: str
    table: str
    identity: Identity
    by: str
    allowed: Access
    data_format: str = ""
    mapping: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """Give the body of the request, exactly as it is sent; azure-mgmt-kusto 4.0.0 would leave out ``kind``."""
        properties = {
            "eventHubResourceId": self.hub,
            "consumerGroup": self.consumer_group,
            "tableName": self.table,
            "dataFormat": self.data_format.upper(),
            "mappingRuleName": self.mapping,
            "managedIdentityResourceId": self.by,
        }
        filled = {name: value for name, value in properties.items() if value}
        return {"kind": "EventHub", "location": self.location, "properties": filled}

    @property
    def steps(self) -> tuple[str, ...]:
        """Give the request that is sent."""
        return (f"PUT {self.resource_id}/databases/{self.database}/dataConnections/{self.name}",)

    @property
    def content(self) -> list[Any]:
        """Return everything that the plan does."""
        return [self.cluster, *self.steps, self.body]

    @property
    def summary(self) -> str:
        """Give the change on one line."""
        return f"create the data connection {printable(self.name)} in the database {printable(self.database)}"

    @property
    def grant(self) -> str:
        """Give the line that grants what the policies do not; empty where they do."""
        scope = Scope.database(self.database)
        lines = fixes.grant(str(self.identity.object_id), _FLOW.usage, scope, self.cluster)
        return "" if self.allowed.allowed else "".join(lines)

    def __str__(self) -> str:
        gate = "allowed" if self.allowed.allowed else "not known" if self.allowed.allowed is None else "NOT allowed"
        lines = [
            f"Plan {self.short} on {printable(self.cluster)}: {self.summary}",
            "",
            f"  {_FLOW.usage} for {self.identity} is {gate}: {printable(self.allowed.reason)}.",
            *([f"  Before it works: {printable(self.grant)}"] if self.grant else []),
            f"  The identity needs on the event hub, which is not checked: {_FLOW.external}.",
            "",
            printable(self.steps[0]),
            json.dumps(self.body, indent=2),
        ]
        return "\n".join(lines)
