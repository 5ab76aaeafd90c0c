"""Opening a session on a cluster, with a way to sign in."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kqlmi.cluster.cloud import login_endpoint
from kqlmi.cluster.connection import KustoConnection, Target
from kqlmi.cluster.faults.retries import Patience, Retrying
from kqlmi.credentials import sign_in, to_stderr
from kqlmi.errors import (
    ConnectionFailedError,
    InputError,
    KqlmiError,
    SignInError,
    UnauthorizedError,
    require_extra,
)
from kqlmi.session.connections import configuration
from kqlmi.session.connections.addresses import url_of
from kqlmi.session.session import Session

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource
    from kqlmi.local.cluster import LocalCluster
    from kqlmi.local.runtime import Running


def connect(
    cluster: str = "",
    *,
    auth: str = "",
    token: str | None = None,
    credential: Any = None,
    tenant: str = "",
    sign_in_identity: str = "",
    audience: str = "",
    tell: Callable[[str], None] | None = None,
    database: str = "",
    name: str = "",
    timeout: float | None = None,
    read_only: bool = False,
    history: bool = True,
    resource_id: str = "",
    arm_options: Mapping[str, Any] | None = None,
    ingest_url: str = "",
    patience: Patience | None = None,
    fresh: bool = False,
    replaces: Mapping[str, Session] = MappingProxyType({}),
) -> Session:
    """Open a session on a cluster, and settle the history entries that were left open.

    Args:
        cluster: The cluster's URL, its short name such as ``mycluster.westeurope``, a connection in the configuration
            file, or ``local``: the running local cluster (``kqlmi local serve``), or else a new one, which stops when the
            session is closed. By default ``$KQLMI_CLUSTER``.
        auth: A sign-in mode of ``kqlmi.credentials``, if neither ``token`` nor ``credential`` is given. By default, it
            comes from the configuration file or ``$KQLMI_AUTH``, or else is ``default``.
        token: A bearer token.
        credential: Any azure-identity credential. The caller closes it.
        tenant: The ID or a domain of the tenant to sign in to.
        sign_in_identity: For ``managed-identity``: ``system``, ``client_id=GUID``, ``object_id=GUID`` or ``resource_id=…``.
        audience: An audience other than Kusto for which the cluster may request tokens, as a resource ID.
        tell: Called with sign-in instructions, with the outcome of each change that was left open (both are written to
            standard error by default), and with a sentence when a request is retried after a wait.
        database: The current database, for requests that do not specify one.
        name: The name of the cluster in previews, results and errors. By default, its name in the configuration file, or
            its host.
        timeout: The server's deadline for each request, in seconds. By default, it comes from the configuration file, or
            is 240.
        read_only: Refuse changes.
        history: Record changes, so that they can be undone.
        resource_id: The cluster's resource ID, which is needed to read the assigned identities from Azure.
        arm_options: Keyword arguments for the clients of azure-mgmt-kusto. By default, they sign in as the session does.
        ingest_url: The cluster's ingestion endpoint. By default, ``https://ingest-…``, derived from the cluster's URL.
        patience: The limits of retries, which are made only if that is safe.
        fresh: Start a new local cluster, even if one is running.
        replaces: Sessions by name. A local cluster that the session of the same name started is kept for the new session.

    Raises:
        InputError: The URL, the mode, the timeout or the configuration file is invalid.
        MissingExtraError: ``local`` needs the extra ``kqlmi[local]``.
        ConnectionFailedError: The cluster did not respond to a query about changes that were left open.
        SignInError: No token could be obtained for that query.
    """
    signing_in = {"auth": auth, "tenant": tenant, "sign_in_identity": sign_in_identity, "audience": audience}
    azure = {"resource_id": resource_id, "arm_options": arm_options, "ingest_url": ingest_url}
    others = {"token": token, "credential": credential, "database": database, "name": name, "read_only": read_only}
    given = {key: value for key, value in {**signing_in, **azure, **others}.items() if value}
    given |= {} if timeout is None else {"timeout": timeout}
    wanted = configuration.settings(cluster, given if history else {**given, "history": False})
    retrying = Retrying(patience, tell) if tell else Retrying(patience)
    if wanted["cluster"] == "local":
        if configuration.SIGNING_IN & given.keys() or wanted["resource_id"] or wanted["ingest_url"] or arm_options:
            raise InputError(
                "A local cluster takes no sign-in options, resource ID or ingestion URL.",
                hint="Connect to local without them.",
            )
        kept = replaces[wanted["name"]].local_cluster if wanted["name"] in replaces and not fresh else None
        session = _open_local(wanted, retrying, kept, fresh=fresh)
        if kept and tell:
            tell("The running local cluster is kept, with all changes made to it. To start a new one, use --fresh.")
        return _settle_open_entries(session, tell)
    if fresh:
        raise InputError("Only a local cluster can be started fresh.", hint="Use --fresh with local, or leave it out.")
    url = url_of(wanted["cluster"])
    who = {key: wanted[key] for key in ("tenant", "sign_in_identity", "audience")}
    authority = partial(login_endpoint, url)
    found = sign_in(wanted["auth"], token=token, credential=credential, tell=tell, login_endpoint=authority, **who)
    if found.token is not None and not (auth or token):
        _refuse_other_cluster(url)
    target = Target(url, found, url_of(wanted["ingest_url"]) if wanted["ingest_url"] else _ingestion(url))
    return _settle_open_entries(_open(wanted, target, retrying), tell)


def _open(wanted: Mapping[str, Any], target: Target, retrying: Retrying) -> Session:
    timeout, read_only, resource_id = wanted["timeout"], wanted["read_only"], wanted["resource_id"]
    return Session(
        wanted["name"] or urlsplit(target.query_url).netloc,
        KustoConnection(target, timeout=timeout, read_only=read_only, retrying=retrying),
        target=target,
        database=wanted["database"],
        read_only=read_only,
        history=wanted["history"],
        resource=_resource(resource_id, target, wanted["arm_options"]) if resource_id else None,
        retrying=retrying,
        timeout=timeout,
    )


def _settle_open_entries(session: Session, tell: Callable[[str], None] | None) -> Session:
    """Settle the history entries that were left open, and return the session. Raise only if it cannot connect."""
    if session.history is None or session.read_only or session.history.is_empty:
        return session
    report = tell or to_stderr
    try:
        for entry in session.settle():
            report(entry.report)
    except (ConnectionFailedError, SignInError, UnauthorizedError, KeyboardInterrupt):
        # Every further request would fail in the same way.
        session.close()
        raise
    except KqlmiError as error:
        report(f"kqlmi could not determine the outcome of changes that were left open: {error}")
    return session


def _refuse_other_cluster(url: str) -> None:
    """Raise InputError if KQLMI_CLUSTER is another cluster: KQLMI_TOKEN belongs to that cluster."""
    if "cluster" not in configuration.environment():
        return
    own = configuration.settings("", {})["cluster"]
    if own == "local" or urlsplit(url_of(own)).netloc.casefold() != urlsplit(url).netloc.casefold():
        raise InputError(
            f"KQLMI_TOKEN is for the cluster of KQLMI_CLUSTER, and was not sent to {urlsplit(url).netloc}.",
            hint="To use it for this cluster, connect with --auth token.",
        )


def _resource(resource_id: str, target: Target, options: Mapping[str, Any] | None) -> "ClusterResource | None":
    """Return the cluster as an Azure resource, or None if the session has only a bare token for Kusto."""
    from kqlmi.arm.resource import ClusterResource, options_for

    if options is None and target.sign_in.credential:
        options = options_for(target.sign_in.credential, urlsplit(target.query_url).hostname or "")
    found = ClusterResource(resource_id, options or {})  # raises InputError if it is not a resource ID
    return found if options else None


class _SharedCluster:
    """A local cluster that several sessions share. It stops when the last of them is closed."""

    def __init__(self, cluster: "LocalCluster") -> None:
        self._cluster, self._users = cluster, 0

    def __enter__(self) -> "LocalCluster":
        self._users += 1
        return self._cluster

    def __exit__(self, *_error: object) -> None:
        self._users -= 1
        if not self._users:
            self._cluster.stop()


def _open_local(
    wanted: Mapping[str, Any],
    retrying: Retrying,
    kept: AbstractContextManager["LocalCluster"] | None,
    *,
    fresh: bool,
) -> Session:
    """Open a session on the local cluster that was kept, on a running one, or on a new one."""
    with require_extra("local", "The local cluster needs {name}."), ExitStack() as stack:
        from kqlmi import local

        found: Running | LocalCluster | None = None if kept or fresh else local.find()
        started = None
        if found is None:
            started = kept or _SharedCluster(local.start())
            found = stack.enter_context(started)
        target = Target(found.url, sign_in(token=found.token), found.ingest_url)
        azure = {"resource_id": found.resource_id, "arm_options": found.arm_options}
        session = _open({**wanted, **azure}, target, retrying)
        session.local_cluster = started
        session.closing.push(stack.pop_all())
        return session


def _ingestion(url: str) -> str:
    """Return a cluster's ingestion URL by the naming convention, or an empty string if its host is not a domain name."""
    host = urlsplit(url).hostname or ""
    if not host.rpartition(".")[2].isalpha() or "." not in host:
        return ""
    return url if host.startswith("ingest-") else url.replace("://", "://ingest-", 1)
