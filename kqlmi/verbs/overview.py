"""The subcommands that connect, read and show."""

from typing import Annotated, Any

from kqlmi.errors import CellError, InputError, printable
from kqlmi.model.entities import Scope, did_you_mean
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.notebook.frames import frame, policy_frame
from kqlmi.notebook.progress import Progress
from kqlmi.session import MODES, connect
from kqlmi.session.connections import configuration
from kqlmi.verbs.parameters import ClusterName, ConnectionName, DatabaseName, IdentityText, SubcommandName
from kqlmi.verbs.registry import CELL_HELP, SUBCOMMANDS, Context, subcommand

_MANY = 8


@subcommand
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
) -> None:
    """Connect to a cluster, by its URL, its short name as mycluster.westeurope or a name of yours, or to local.

    Names of yours stand in the configuration file (%kqlmi connections says where it is); without CLUSTER it is that of
    KQLMI_CLUSTER. --database sets the database in context. --auth is one of
    {modes};
    service-principal goes by AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH, token by KQLMI_TOKEN.
    --tenant names the tenant. --sign-in-identity chooses a managed identity of this machine: system, client_id=GUID,
    object_id=GUID or resource_id=…; without it, AZURE_CLIENT_ID does. --audience is what the cluster may ask a token
    for that is not Kusto's. --name gives the connection a name for --on. --read-only refuses changes. --no-history
    keeps no record of changes, so that undo cannot take them back. --resource-id is the cluster's in Azure, by which
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
        tell=print,
        name=name,
        timeout=context.settings.timeout,
        read_only=read_only or context.settings.read_only,
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
    shown = (
        ", ".join(session.known.label(Scope.database(one)).removeprefix("database ") for one in names)
        if len(names) <= _MANY
        else f"{len(names)} of them"
    )
    print(
        f"Connected to {printable(session.name)}{' (read-only)' if session.read_only else ''}. Databases: "
        f"{shown or 'none that you may see'}."
    )
    for note in session.notes():
        print(note)
    if session.database:
        print(f"Commands run in the database {printable(session.database)}.")


@subcommand
def connections(context: Context, connection: ConnectionName = "", /) -> Any:
    """List the connections that are open, and those of the configuration file; with CONNECTION, make that one current.

    The file holds what connect takes, and no secrets: [connections.prod], and below it cluster, database, auth,
    tenant, sign_in_identity, audience, read_only, history, timeout, resource_id and ingest_url. KQLMI_CONFIG names
    another file.
    """
    import pandas as pd

    sessions = context.sessions
    configured: dict[str, dict[str, Any]] = {}
    try:
        for key, found in configuration.connections().items():
            if isinstance(found, InputError):
                print(found)
            else:
                configured[key] = found
    except InputError as error:
        print(error)
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
        print(f"No cluster is connected, and none is configured in {printable(str(configuration.path()))}.")
        return None
    return pd.DataFrame(rows, columns=["name", "cluster", "database", "auth", "read_only", "state"])


@subcommand
def show(context: Context, /, *, database: DatabaseName = "", cluster: bool = False) -> Any:
    """Show who may do what: one row for each identity of each policy.

    --database D (a name or a glob) shows the databases that match, --cluster the cluster's policy; neither shows all.
    """
    session = context.session
    scopes = [Scope.cluster()] if cluster or not database else []
    if database or not cluster:
        scopes += map(Scope.database, session.databases(database))
    if not scopes:
        scopes = [session.database_scope(database)]
    with Progress() as progress:
        reading = session.read(scopes, progress=progress)
    for scope, error in reading.refused.items():
        print(f"Not read: the policy of the {scope}. {error}")
    return policy_frame(reading.snapshot)


@subcommand
def panel(context: Context, /, *, database: DatabaseName = "") -> Any:
    """Open the panel: tick which workflows each identity may use, preview the change, execute it.

    --database D opens it on a database; otherwise it opens on the database in context, or on the cluster. It stays open
    while no page shows it; to run the cell again closes it, and so does its close().
    """
    from kqlmi.notebook.panel.panel import Panel

    session = context.session
    name = database or session.database
    opened = Panel(session, session.database_scope(name) if name else Scope.cluster())
    context.sessions.panels.keep(opened)
    return opened


@subcommand
def usages(_context: Context, /) -> Any:
    """List the usages that a policy can allow, each with the workflows that it opens."""
    return frame(
        USAGES,
        {
            "usage": lambda usage: usage.name,
            "summary": lambda usage: usage.summary,
            "scope": lambda usage: "cluster only" if usage.cluster_only else "cluster or database",
            "workflows": lambda usage: [row.title for row in WORKFLOWS if row.usage == usage.name],
        },
    )


@subcommand
def workflows(_context: Context, /, *words: str) -> Any:
    """List the workflows that take a managed identity: usage, scope, how the identity is written, an example.

    Words narrow the list: %kqlmi workflows continuous export. The column sure tells documented from inferred.
    """
    wanted = [word.casefold() for word in words]
    return frame(
        (row for row in WORKFLOWS if all(word in f"{row.id} {row.title} {row.usage}".casefold() for word in wanted)),
        {
            "workflow": lambda row: row.title,
            "usage": lambda row: row.usage,
            "sure": lambda row: row.sure,
            "scope": lambda row: "cluster only" if row.cluster_only else "cluster or database",
            "identity": lambda row: row.identity,
            "kusto_role": lambda row: row.kusto,
            "external_role": lambda row: row.external,
            "note": lambda row: row.note,
            "example": lambda row: row.example,
        },
    )


@subcommand
def help_(_context: Context, name: SubcommandName = "", /, *words: str) -> None:
    """List the subcommands, or explain one; %kqlmi help new FLOW explains the options of a flow."""
    if name:
        if name not in SUBCOMMANDS:
            raise CellError(f"There is no subcommand {name!r}.", hint=did_you_mean(name, SUBCOMMANDS))
        row = SUBCOMMANDS[name]
        print((row.about(words[0]) if words else "") or f"{row.usage}\n\n{row.help}")
        return
    print(CELL_HELP)
    width = max(map(len, SUBCOMMANDS))
    for key, row in SUBCOMMANDS.items():
        print(f"%kqlmi {key.ljust(width)}  {row.summary}")
