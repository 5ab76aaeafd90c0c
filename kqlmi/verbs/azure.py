"""The verbs that tell who signed in, and that read and change the cluster in Azure Resource Manager."""

from typing import Annotated

from kqlmi.model.uses.blobs import EVENT_FORMATS
from kqlmi.session import ConnectionList, IdentityList, WhoAmI
from kqlmi.verbs.parameters import DatabaseName, IdentityText
from kqlmi.verbs.plans import Offer, offer
from kqlmi.verbs.registry import Context, verb


@verb()
def whoami(context: Context, /, *, database: DatabaseName = "") -> WhoAmI:
    """Tell who signed in: principal, tenant, roles, and what kqlmi can therefore do.

    Roles are those that the cluster tells of you, and those in the database in context, or in --database D. Policies are
    tried to be read; the rest follows from the roles, and where these are not told it is not known. Nothing is changed.
    """
    return context.session.whoami(database)


@verb()
def identities(context: Context, /) -> IdentityList:
    """List the identities that are assigned to the cluster, or stand in a policy: one row for each.

    The column note tells of those that are assigned and in no policy, and of orphans: in a policy and not assigned. It
    needs the cluster's resource ID (connect --resource-id); without it the policies alone tell.
    """
    return context.session.identities()


@verb()
def assign(context: Context, identity: IdentityText, /) -> Offer:
    """Plan to assign an identity to the cluster; those that are assigned stay.

    The identity is system, or a user-assigned one by its resource ID, or by its name, object ID or client ID in the
    cluster's subscription. The plan is printed with its ID and the request; %kqlmi apply ID carries it out.
    """
    session = context.session
    return offer(session, session.assign(identity))


@verb()
def unassign(context: Context, identity: IdentityText, /) -> Offer:
    """Plan to take an identity from the cluster, with what would stop, and which policy entries it leaves orphans.

    As for assign; a user-assigned one may be named by its object ID or client ID too. For system nothing takes it back:
    assigned again it has another object ID.
    """
    session = context.session
    return offer(session, session.unassign(identity))


@verb()
def dataconnections(context: Context, /) -> ConnectionList:
    """List the data connections of every database, each with its identity, and whether the policies allow it, and why."""
    return context.session.data_connections()


@verb()
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
        data_format=format_,
        mapping=mapping,
    )
    return offer(session, plan)
