"""A running local cluster as a Python object."""

import atexit
import secrets
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from kqlmi.errors import InputError
from kqlmi.local.azure import loopback
from kqlmi.local.http.server import Server
from kqlmi.local.http.service import Service
from kqlmi.local.state.hubs import Hub
from kqlmi.local.state.persistence import Store
from kqlmi.local.state.state import Grant, State, World
from kqlmi.local.values import resources
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.identities import Identity
from kqlmi.local.values.principals import Caller, Role, new_app

_PORTS = 65_536
ARM_ROLES = ("Reader", "none")
_ROLES = {
    "admin": Role.ADMINS,
    "monitor": Role.MONITORS,
    "viewer": Role.VIEWERS,
    "database admin": Role.ADMINS,
    "user": Role.USERS,
    "ingestor": Role.INGESTORS,
}


class LocalCluster:
    """A cluster on loopback; ``url`` is its address, and ``token`` is the token of an AllDatabasesAdmin."""

    subscription_id = resources.SUBSCRIPTION
    """The subscription that the cluster belongs to."""
    resource_group = resources.GROUP
    """The resource group that the cluster belongs to."""

    def __init__(
        self, state: State, port: int, folder: TemporaryDirectory[str] | None = None, store: Store | None = None
    ) -> None:
        """Serve a state on a port, or on any free port if 0. ``folder`` is removed when the cluster stops."""
        self._state = state
        self._folder, self._store = folder, store
        if store is not None:
            state.keep = lambda: store.save(state)
        self._server: Server | None = _serve(state, port, store.folder / "uploads" if store else None)
        self.url = state.url
        self._admin = Caller(new_app("kqlmi local admin"), frozenset({Role.ADMINS}))
        self._new_token(self._admin)
        # DuckDB reports connections that are still open at exit.
        atexit.register(self.stop)

    def __repr__(self) -> str:
        """Return the address, never the token."""
        return f"<LocalCluster {self.url}{'' if self._server else ', stopped'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def token(self) -> str:
        """The token of an AllDatabasesAdmin; not stored as an attribute, so that a dump of the attributes does not reveal it."""
        return next(token for token, caller in self._state.callers.items() if caller is self._admin)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The managed identities that are assigned to the cluster."""
        return self._state.world.identities

    def token_for(self, role: str, *, database: str | None = None) -> str:
        """Return a token for a new principal with a role.

        ``admin`` and ``monitor`` are AllDatabasesAdmin and AllDatabasesMonitor. With a database, ``viewer``, ``user``,
        ``ingestor``, ``monitor`` and ``database admin`` apply to it alone. Without one, ``database admin`` is Database Admin
        of each database that exists now, and the other roles apply to all databases.
        """
        if role not in _ROLES or (role == "admin" and database is not None):
            allowed = ", ".join(name for name in _ROLES if name != "admin")
            raise ValueError(f"role {role!r} with database {database!r}: use admin (all databases), {allowed}")
        principal = new_app(role if database is None else f"{role} of {database}")
        if database is None and role != "database admin":
            return self._new_token(Caller(principal, frozenset({_ROLES[role]})))
        state = self._state
        with state.lock:
            for one in [state.database(database)] if database is not None else list(state.world.databases.values()):
                state.put(replace(one, grants=(*one.grants, Grant(_ROLES[role], principal))))
        state.keep()
        return self._new_token(Caller(principal))

    @property
    def ingest_url(self) -> str:
        """The address of the ingestion endpoint, for azure-kusto-ingest."""
        return self._state.ingest_url

    @property
    def name(self) -> str:
        """The name of the cluster in its resource group."""
        return self._state.name

    @property
    def resource_id(self) -> str:
        """The resource ID of the cluster; in a data connection, it means the system identity."""
        return resources.cluster_id(self._state.name)

    @property
    def arm_options(self) -> dict[str, Any]:
        """Keyword arguments for the clients of azure-mgmt-kusto and azure-mgmt-msi, in addition to ``subscription_id``."""
        return loopback.options(self.url, self.arm_token)

    @property
    def arm_token(self) -> str:
        """The token for the Azure Resource Manager routes, which does not open databases."""
        return self._state.arm_token

    def arm_options_for(self, role: str) -> dict[str, Any]:
        """Return ``arm_options`` of a principal whose Azure role on the cluster's resource group is ``Reader`` or ``none``."""
        if role not in ARM_ROLES:
            raise ValueError(f"role {role!r} does not exist; the roles are {', '.join(ARM_ROLES)}")
        token = secrets.token_urlsafe(32)
        with self._state.lock:
            self._state.arm_tokens = {**self._state.arm_tokens, token: role}
        return loopback.options(self.url, token)

    def hub(self, namespace: str, name: str) -> Hub:
        """Return an event hub, and create it if it does not exist."""
        return Hub(self._state, namespace, name)

    def add_storage(self, url: str, folder: str | PathLike[str]) -> None:
        """Use a folder of this machine as a container, such as ``https://acct.blob.core.windows.net/data``.

        No principal can open it until ``assign_role``. Nothing outside the folder is read or written.
        """
        path = Path(folder)
        if not path.is_dir():
            raise InputError(f"The folder {path} does not exist.", hint="Create it first.")
        self._change(lambda w: w.with_container(url, path))

    def assign_role(self, object_id: str, url: str, role: str) -> None:
        """Assign an Azure role, such as ``Storage Blob Data Reader``, on a container or an event hub to a principal.

        Specify a hub by its resource ID, or as ``sb://namespace.servicebus.windows.net/hub``.
        """
        self._change(lambda w: replace(w, azure_roles=w.azure_roles.assigned(object_id, url, role)))

    def unassign_role(self, object_id: str, url: str, role: str) -> None:
        """Remove an Azure role from a principal."""
        self._change(lambda w: replace(w, azure_roles=w.azure_roles.unassigned(object_id, url, role)))

    def stop(self) -> None:
        """Stop the cluster; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            atexit.unregister(self.stop)
            server.stop()
        if self._folder is not None:
            self._folder.cleanup()
        if self._store is not None:
            self._state.keep = lambda: None  # another cluster may use the folder by now
            self._store.close()

    def _new_token(self, caller: Caller) -> str:
        token = secrets.token_urlsafe(32)
        with self._state.lock:
            self._state.callers = {**self._state.callers, token: caller}
        return token

    def _change(self, change: Callable[[World], World]) -> None:
        """Change and save the world; raise an error of the cluster as ``InputError``."""
        try:
            self._state.change(change)
        except KustoError as error:
            what = error.detail.partition("cannot be executed: ")[2] or error.detail
            raise InputError(f"{what[:1].upper()}{what[1:]}.", hint="Nothing was changed.") from error
        self._state.keep()


def _serve(state: State, port: int, uploads: Path | None) -> Server:
    if port not in range(_PORTS):
        raise InputError(f"The port {port} does not exist.", hint=f"Use 1 to {_PORTS - 1}, or 0 for any free port.")
    service = Service(state, uploads)
    try:
        return Server(service, port)
    except OSError as error:
        service.close()
        why = (error.strerror or str(error)).partition(" (")[0]
        raise InputError(
            f"The port {port} cannot be used: {why}.", hint="Use another port, or 0 for any free port."
        ) from error
