"""The verbs that show the signed-in principal, and read and change the cluster in Azure Resource Manager."""

from typing import Annotated

from kqlmi.model.uses.blobs import EVENT_FORMATS
from kqlmi.session import ConnectionList, IdentityList, WhoAmI
from kqlmi.verbs.parameters import DatabaseName, IdentityText
from kqlmi.verbs.plans import Offer, offer
from kqlmi.verbs.registry import Context, verb


@verb(task="Connect")
def whoami(context: Context, /, *, database: DatabaseName = "") -> WhoAmI:
    """Show the signed-in principal, its tenant and roles, and what those roles allow kqlmi to do.

    Includes roles on the cluster and on one database: --database D, or the current one. Read access is tested by
    reading the policies. Everything else follows from the roles, and is unknown if the cluster does not report them.
    Changes nothing.
    """
    return context.session.whoami(database)


@verb(task="See who may do what")
def identities(context: Context, /) -> IdentityList:
    """List the identities that are assigned to the cluster or listed in a policy, one row for each.

    The column note marks identities that are assigned but in no policy, and orphans: in a policy but not assigned. This
    needs the cluster's resource ID (connect --resource-id); without it, only the policies are read.
    """
    return context.session.identities()


@verb(task="Change it")
def assign(context: Context, identity: IdentityText, /) -> Offer:
    """Plan to assign an identity to the cluster; identities that are already assigned stay.

    The identity is system, the resource ID of a user-assigned identity, or the name, object ID or client ID of one in the
    cluster's subscription. The plan is printed with its ID and the request; %kqlmi apply ID applies it.
    """
    session = context.session
    return offer(session, session.assign(identity))


@verb(task="Change it")
def unassign(context: Context, identity: IdentityText, /) -> Offer:
    """Plan to unassign an identity from the cluster, and show what would stop and which policy entries become orphans.

    IDENTITY is specified as for assign, or by its object ID or client ID. Unassigning system cannot be undone: if it is
    assigned again, it has a new object ID.
    """
    session = context.session
    return offer(session, session.unassign(identity))


@verb(task="See who may do what")
def dataconnections(context: Context, /) -> ConnectionList:
    """List the data connections of every database, each with its identity and whether the policies allow it."""
    return context.session.data_connections()


@verb(task="Use an identity")
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
    format_: Annotated[str, EVENT_FORMATS] = "",
    mapping: str = "",
) -> Offer:
    """Plan a data connection that ingests the events of an event hub into a table with a managed identity.

    --hub is the event hub's resource ID, --identity an assigned identity: a name, or system. The gates of the connection are
    checked, and the line that opens a closed one is shown. --format is the format of the events, --mapping the name
    of an ingestion mapping.
    """
    session = context.session
    plan = session.connect_eventhub(
        data_connection,
        hub=hub,
        table=table,
        identity=identity,
        database=database,
        consumer_group=consumer_group,
        data_format=format_,
        mapping=mapping,
    )
    return offer(session, plan)
