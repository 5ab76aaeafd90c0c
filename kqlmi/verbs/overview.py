"""The verbs that connect, read and show."""

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


@verb(apart=True)
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
    """Connect to a cluster, by its URL, its short name as mycluster.westeurope or a name of yours, or to local.

    Names of yours stand in the configuration file (%kqlmi connections says where it is); without CLUSTER it is that of
    KQLMI_CLUSTER. --database sets the database in context. --auth is one of
    {modes};
    service-principal goes by AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH, token by KQLMI_TOKEN.
    --tenant names the tenant. --sign-in-identity chooses a managed identity of this machine: system, client_id=GUID,
    object_id=GUID or resource_id=…; without it, AZURE_CLIENT_ID does. --audience is what the cluster may ask a token
    for that is not Kusto's. --name gives the connection a name for --on. --read-only refuses changes. --no-history
    keeps no record of changes, so that undo cannot revert them. --resource-id is the cluster's in Azure, by which
    Azure Resource Manager tells of identities and data connections. --ingest-url is where the cluster ingests, where
    its name does not tell. To connect to local again keeps the cluster that runs, with all that was changed on it;
    --fresh starts a new one.
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
        f"Connected to {printable(session.name)}{suffix}. Databases: {shown or 'none that you may see'}.",
        *session.notes(),
        f"Commands run in the database {printable(session.database)}." if session.database else "",
    ]
    return "\n".join(filter(None, lines))


@verb(apart=True)
def connections(context: Context, connection: ConnectionName = "", /) -> Rows | str:
    """List the connections that are open, and those of the configuration file; with CONNECTION, make that one current.

    The file holds what connect takes, and no secrets: [connections.prod], and below it cluster, database, auth,
    tenant, sign_in_identity, audience, read_only, history, timeout, resource_id and ingest_url. KQLMI_CONFIG names
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
        raise CellError(f"{connection!r} is configured, and not connected.", hint=f"%kqlmi connect {connection}")
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
        return f"No cluster is connected, and none is configured in {printable(str(configuration.path()))}."
    return Rows(("name", "cluster", "database", "auth", "read_only", "state"), tuple(rows))


@verb()
def show(context: Context, /, *, database: DatabaseName = "", cluster: bool = False) -> Rows:
    """Show who may do what: one row for each identity of each policy.

    --database D (a name or a glob) shows the databases that match, --cluster the cluster's policy; neither shows all.
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
    return policy_rows(reading.snapshot)


@dataclass(frozen=True, slots=True)
class PanelPlace:
    """Where a panel is to open."""

    session: Session
    scope: Scope


@verb()
def panel(context: Context, /, *, database: DatabaseName = "") -> PanelPlace:
    """Open the panel: tick which workflows each identity may use, preview the change, execute it.

    --database D opens it on a database; otherwise it opens on the database in context, or on the cluster. It stays open
    while no page shows it; to run the cell again closes it, and so does its close().
    """
    session = context.session
    name = database or session.database
    return PanelPlace(session, session.database_scope(name) if name else Scope.cluster())


@verb(apart=True)
def usages(_context: Context, /) -> Rows:
    """List the usages that a policy can allow, each with the workflows that it opens."""
    return usage_rows()


@verb(apart=True)
def workflows(_context: Context, /, *words: str) -> Rows:
    """List the workflows that take a managed identity: usage, scope, how the identity is written, an example.

    Words narrow the list: %kqlmi workflows continuous export. The column sure tells documented from inferred.
    """
    return workflow_rows(*words)


@verb(apart=True)
def help_(context: Context, name: VerbName = "", /, *words: str) -> str:
    """List the subcommands, or explain one; %kqlmi help new FLOW explains the options of a flow."""
    return context.face.help([name, *words] if name else [])
