"""The plan for a data connection that receives the events of an event hub."""

import json
from dataclasses import dataclass
from typing import Any, Final

from kqlmi.errors import InputError, printable
from kqlmi.model.azure.resourceid import ResourceId
from kqlmi.model.entities import SYSTEM, Identity, did_you_mean
from kqlmi.model.explain.gates import Gate, checklist
from kqlmi.model.plan.plan import Plan
from kqlmi.model.uses.blobs import EVENT_FORMATS
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.report import Code, Report, Section

FLOW: Final = next(row for row in WORKFLOWS if row.id == "dataconnection.eventhub")


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of events from an event hub, named by its resource ID, into a table.

    Raises:
        InputError: The resource ID or the format is not valid.
    """

    hub: str
    table: str
    consumer_group: str
    data_format: str
    mapping: str

    def __post_init__(self) -> None:
        if self.data_format and self.data_format.casefold() not in EVENT_FORMATS:
            known = did_you_mean(self.data_format, EVENT_FORMATS)
            raise InputError(f"Data format {self.data_format!r} does not exist.", hint=known)
        if not ResourceId.parse(self.hub, "Microsoft.EventHub/namespaces/eventhubs"):
            raise InputError(
                f"{self.hub!r} is not the resource ID of an event hub.",
                hint="Use the form /subscriptions/…/providers/Microsoft.EventHub/namespaces/…/eventhubs/…",
            )


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionPlan(Plan):
    """A plan to create a data connection, whose name must not exist yet.

    ``cluster`` is the session's name, ``resource_id`` the cluster's. ``gates`` are those of the flow, with their states.
    """

    cluster: str
    resource_id: str
    location: str
    database: str
    name: str
    stream: Stream
    identity: Identity
    gates: tuple[Gate, ...]

    @property
    def body(self) -> dict[str, Any]:
        """Return the body of the request, exactly as it is sent; azure-mgmt-kusto 4.0.0 would leave out ``kind``."""
        is_system = self.identity.object_id == SYSTEM
        properties = {
            "eventHubResourceId": self.stream.hub,
            "consumerGroup": self.stream.consumer_group,
            "tableName": self.stream.table,
            "dataFormat": self.stream.data_format.upper(),
            "mappingRuleName": self.stream.mapping,
            # The cluster's own resource ID means the system identity.
            "managedIdentityResourceId": self.resource_id if is_system else self.identity.resource_id,
        }
        filled = {name: value for name, value in properties.items() if value}
        return {"kind": "EventHub", "location": self.location, "properties": filled}

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the request that is sent."""
        return (f"PUT {self.resource_id}/databases/{self.database}/dataConnections/{self.name}",)

    @property
    def content(self) -> list[Any]:
        """Return everything that the plan does."""
        return [self.cluster, *self.steps, self.body]

    @property
    def summary(self) -> str:
        """Return the change on one line."""
        return f"create the data connection {printable(self.name)} in the database {printable(self.database)}"

    def report(self) -> Report:
        """Return the plan with the checklist of the gates, and the request."""
        request = Code(f"{self.steps[0]}\n{json.dumps(self.body, indent=2)}", "")
        return Report(self.title, self.summary, (Section("", (*checklist(self.gates), request)),))
