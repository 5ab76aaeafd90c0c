"""What a notebook holds open: a connection to one cluster, and what can be done over it."""

import fnmatch
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from kqlmi.apply import Applied, apply_plan
from kqlmi.cluster import policies
from kqlmi.cluster.connection import DEFAULT_TIMEOUT, Connection, KustoConnection, Target
from kqlmi.cluster.table import Table
from kqlmi.credentials import sign_in
from kqlmi.errors import InputError, MissingExtraError, ServiceError
from kqlmi.model import commands
from kqlmi.model.access import Access, access
from kqlmi.model.entities import Scope, did_you_mean, object_id
from kqlmi.model.plan import Plan, make_plan
from kqlmi.model.policy import Policy, Snapshot

__all__ = ["Applied", "Reading", "Session", "Table", "connect"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Policies that were read, and the refusal of each scope that could not be."""

    snapshot: Snapshot
    refused: Mapping[Scope, ServiceError]


class Session:
    """A connection to one cluster.

    ``name`` names the cluster in every preview, result and error. ``database`` is the database in context.
    """

    def __init__(self, name: str, connection: Connection, *, database: str = "", read_only: bool = False) -> None:
        """Hold a connection; ``connect`` makes one."""
        self.name, self.connection, self.database, self.read_only = name, connection, database, read_only
        self._held = ExitStack()
        self._held.callback(connection.close)

    def __repr__(self) -> str:
        """Give the cluster's name; never a token."""
        return f"<kqlmi session on {self.name}>"

    def __enter__(self) -> Self:
        """Give the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the session."""
        self.close()

    def close(self) -> None:
        """Close the connection, and stop a local cluster that the session started."""
        self._held.close()

    def run(self, text: str, database: str | None = None, *, timeout: float | None = None) -> Table:
        """Send one command or query, byte for byte, and give its table; ``timeout`` is in seconds.

        Raises:
            InputError: The session is read-only and the text writes a policy.
            ServiceError: The cluster refused it.
            ConnectionFailedError: No answer came.
        """
        command = commands.read(text)
        if self.read_only and command and command.verb != "show":
            raise InputError(f"The session on {self.name} is read-only.", hint="Connect without --read-only to write.")
        try:
            return self.connection.execute(text, database or self.database or None, timeout=timeout)
        except ServiceError as error:
            if command and not error.hint:
                error.hint = commands.fault(command)
            raise

    def policy_in(self, answer: Table, text: str, database: str = "") -> Snapshot | None:
        """Give the policy that ``text`` was answered with; None where that is no policy command, or its answer is piped.

        Raises:
            PolicyError: The answer holds something that cannot be read as a policy.
        """
        command = commands.read(text)
        if command is None or command.piped or not policies.holds_policy(answer):
            return None
        name = database or self.database or str(answer.column("EntityName")[0])
        return Snapshot({command.scope or Scope.database(name): policies.policy_of(answer)})

    def databases(self, pattern: str = "*") -> tuple[str, ...]:
        """Give the names of the databases that the caller may see and that match a glob, without letter case."""
        names = map(str, self.connection.execute(".show databases").column("DatabaseName"))
        return tuple(name for name in names if fnmatch.fnmatchcase(name.casefold(), pattern.casefold()))

    def database_scope(self, name: str) -> Scope:
        """Give the scope of an existing database, in its own spelling; InputError with a suggestion if there is none."""
        names = {found.casefold(): found for found in self.databases()}
        if name.casefold() not in names:
            raise InputError(f"There is no database {name!r} on {self.name}.", hint=did_you_mean(name, names.values()))
        return Scope.database(names[name.casefold()])

    def policy(self, scope: Scope) -> Policy | None:
        """Read the policy of a scope; None where there is none."""
        return policies.read_policy(self.connection, scope)

    def read(self, scopes: Iterable[Scope] | None = None) -> Reading:
        """Read the policies of some scopes, or of the cluster and every database; a refusal does not fail the rest."""
        if scopes is None:
            scopes = [Scope.cluster(), *map(Scope.database, self.databases())]
        return Reading(*policies.read_policies(self.connection, scopes))

    def plan(self, desired: Mapping[Scope, Policy | None]) -> Plan:
        """Give the plan that leads from the policies as they are now to ``desired``; None means no policy."""
        current = Snapshot({scope: self.policy(scope) for scope in desired})
        return make_plan(current, Snapshot(desired), cluster=self.name)

    def apply(self, plan: Plan) -> Applied:
        """Carry out exactly ``plan``; ApplyError says what landed if it does not go through."""
        if self.read_only:
            raise InputError(f"The session on {self.name} is read-only.", hint="Connect without read_only to write.")
        if plan.cluster != self.name:
            raise InputError(f"The plan was made for {plan.cluster}, and this session is on {self.name}.")
        return apply_plan(self.connection, plan)

    def access(self, identity: str, usage: str, *, database: str = "") -> Access:
        """Tell whether an identity may be used for something in a database, or in all by the cluster's policy, and why."""
        scope = Scope.database(database) if database else Scope.cluster()
        return access(self.read({Scope.cluster(), scope}).snapshot, object_id(identity), usage, scope)


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

    Raises:
        InputError: The URL, the mode or the timeout is wrong.
        MissingExtraError: ``local`` needs the extra ``kqlmi[local]``.
    """
    if cluster == "local":
        return _connect_local(database=database, name=name or "local", timeout=timeout, read_only=read_only)
    url = _url(cluster)
    target = Target(url, sign_in(auth, token=token, credential=credential))
    connection = KustoConnection(target, timeout=timeout, read_only=read_only)
    return Session(name or urlsplit(url).netloc, connection, database=database, read_only=read_only)


def _connect_local(*, database: str, name: str, timeout: float, read_only: bool) -> Session:
    try:
        from kqlmi import local

        with ExitStack() as held:
            found = local.find()
            if found is None:
                started = held.enter_context(local.start())
                found = (started.url, started.token)
            target = Target(found[0], sign_in(token=found[1]))
            connection = KustoConnection(target, timeout=timeout, read_only=read_only)
            session = Session(name, connection, database=database, read_only=read_only)
            session._held.push(held.pop_all())  # noqa: SLF001 - the session stops what was started for it
            return session
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The local cluster needs {error.name}.", hint="Install it: pip install 'kqlmi[local]'."
        ) from error


def _url(cluster: str) -> str:
    """Give a cluster's URL without path; what might hold a secret is not repeated in the error."""
    parts = urlsplit(cluster.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or ";" in cluster or parts.query:
        raise InputError(
            "That is not the URL of a cluster.",
            hint="Write https://<cluster>.<region>.kusto.windows.net, or local; a sign-in is chosen by --auth.",
        )
    return f"{parts.scheme}://{parts.netloc}"
