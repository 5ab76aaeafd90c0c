"""The state of a session, and the checks that precede its operations."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kqlmi.cluster.connection import DEFAULT_TIMEOUT, Connection, Target
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.errors import InputError, KqlmiError
from kqlmi.history import History, Recorder
from kqlmi.model.explain.explanation import Explained, Verdict
from kqlmi.model.explain.gates import Gate
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.directory import Directory
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW
from kqlmi.report import Described, Line, Report, Section
from kqlmi.session.known_names import KnownNames

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource
    from kqlmi.local.cluster import LocalCluster


@dataclass(frozen=True, slots=True, repr=False)
class Refusal(Described):
    """Whatever was refused last: the error, what it can mean, and the uses of identities in the refused statement."""

    error: KqlmiError
    explained: Explained
    verdicts: tuple[Verdict, ...] = ()

    @property
    def explanation(self) -> Gate | None:
        """Return the gate that is seen closed, or None if no identity is to blame."""
        return self.explained.closed

    def report(self) -> Report:
        """Return the closed gate, the commands that open it, and the other requirements of each flow in the statement."""
        found = self.explained.report()
        needed = (
            Section(f"{row.title} needs, in addition to {row.usage}", tuple(map(Line, verdict.needs)))
            for verdict in self.verdicts
            if (row := verdict.reference.workflow)
        )
        unknown = (Line(one.access.reason) for one in self.verdicts if one.reference.flow.startswith(UNKNOWN_FLOW))
        return Report(self.error.message, blocks=(Line(found.title), *found.blocks, *unknown, *needed))


class Core:
    """The state of a session. The modules of this package are functions over it, and ``Session`` has them as methods.

    ``name`` is the cluster's name in every preview, result and error. ``target`` is its address and sign-in, and
    ``resource`` its resource in Azure Resource Manager. ``database`` is the current database. ``known`` contains the names
    read so far, ``plans`` the plans that were shown, by ID, and ``refusal`` the last refusal. ``timeout`` is the default
    for a request, in seconds. ``closing`` closes everything that the session opened, including its ``local_cluster``.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        *,
        database: str = "",
        read_only: bool = False,
        history: bool = True,
        target: Target | None = None,
        resource: "ClusterResource | None" = None,
        retrying: Retrying | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.target, self.resource, self.retrying = target, resource, retrying or Retrying()
        self.name, self.connection, self.database, self.read_only = name, connection, database, read_only
        self.history, self.timeout = History() if history else None, timeout
        self.plans: dict[str, Plan] = {}
        self.refusal: Refusal | None = None
        self.known = KnownNames()
        self.local_cluster: AbstractContextManager[LocalCluster] | None = None
        self.closing = ExitStack()
        self.closing.callback(connection.close)

    @cached_property
    def recorder(self) -> Recorder:
        """Return the recorder of the cluster's changes, or raise InputError if the session keeps no history."""
        if self.history is None:
            raise InputError("This session keeps no history.", hint="Connect without --no-history.")
        return Recorder.of(self.connection, self.history, self.name, self.retrying)


def know(core: Core, directory: Directory) -> None:
    """Replace the directory of known identities."""
    core.known = replace(core.known, directory=directory)


def must_write(core: Core) -> None:
    """Raise InputError if the session is read-only."""
    if core.read_only:
        raise InputError(f"The session on {core.name} is read-only.", hint="Connect without --read-only to write.")


def resource_hint(core: Core) -> str:
    """Return why Azure Resource Manager was not queried, or an empty string if the session knows the cluster's resource."""
    return "" if core.resource else "not checked; to check it, connect with %kqlmi connect … --resource-id ID"


def database_name(core: Core, name: str) -> str:
    """Return ``name``, or else the current database, or raise InputError if there is neither."""
    if not (name or core.database):
        raise InputError("No database is specified.", hint="Pass --database NAME.")
    return name or core.database


def require_own(core: Core, plan: Plan) -> None:
    """Raise InputError if a plan was made for another cluster."""
    if plan.cluster != core.name:
        raise InputError(
            f"The plan was made for {plan.cluster}, but this session is on {core.name}.",
            hint=f"Use the session on {plan.cluster}, or plan the change again.",
        )
