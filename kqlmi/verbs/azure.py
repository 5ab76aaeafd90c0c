"""The subcommands that read and change the cluster in Azure Resource Manager."""

from typing import TYPE_CHECKING, Annotated, Any

from kqlmi.model.entities import SYSTEM
from kqlmi.model.uses.blobs import EVENT_FORMATS
from kqlmi.notebook.frames import frame
from kqlmi.session import ConnectionList, IdentityList
from kqlmi.verbs.parameters import DatabaseName, IdentityText
from kqlmi.verbs.plans import show
from kqlmi.verbs.registry import Context, subcommand

if TYPE_CHECKING:
    import pandas as pd


@subcommand
def identities(context: Context, /) -> Any:
    """List the identities that are assigned to the cluster, or stand in a policy: one row for each.

    The column note tells of those that are assigned and in no policy, and of orphans: in a policy and not assigned. It
    needs the cluster's resource ID (connect --resource-id); without it the policies alone tell.
    """
    found = context.session.identities()
    for note in found.notes:
        print(note)
    return identities_frame(found)


@subcommand
def assign(context: Context, identity: IdentityText, /) -> None:
    """Plan to assign an identity to the cluster; those that are assigned stay.

    The identity is system, or a user-assigned one by its resource ID, or by its name, object ID or client ID in the
    cluster's subscription. The plan is printed with its ID and the request; %kqlmi apply ID carries it out.
    """
    session = context.session
    show(session, session.assign(identity))


@subcommand
def unassign(context: Context, identity: IdentityText, /) -> None:
    """Plan to take an identity from the cluster, with what would stop, and which policy entries it leaves orphans.

    As for assign; a user-assigned one may be named by its object ID or client ID too. For system nothing takes it back:
    assigned again it has another object ID.
    """
    session = context.session
    show(session, session.unassign(identity))


@subcommand
def dataconnections(context: Context, /) -> Any:
    """List the data connections of every database, each with its identity, and whether the policies allow it, and why."""
    found = context.session.data_connections()
    for note in found.notes:
        print(note)
    return connections_frame(found)


@subcommand
def eventhub(
    context: Context,
    data_connection: str,
    /,
    *,
    hub: str,
    table: str,
    identity: IdentityText,
    database: DatabaseName = "",
    consumer_group: str = "$Default",
    format: Annotated[str, EVENT_FORMATS] = "",  # noqa: A002 - the option's name
    mapping: str = "",
) -> None:
    """Plan a data connection that receives the events of an event hub into a table, as a managed identity.

    --hub is the event hub's resource ID, --identity an assigned one (a name or system). What the policies say of it is
    told, with the line that grants what they lack. --format is that of the events, --mapping an ingestion mapping's name.
    """
    session = context.session
    plan = session.connect_eventhub(
        data_connection,
        hub=hub,
        table=table,
        identity=identity,
        database=database,
        consumer_group=consumer_group,
        data_format=format,
        mapping=mapping,
    )
    show(session, plan)


def identities_frame(found: IdentityList) -> "pd.DataFrame":
    """Return one row for each identity.

    Columns: ``display_name``, ``object_id``, ``client_id``, ``is_system``, ``assigned`` (missing where that is not known),
    ``policies`` (a list: each scope with its usages), ``note`` (what is wrong between the two) and ``resource_id``.
    """
    return frame(
        found.identities,
        {
            "display_name": lambda row: row.identity.display_name,
            "object_id": lambda row: row.identity.principal_id or str(row.identity.object_id),
            "client_id": lambda row: row.identity.client_id,
            "is_system": lambda row: row.identity.is_system,
            "assigned": lambda row: row.assigned,
            "policies": lambda row: [f"{scope}: {', '.join(usages)}" for scope, usages in row.grants],
            "note": lambda row: row.note,
            "resource_id": lambda row: row.identity.resource_id,
        },
        {"is_system": "bool", "assigned": "boolean"},
    )


def connections_frame(found: ConnectionList) -> "pd.DataFrame":
    """Return one row for each data connection.

    Columns: ``database``, ``name``, ``kind``, ``table``, ``identity`` (its name, or ``system``), ``object_id``, ``allowed``
    (missing where it goes by a key, or where that is not known), ``reason`` and ``stream`` (what it reads from).
    """
    import pandas as pd

    rows = [
        (
            one.database,
            one.name,
            one.kind,
            one.table,
            "" if who is None else SYSTEM if who.object_id == SYSTEM else who.display_name,
            one.principal or (who.principal_id if who else ""),
            access.allowed,
            access.reason,
            one.stream,
        )
        for one, who, access in found.connections
    ]
    names = ["database", "name", "kind", "table", "identity", "object_id", "allowed", "reason", "stream"]
    return pd.DataFrame(rows, columns=names).astype({"allowed": "boolean"})
