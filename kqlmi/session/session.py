"""What a notebook holds open: a connection to one cluster, and what can be done over it."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kqlmi.apply import DEADLINE, Applied, StepResult, apply_plan
from kqlmi.cluster import answer_subjects, policies
from kqlmi.cluster.connection import DEFAULT_TIMEOUT, Connection, Target, server_deadline
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.cluster.protocol.table import SeveralTablesWarning, Table
from kqlmi.errors import AnswerError, InputError, ServiceError
from kqlmi.fanout import Progress, unseen
from kqlmi.history import Entry, History, Reading
from kqlmi.model.entities import ObjectId, Scope, checked_usage, did_you_mean
from kqlmi.model.explain.explanation import Verdict
from kqlmi.model.kql.tokenizer import is_write
from kqlmi.model.plan import edits
from kqlmi.model.plan.plan import Plan, make_plan
from kqlmi.model.policy import commands
from kqlmi.model.policy.access import Access, access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.recording import Recorder, cells
from kqlmi.session import auditing, azure, changing, identifying, impact
from kqlmi.session.explaining import Refusal, check, explain
from kqlmi.session.ingesting import ingest
from kqlmi.session.met import Met
from kqlmi.session.places import notes
from kqlmi.session.rights import denial
from kqlmi.session.saved import saved_plan
from kqlmi.session.templating import new
from kqlmi.session.whoami import whoami

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource
    from kqlmi.session.started import Started


class Session:
    """A connection to one cluster.

    ``name`` names the cluster in every preview, result and error. ``target`` is where it is. ``database`` is the database
    in context. ``met`` holds the names that were read so far. ``timeout`` is the connection's own, in seconds.
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
        """Hold a connection; ``connect`` makes one."""
        self.target, self.resource, self._retrying = target, resource, retrying or Retrying()
        self.name, self.connection, self.database, self.read_only = name, connection, database, read_only
        self.history, self.timeout = History() if history else None, timeout
        self.plans: dict[str, Plan | changing.AzurePlan] = {}
        self.refusal: Refusal | None = None
        self.met = Met()
        self.started: Started | None = None
        self._held = ExitStack()
        self._held.callback(connection.close)

    def __repr__(self) -> str:
        """Give the cluster's name; never a token."""
        return f"<kqlmi session on {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and stop a local cluster that it started, unless another session has kept it."""
        self._held.close()

    def run(self, text: str, database: str | None = None, *, timeout: float | None = None) -> Table:
        """Send one command or query, byte for byte, and return its table; ``timeout`` is in seconds.

        A policy command that writes is recorded, with the policy read before and after it, so that ``undo`` reverts it.

        Warns:
            SeveralTablesWarning: The answer has several tables, as that of ``fork``: they are in ``.tables``, and the
                first is returned.

        Raises:
            InputError: The session is read-only, and the text is a command that does not begin with .show; or the timeout
                is not possible.
            ServiceError: The cluster refused it.
            ConnectionFailedError: No answer came.
        """
        answer = self.send(text, database, timeout=timeout)
        if answer.others:
            warnings.warn(
                f"The answer has {len(answer.tables)} tables, of which this is the first: see .tables.",
                SeveralTablesWarning,
                stacklevel=2,
            )
        return answer

    def send(self, text: str, database: str | None = None, *, timeout: float | None = None) -> Table:
        """Do what ``run`` does, for a caller that looks at every table of the answer."""
        command, written = commands.read(text), commands.writes(text)
        if self.read_only and is_write(text):
            raise InputError(f"The session on {self.name} is read-only.", hint="Connect without --read-only to write.")
        name, limit = self._named(database), self.timeout if timeout is None else timeout
        server_deadline(limit)
        try:
            if written:
                if self.history:
                    return cells.run(self._recorder, written, text, name, timeout=limit)
                return policies.write_policy(self.connection, text, name, timeout=limit, retrying=self._retrying)
            return self.connection.execute(text, name or None, timeout=timeout)
        except ServiceError as error:
            if command and not error.hint:
                error.hint = commands.fault(command)
            if command and not command.piped and not error.hint and (unknown := policies.no_such_policy(error)):
                raise unknown from error
            self.refusal = explain(self, error, text, name)
            if (explained := self.refusal.explanation) and explained.mends and explained.certain:
                # A mend that is a cell of its own does not fit on the line of an error.
                mend = explained.mends[0]
                error.hint = f"To mend it: {'%kqlmi explain' if chr(10) in mend else mend}"
            raise

    def check(self, text: str, database: str = "") -> tuple[Verdict, ...]:
        """Tell for each identity that a command or query uses whether it would be allowed now; nothing is executed."""
        return check(self, text, self._named(database))

    def _named(self, database: str | None) -> str:
        """Give the database that was said, by its name or pretty name, or else the one in context."""
        return self.met.database(database or self.database)

    def policy_in(self, answer: Table, text: str, database: str = "") -> Snapshot | None:
        """Return the policy that ``text`` was answered with; None where that is no policy command, or its answer is piped.

        Raises:
            AnswerError: The answer cannot be read as the policy of the scope that was asked for.
        """
        command = commands.read(text)
        if command is None or command.piped or not policies.holds_policy(answer):
            return None
        policy, name = policies.policy_of(answer), answer_subjects.entity_name(answer)
        database = self._named(database) or name
        scope = command.scope or (Scope.database(database) if database else None)
        if scope is None:
            return None
        called = scope if scope.is_cluster else Scope.database(self.met.database(str(scope.name)))
        about = answer_subjects.is_about(answer, called)
        if about is False or (about is None and name in self.met.databases):
            raise AnswerError(f"The answer is not about the policy of the {scope}.")
        found = Snapshot({scope: policy})
        self.met = self.met.reading(found)
        return found

    def databases(self, pattern: str = "") -> tuple[str, ...]:
        """Return the names of the databases that the caller may see, or of those that match a glob, without letter case.

        The pretty name of a database stands for its name where it is the only one.
        """
        self.met = self.met.listing(self.connection.execute(".show databases"))
        return self.met.matching(pattern) if pattern else self.met.databases

    def database_scope(self, name: str) -> Scope:
        """Give the scope of an existing database, in its own spelling; InputError with a suggestion if there is none.

        The pretty name of a database stands for its name where it is the only one.
        """
        self.databases()
        found = self.met.database(name)
        if found not in self.met.databases:
            hint = did_you_mean(name, [*self.met.databases, *self.met.pretty.values()])
            raise InputError(f"There is no database {name!r} on {self.name}.", hint=hint)
        return Scope.database(found)

    def policy(self, scope: Scope) -> Policy | None:
        """Read the policy of a scope; None where there is none."""
        found = policies.read_policy(self.connection, scope)
        return found and found.marking(self.met.directory.earlier)

    def read(
        self, scopes: Iterable[Scope] | None = None, *, about: Iterable[str] = (), progress: Progress = unseen
    ) -> policies.Policies:
        """Read the policies of some scopes, or of the cluster and every database; a refusal does not fail the rest.

        ``about`` names identities: what else it takes to know them is asked too. ``progress`` is called with the number
        of scopes that are done, that of all, and what they are.

        Raises:
            ConnectionFailedError: The cluster answers for none.
        """
        if names := tuple(about):
            return identifying.read(self, names, scopes, progress=progress)
        if scopes is None:
            scopes = [Scope.cluster(), *map(Scope.database, self.databases())]
        found = policies.read_policies(self.connection, scopes, progress)
        found = replace(found, snapshot=found.snapshot.marking(self.met.directory.earlier))
        self.met = self.met.reading(found.snapshot)
        return found

    def plan(self, desired: Mapping[Scope, Policy | None]) -> Plan:
        """Return the plan that leads from the policies as they are now to ``desired``; None means no policy.

        Properties that nobody knows stay with the identities that stay, unless ``desired`` has another value.
        """
        current = Snapshot({scope: self.policy(scope) for scope in desired})
        return self._plan(current, edits.keeping(current, Snapshot(desired)))

    def know(self, directory: Directory) -> None:
        """Keep who is who, by what was learnt of it."""
        self.met = replace(self.met, directory=directory)

    def identity(self, text: str) -> ObjectId:
        """Return the identity that ``text`` names: object ID, ``system``, display name, client ID or resource ID.

        Nothing is sent for an object ID, ``system`` and a name that the session knows; otherwise Azure Resource Manager
        is asked, where it can be, and then the policies.

        Raises:
            InputError: No identity has the name, or several do.
        """
        identifying.look_up(self, (text,))
        return self.met.directory.resolve(text).object_id

    def grant(self, identity: str, *usages: str, databases: Iterable[str] = (), cluster: bool = False) -> Plan:
        """Give the plan that grants usages to an identity, in databases (names or globs) or at the cluster.

        Raises:
            InputError: No scope is said, a name fits no database, or the identity or a usage is not known.
        """
        current = self._in(databases, cluster=cluster, about=(identity,))
        return self._plan(current, edits.grant(current, self._holder(identity), usages))

    def revoke(
        self,
        identity: str,
        *usages: str,
        databases: Iterable[str] = (),
        cluster: bool = False,
        known: Snapshot | None = None,
    ) -> Plan:
        """Return the plan that takes usages from an identity; what stays allowed through ``All`` or the cluster stays.

        Policies that are ``known``, because they were read just now, are not read again.
        """
        current = self._in(databases, cluster=cluster, about=(identity,), known=known)
        return self._plan(current, edits.revoke(current, self._holder(identity), usages))

    def replace(self, identity: str, by: str) -> Plan:
        """Give the plan that moves every grant of one identity to another, in all scopes: the grants go first."""
        current = self.read(about=(identity, by)).permitted
        old, new = self._holder(identity), self._holder(by)
        if old == new:
            raise InputError(f"{identity!r} and {by!r} are the same identity.", hint="Name the one that replaces it.")
        return self._plan(current, edits.replace(current, old, new))

    def without(self, plan: Plan, identities: Iterable[str]) -> Plan:
        """Give a plan that leaves identities out of what a plan sends, for those that are not assigned any more."""
        return replace(self.plan(edits.without(plan, identities).policies), undoes=plan.undoes)

    def export(self, document: str | bytes = "") -> str:
        """Give every policy as a policy file; of an existing ``document``, what did not change stays as it is written.

        Raises:
            ServiceError: A policy may not be read.
        """
        from kqlmi import policyfile

        databases = self.databases()
        scopes = [Scope.cluster(), *map(Scope.database, databases)]
        if document:
            scopes = list(policyfile.read(document).scopes(databases))
        found = self._readable(scopes)
        return policyfile.update(document, found) if document else policyfile.export(found, cluster=self.name)

    def plan_file(self, document: str | bytes) -> tuple[Plan, tuple[Scope, ...]]:
        """Give the plan that a policy file wants, and the scopes that it leaves alone.

        Raises:
            PolicyFileError: The file is wrong; the error names the line.
        """
        from kqlmi import policyfile

        file, databases = policyfile.read(document), self.databases()
        current = self._readable(file.scopes(databases))
        desired = file.desired(current, databases)
        plan = make_plan(current, desired.snapshot, cluster=self.name, exactly=True, names=self.met.identities)
        return plan, desired.unmanaged

    audit, tighten, denial = auditing.audit, auditing.tighten, denial
    impact, live, saved_plan = impact.impact, impact.live, saved_plan
    assigned, identities, data_connections = azure.assigned, azure.identities, azure.data_connections
    discover, carry_out, impact_of = azure.discover, changing.carry_out, changing.impact_of
    assign, unassign, connect_hub = changing.assign, changing.unassign, changing.connect_hub
    not_assigned, ingest, new, notes, whoami = azure.not_assigned, ingest, new, notes, whoami

    def _holder(self, text: str) -> ObjectId:
        """Return who is meant, by all that was read for it."""
        return self.met.directory.resolve(text).object_id

    def _in(
        self, databases: Iterable[str], *, cluster: bool, about: tuple[str, ...], known: Snapshot | None = None
    ) -> Snapshot:
        """Read the policies of the scopes that were named, and what tells who is meant."""
        scopes, read = [Scope.cluster()] if cluster else [], known or Snapshot()
        if known is None:
            self.databases()
        for pattern in databases:
            found = self.met.matching(pattern)
            scopes += map(Scope.database, found) if found else [self.database_scope(pattern)]
        if not scopes:
            raise InputError("No scope is said.", hint="Say --database NAME (or a glob), or --cluster.")
        missing = [scope for scope in scopes if scope not in read.policies]
        more = _whole(self.read(missing, about=about)) if missing else Snapshot()
        return Snapshot({scope: {**read.policies, **more.policies}[scope] for scope in scopes})

    def _readable(self, scopes: Iterable[Scope]) -> Snapshot:
        """Read policies of which none may be missing."""
        return _whole(self.read(scopes))

    def _plan(self, current: Snapshot, desired: Snapshot) -> Plan:
        return make_plan(current, desired, cluster=self.name, names=self.met.identities)

    def undo_plan(self, entry: str = "") -> Plan:
        """Give the plan that takes back a history entry, by the beginning of its ID, or the last change that stands."""
        plan = self._recorder.undo(entry)
        return replace(plan, names={**self.met.identities, **plan.names})

    def undo(self, entry: str = "") -> Applied:
        """Take back a history entry, or the last change that stands; a second undo is not a redo."""
        return self.apply(self.undo_plan(entry))

    def recorded(self) -> Reading:
        """Give what the history holds of this cluster, newest last, and the files that could not be read."""
        return self._recorder.read()

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Settle the history entries that were left open, by what the policies show; give them as they are now."""
        return self._recorder.settle(deadline=deadline)

    @cached_property
    def _recorder(self) -> Recorder:
        if self.history is None:
            raise InputError("This session keeps no history.", hint="Connect without --no-history.")
        return Recorder.of(self.connection, self.history, self.name, self._retrying)

    def apply(
        self,
        plan: Plan,
        *,
        deadline: float = DEADLINE,
        record: bool = True,
        tell: Callable[[str], None] = lambda _: None,
        progress: Callable[[tuple[StepResult, ...]], None] = lambda _: None,
    ) -> Applied:
        """Carry out exactly ``plan``, each command within ``deadline`` seconds, and record it.

        ``tell`` is called with a sentence when a lost answer has to be waited for; ``progress`` before the first command
        and after each step, with the results so far.

        Raises:
            ApplyError: It did not go through; the error says what landed.
            HistoryError: It cannot be recorded; nothing was sent.
        """
        if not isinstance(plan, Plan):
            raise InputError("That plan is for Azure.", hint="Give it to session.carry_out.")
        if self.read_only:
            raise InputError(f"The session on {self.name} is read-only.", hint="Connect without read_only to write.")
        if plan.cluster != self.name:
            raise InputError(f"The plan was made for {plan.cluster}, and this session is on {self.name}.")
        self._refuse_followers(plan)
        if self.history is None or not record or not plan.steps:
            return apply_plan(
                self.connection, plan, deadline=deadline, tell=tell, progress=progress, retrying=self._retrying
            )
        return self._recorder.apply(plan, deadline=deadline, tell=tell, progress=progress)

    def _refuse_followers(self, plan: Plan) -> None:
        scopes = [step.scope for step in plan.steps if not step.scope.is_cluster]
        if scopes and not self.met.databases:
            self.databases()
        for scope in scopes:
            if scope in self.met.following:
                raise InputError(
                    f"The {scope} follows that of another cluster, and its policy is changed there.",
                    hint="Connect to the leader's cluster.",
                )

    def access(self, identity: str, usage: str, *, database: str = "") -> Access:
        """Tell whether an identity may be used for something in a database, or in all by the cluster's policy, and why.

        Raises:
            InputError: The database, the identity's name or the usage is not known.
        """
        scope = self.database_scope(database) if database else Scope.cluster()
        found = self.read([Scope.cluster(), scope], about=(identity,)).permitted
        return access(found, self._holder(identity), checked_usage(usage, found.usages), scope)


def _whole(reading: policies.Policies) -> Snapshot:
    """Return policies of which none may be missing."""
    for error in reading.refused.values():
        raise error
    return reading.snapshot
