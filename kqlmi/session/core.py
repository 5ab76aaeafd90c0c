"""What a session holds, and what has to be so before anything is done with it."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kqlmi.cluster.connection import DEFAULT_TIMEOUT, Connection, Target
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.errors import InputError, ServiceError
from kqlmi.history import History, Recorder
from kqlmi.model.explain.explanation import Verdict
from kqlmi.model.explain.gates import Gate
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.directory import Directory
from kqlmi.report import Described, Line, Report, Section
from kqlmi.session.known_names import KnownNames

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource
    from kqlmi.local.cluster import LocalCluster


@dataclass(frozen=True, slots=True)
class Refusal(Described):
    """The error by which a text was refused, and why; ``explanation`` is None where no identity is to blame."""

    error: ServiceError
    explanation: Gate | None
    verdicts: tuple[Verdict, ...]

    def report(self) -> Report:
        """Return the gate that is closed, the lines that open it, and what else each flow of the text needs."""
        found = self.explanation.report() if self.explanation else Report("No identity seems to be the reason.")
        needed = (
            Section(f"{row.title} needs, beside {row.usage}", tuple(map(Line, verdict.needs)))
            for verdict in self.verdicts
            if (row := verdict.reference.workflow)
        )
        return Report(self.error.message, blocks=(Line(found.title), *found.blocks, *needed))


class Core:
    """What a session holds; the modules of this package are functions over it, and ``Session`` has them as methods.

    ``name`` names the cluster in every preview, result and error. ``target`` is where it is, and ``resource`` where it is
    in Azure Resource Manager. ``database`` is the database in context. ``known`` holds the names that were read so far.
    ``plans`` are those that were shown, by ID, and ``refusal`` is the last one. ``timeout`` is the connection's own, in
    seconds. ``closing`` ends what the session keeps open, and ``local_cluster`` is the one that was started for it.
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
        """Return what records changes of the cluster; InputError where the session keeps no history."""
        if self.history is None:
            raise InputError("This session keeps no history.", hint="Connect without --no-history.")
        return Recorder.of(self.connection, self.history, self.name, self.retrying)


def know(core: Core, directory: Directory) -> None:
    """Keep who is who, by what was learnt of it."""
    core.known = replace(core.known, directory=directory)


def must_write(core: Core) -> None:
    """Raise InputError where the session is read-only."""
    if core.read_only:
        raise InputError(f"The session on {core.name} is read-only.", hint="Connect without --read-only to write.")


def database_name(core: Core, name: str) -> str:
    """Return the database that is named, or else the one in context; InputError where there is neither."""
    if not (name or core.database):
        raise InputError("No database is said.", hint="Say --database NAME.")
    return name or core.database


def require_own(core: Core, plan: Plan) -> None:
    """Raise InputError for a plan that was made for another cluster."""
    if plan.cluster != core.name:
        raise InputError(f"The plan was made for {plan.cluster}, and this session is on {core.name}.")
