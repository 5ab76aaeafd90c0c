"""Opening a session: where a cluster is, and how to sign in."""

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kqlmi.cluster.connection import DEFAULT_TIMEOUT, KustoConnection, Target
from kqlmi.cluster.retrying import Patience, Retrying
from kqlmi.credentials import sign_in
from kqlmi.errors import InputError, MissingExtraError
from kqlmi.session.session import Session

if TYPE_CHECKING:
    from kqlmi.arm.identities import ClusterResource

_URL = re.compile(r"(?P<url>https?://(?:[a-z0-9.-]+|\[::1\])(?::(?P<port>\d{1,5}))?)/?", re.IGNORECASE)
_LAST_PORT = 65535


def connect(
    cluster: str,
    *,
    auth: str = "default",
    token: str | None = None,
    credential: Any = None,
    database: str = "",
    name: str = "",
    timeout: float = DEFAULT_TIMEOUT,
    read_only: bool = False,
    history: bool = True,
    resource_id: str = "",
    arm_options: Mapping[str, Any] | None = None,
    patience: Patience | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Session:
    """Open a session on a cluster.

    Args:
        cluster: The cluster's URL, or ``local``: a local cluster that runs already (``kqlmi local serve``), otherwise
            one that this session starts, and stops when it is closed.
        auth: A sign-in mode of ``kqlmi.credentials``, where neither ``token`` nor ``credential`` is given.
        token: A bearer token.
        credential: Any azure-identity credential; the session closes it.
        database: The database in context.
        name: What previews, results and errors call the cluster; its host by default.
        timeout: The server's deadline for each request, in seconds.
        read_only: Refuse changes.
        history: Record changes, so that they can be taken back.
        resource_id: The cluster's resource ID, by which Azure Resource Manager tells the assigned identities.
        arm_options: Keyword arguments for the clients of azure-mgmt-kusto; by default they sign in as the session does.
        patience: How long a request is tried again, where that is safe.
        tell: Called with a sentence when that is waited for.

    Raises:
        InputError: The URL, the mode or the timeout is wrong.
        MissingExtraError: ``local`` needs the extra ``kqlmi[local]``.
    """
    retrying = Retrying(patience, tell)
    if cluster == "local":
        return _connect_local(
            name or "local", timeout, retrying, database=database, read_only=read_only, history=history
        )
    url = _url(cluster)
    target = Target(url, sign_in(auth, token=token, credential=credential))
    options = arm_options or ({"credential": target.sign_in.credential} if target.sign_in.credential else None)
    resource = _resource(resource_id, options) if resource_id and options else None
    connection = KustoConnection(target, timeout=timeout, read_only=read_only, retrying=retrying)
    return Session(
        name or urlsplit(url).netloc,
        connection,
        database=database,
        read_only=read_only,
        history=history,
        resource=resource,
        retrying=retrying,
    )


def _resource(resource_id: str, options: Mapping[str, Any]) -> "ClusterResource":
    from kqlmi.arm.identities import ClusterResource

    return ClusterResource(resource_id, options)


def _connect_local(
    name: str, timeout: float, retrying: Retrying, *, database: str, read_only: bool, history: bool
) -> Session:
    try:
        from kqlmi import local

        with ExitStack() as held:
            found, resource = local.find(), None
            if found is None:
                started = held.enter_context(local.start())
                found, resource = (started.url, started.token), _resource(started.resource_id, started.arm_options)
            target = Target(found[0], sign_in(token=found[1]))
            connection = KustoConnection(target, timeout=timeout, read_only=read_only, retrying=retrying)
            session = Session(
                name,
                connection,
                database=database,
                read_only=read_only,
                history=history,
                resource=resource,
                retrying=retrying,
            )
            session._held.push(held.pop_all())  # noqa: SLF001 - the session stops what was started for it
            return session
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The local cluster needs {error.name}.", hint="Install it: pip install 'kqlmi[local]'."
        ) from error


def _url(cluster: str) -> str:
    """Give a cluster's URL; what might hold a secret is not repeated in the error."""
    found = _URL.fullmatch(cluster.strip())
    if found is None or int(found["port"] or 0) > _LAST_PORT:
        raise InputError(
            "That is not the URL of a cluster.",
            hint="Write https://<cluster>.<region>.kusto.windows.net, or local; --database and --auth say the rest.",
        )
    return found["url"]
