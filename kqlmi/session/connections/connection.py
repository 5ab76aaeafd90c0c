"""Opening a session: where a cluster is, and how to sign in."""

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
    """Open a session on a cluster, and settle what changes that were left open became, by what it shows of them now.

    Args:
        cluster: The cluster's URL, its short name as ``mycluster.westeurope``, a connection of the configuration file, or
            ``local``: a local cluster that runs already (``kqlmi local serve``), otherwise one that this session
            starts, and stops when it is closed. Where it is not said, it is that of ``$KQLMI_CLUSTER``.
        auth: A sign-in mode of ``kqlmi.credentials``, where neither ``token`` nor ``credential`` is given; by default
            that of the configuration file, of ``$KQLMI_AUTH``, or ``default``.
        token: A bearer token.
        credential: Any azure-identity credential; whoever made it closes it.
        tenant: The tenant to sign in to, by its ID or a domain.
        sign_in_identity: For ``managed-identity``: ``system``, ``client_id=GUID``, ``object_id=GUID`` or ``resource_id=…``.
        audience: What the cluster may ask a token for that is not Kusto's, as its resource ID.
        tell: Called with what a person has to do to sign in, which by default is written to standard error, and with a
            sentence when a request is tried again after a wait; and with what became of a change that was left open.
        database: The database in context.
        name: What previews, results and errors call the cluster; by default its name in the configuration file, or its
            host.
        timeout: The server's deadline for each request, in seconds; 240 where nothing says otherwise.
        read_only: Refuse changes.
        history: Record changes, so that they can be taken back.
        resource_id: The cluster's resource ID, by which Azure Resource Manager tells the assigned identities.
        arm_options: Keyword arguments for the clients of azure-mgmt-kusto; by default they sign in as the session does.
        ingest_url: Where the cluster ingests; by default what its own name tells, ``https://ingest-…``.
        patience: How long a request is tried again, where that is safe.
        fresh: Start a new local cluster, whatever runs already.
        replaces: Sessions by name. A local cluster that the one of the same name started is kept for the new one.

    Raises:
        InputError: The URL, the mode, the timeout or the configuration file is wrong.
        MissingExtraError: ``local`` needs the extra ``kqlmi[local]``.
        ConnectionFailedError: The cluster is asked what became of changes, and gives no answer.
        SignInError: It is asked, and no token could be had.
    """
    signing_in = {"auth": auth, "tenant": tenant, "sign_in_identity": sign_in_identity, "audience": audience}
    azure = {"resource_id": resource_id, "arm_options": arm_options, "ingest_url": ingest_url}
    others = {"token": token, "credential": credential, "database": database, "name": name, "read_only": read_only}
    said = {key: value for key, value in {**signing_in, **azure, **others}.items() if value}
    said |= {} if timeout is None else {"timeout": timeout}
    wanted = configuration.settings(cluster, said if history else {**said, "history": False})
    retrying = Retrying(patience, tell) if tell else Retrying(patience)
    if wanted["cluster"] == "local":
        if configuration.SIGNING_IN & said.keys() or wanted["resource_id"] or wanted["ingest_url"] or arm_options:
            raise InputError(
                "A local cluster is reached and signed in to by itself.",
                hint="Say local without a way to sign in, a resource ID or an ingestion URL.",
            )
        kept = replaces[wanted["name"]].local_cluster if wanted["name"] in replaces and not fresh else None
        session = _open_local(wanted, retrying, kept, fresh=fresh)
        if kept and tell:
            tell("The local cluster that runs already is kept, with all that was changed; --fresh starts a new one.")
        return _settle_open_entries(session, tell)
    if fresh:
        raise InputError("Only a local cluster can be started anew.", hint="Use --fresh with local, or leave it out.")
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
    """Settle the history entries that were left open, and return the session; none of them keeps it from being opened."""
    if session.history is None or session.read_only or session.history.is_empty:
        return session
    report = tell or to_stderr
    try:
        for entry in session.settle():
            report(entry.report)
    except (ConnectionFailedError, SignInError, UnauthorizedError, KeyboardInterrupt):
        # Whatever is asked next would fail the same way.
        session.close()
        raise
    except KqlmiError as error:
        report(f"What became of changes that were left open could not be told: {error}")
    return session


def _refuse_other_cluster(url: str) -> None:
    """Refuse to send KQLMI_TOKEN elsewhere than to KQLMI_CLUSTER, where that is set and nobody asked for it."""
    if "cluster" not in configuration.environment():
        return
    own = configuration.settings("", {})["cluster"]
    if own == "local" or urlsplit(url_of(own)).netloc.casefold() != urlsplit(url).netloc.casefold():
        raise InputError(
            f"KQLMI_TOKEN was given for the cluster of KQLMI_CLUSTER, and does not go to {urlsplit(url).netloc}.",
            hint="If it is meant for this one, connect with --auth token.",
        )


def _resource(resource_id: str, target: Target, options: Mapping[str, Any] | None) -> "ClusterResource | None":
    """Return where the cluster is in Azure Resource Manager; None where only a bare token for Kusto is at hand."""
    from kqlmi.arm.resource import ClusterResource, options_for

    if options is None and target.sign_in.credential:
        options = options_for(target.sign_in.credential, urlsplit(target.query_url).hostname or "")
    found = ClusterResource(resource_id, options or {})  # which refuses what is no resource ID
    return found if options else None


class _SharedCluster:
    """A local cluster as a context of each session that uses it; it stops when the last of them is closed."""

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
    """Open a session on the local cluster that was kept, on one that runs, or on one that is started for it."""
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
    """Return where a cluster ingests, by the convention of its name; empty for an address, which tells nothing of it."""
    host = urlsplit(url).hostname or ""
    if not host.rpartition(".")[2].isalpha() or "." not in host:
        return ""
    return url if host.startswith("ingest-") else url.replace("://", "://ingest-", 1)
