"""The verbs that connect, read policies and show them."""

from dataclasses import dataclass
from typing import Annotated, Any

from kqlmi.errors import CellError, InputError, printable
from kqlmi.model.catalogue import usage_rows, workflow_rows
from kqlmi.model.entities import Scope
from kqlmi.model.plan.listing import policy_rows
from kqlmi.report import Rows
from kqlmi.session import MODES, Session, connect
from kqlmi.session.connections import configuration
from kqlmi.verbs.parameters import ClusterName, ConnectionName, DatabaseName, IdentityText, VerbName
from kqlmi.verbs.registry import Context, verb

_MANY = 8


@verb(task="Connect", apart=True)
def connect_(
    context: Context,
    cluster: ClusterName = "",
    /,
    *,
    database: DatabaseName = "",
    auth: Annotated[str, MODES] = "",
    tenant: str = "",
    sign_in_identity: IdentityText = "",
    audience: str = "",
    name: str = "",
    read_only: bool = False,
    no_history: bool = False,
    resource_id: str = "",
    ingest_url: str = "",
    fresh: bool = False,
) -> str:
    """Connect to a cluster by URL, short name (mycluster.westeurope) or configured name, or to local, the local cluster.

    %kqlmi connections lists the configured names. Without CLUSTER, KQLMI_CLUSTER is used. --database sets the current
    database. --auth is how to sign in: one of
    {modes};
    service-principal uses AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH, token uses KQLMI_TOKEN.
    --tenant is the tenant to sign in to. --sign-in-identity selects a managed identity of this machine: system,
    client_id=GUID, object_id=GUID or resource_id=…; default: AZURE_CLIENT_ID. --audience allows the cluster to request a
    token for this audience, as well as Kusto's. --name names the connection for --on. --read-only refuses changes.
    --no-history does not record changes, so undo cannot revert them. --resource-id is the cluster's resource ID in Azure,
    which is needed to read identities and data connections. --ingest-url is the ingestion endpoint, if it cannot be derived
    from the cluster's URL. Connecting to local again keeps the running cluster and its data; --fresh starts a new one.
    """
    session = connect(
        cluster,
        database=database,
        auth=auth,
        tenant=tenant,
        sign_in_identity=sign_in_identity,
        audience=audience,
        tell=context.note,
        name=name,
        timeout=context.timeout,
        read_only=read_only or context.read_only,
        history=not no_history,
        resource_id=resource_id,
        ingest_url=ingest_url,
        fresh=fresh,
        replaces=context.sessions.by_name,
    )
    try:
        names = session.databases()
        if session.database:
            session.database = session.database_scope(session.database).name or ""
    except BaseException:
        session.close()
        raise
    context.sessions.add(session)
    labels = (session.known.label(Scope.database(one)).removeprefix("database ") for one in names)
    shown = ", ".join(labels) if len(names) <= _MANY else f"{len(names)} of them"
    suffix = " (read-only)" if session.read_only else ""
    lines = [
        f"Connected to {printable(session.name)}{suffix}. Databases: {shown or 'none that you may view'}.",
        *session.notes(),
        f"Commands run in the database {printable(session.database)}." if session.database else "",
    ]
    return "\n".join(filter(None, lines))


@verb(task="Connect", apart=True)
def connections(context: Context, connection: ConnectionName = "", /) -> Rows | str:
    """List the open connections and those in the configuration file; with CONNECTION, make that one current.

    The file configures connect, and must not contain secrets: a table [connections.prod] with cluster, database, auth,
    tenant, sign_in_identity, audience, read_only, history, timeout, resource_id and ingest_url. Set KQLMI_CONFIG to use
    another file.
    """
    sessions = context.sessions
    configured: dict[str, dict[str, Any]] = {}
    try:
        for key, found in configuration.connections().items():
            if isinstance(found, InputError):
                context.note(str(found))
            else:
                configured[key] = found
    except InputError as error:
        context.note(str(error))
    if connection and connection in configured and connection not in sessions.by_name:
        raise CellError(f"{connection!r} is configured but not connected.", hint=f"Run %kqlmi connect {connection}")
    if connection:
        sessions.current = sessions.get(connection).name
    rows = [
        (
            one.name,
            one.target.query_url if one.target else "",
            one.database,
            one.target.sign_in.mode if one.target else "",
            one.read_only,
            "current" if one.name == sessions.current else "open",
        )
        for one in sessions.by_name.values()
    ]
    rows += [
        (key, one["cluster"], one.get("database", ""), one.get("auth", ""), one.get("read_only", False), "configured")
        for key, one in configured.items()
        if key not in sessions.by_name
    ]
    if not rows:
        return f"No cluster is connected or configured. Configuration file: {printable(str(configuration.path()))}."
    return Rows(
        ("name", "cluster", "database", "auth", "read_only", "state"), tuple(rows), kinds={"state": {"current": "done"}}
    )


@verb(task="See who may do what")
def show(context: Context, /, *, database: DatabaseName = "", cluster: bool = False) -> Rows:
    """Show the policies: one row for each identity in each policy.

    --database D (a name or a glob) shows the policies of matching databases, --cluster that of the cluster. Default: all.
    """
    session = context.session
    scopes = [Scope.cluster()] if cluster or not database else []
    if database or not cluster:
        scopes += map(Scope.database, session.databases(database))
    if not scopes:
        scopes = [session.database_scope(database)]
    reading = session.read(scopes, progress=context.progress)
    for scope, error in reading.refused.items():
        context.note(f"Not read: the policy of the {scope}. {error}")
    found = policy_rows(reading.snapshot)
    if not found.rows and reading.snapshot.policies:
        context.note(_nothing(len(reading.snapshot.policies), cluster=Scope.cluster() in reading.snapshot.policies))
    return found


def _nothing(count: int, *, cluster: bool) -> str:
    """Return the meaning of policies without entries."""
    where = "this policy allows" if count == 1 else f"these {count} policies allow"
    more = "" if cluster else " The cluster's policy, which applies to every database too, was not read."
    return (
        f"No entries: {where} no managed identity to be used for anything.{more}"
        " To allow a usage: %kqlmi grant IDENTITY USAGE --database NAME"
    )


@dataclass(frozen=True, slots=True)
class PanelPlace:
    """The session and the scope to open a panel on."""

    session: Session
    scope: Scope


@verb(task="Change it")
def panel(context: Context, /, *, database: DatabaseName = "") -> PanelPlace:
    """Open the panel: tick the usages that each identity may have, preview the change, and execute it.

    --database D selects the scope; by default it is the current database, or the cluster. The panel stays open even if no
    browser page shows it. To close it, run the cell again or call close() on it.
    """
    session = context.session
    name = database or session.database
    return PanelPlace(session, session.database_scope(name) if name else Scope.cluster())


@verb(task="Look things up", apart=True)
def usages(_context: Context, /) -> Rows:
    """List the usages that a policy can allow, each with the workflows that it enables."""
    return usage_rows()


@verb(task="Look things up", apart=True)
def workflows(_context: Context, /, *words: str) -> Rows:
    """List the workflows that use a managed identity: usage, scope, how the identity is written, and an example.

    Words filter the list: %kqlmi workflows continuous export. The column sure distinguishes documented from inferred.
    """
    return workflow_rows(*words)


@verb(task="Look things up", apart=True)
def help_(context: Context, name: VerbName = "", /, *words: str) -> str:
    """List the subcommands, or explain one; %kqlmi help new FLOW explains the options of a flow."""
    return context.face.help([name, *words] if name else [])
