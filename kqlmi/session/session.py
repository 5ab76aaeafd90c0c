"""What a notebook holds open: a connection to one cluster, and what can be done over it."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Self

from kqlmi.apply import DEADLINE, Applied, StepResult
from kqlmi.cluster.ingest import Ingestion
from kqlmi.cluster.policies import Policies
from kqlmi.cluster.protocol.table import SeveralTablesWarning, Table
from kqlmi.errors import InputError
from kqlmi.fanout import Progress, unseen
from kqlmi.history import Entry, Reading
from kqlmi.model.audit.audit import Audit
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.azure.connectionplan import ConnectionPlan, Stream
from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.explain.explanation import Verdict
from kqlmi.model.plan import edits
from kqlmi.model.plan.impact import Impact
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.planfile import Live
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.access import Access, access
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.templates import Template
from kqlmi.model.uses.needs import Discovery
from kqlmi.model.vocabulary import checked_usage
from kqlmi.session import (
    audits,
    core,
    ingestion,
    limitations,
    listings,
    policies,
    resource_manager,
    statements,
    templates,
    whoami,
)
from kqlmi.session.plans import application, azure_plans, impact, policy_plans, saved_plan
from kqlmi.session.whoami import Denial, WhoAmI


class Session(core.Core):
    """A connection to one cluster, with all that can be done over it."""

    def __repr__(self) -> str:
        """Return the cluster's name; never a token."""
        return f"<kqlmi session on {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and stop a local cluster that it started, unless another session has kept it."""
        self.closing.close()

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
        return statements.send(self, Statement.parse(text), database, timeout=timeout)

    def check(self, text: str, database: str = "") -> tuple[Verdict, ...]:
        """Return for each identity that a command or query uses whether it would be allowed now; nothing is executed."""
        return statements.check(self, Statement.parse(text), database)

    def policy_in(self, answer: Table, text: str, database: str = "") -> Snapshot | None:
        """Return the policy that ``text`` was answered with; None where that is no policy command, or its answer is piped.

        Raises:
            AnswerError: The answer cannot be read as the policy of the scope that was asked for.
        """
        return statements.policy_in(self, answer, Statement.parse(text), database)

    def databases(self, pattern: str = "") -> tuple[str, ...]:
        """Return the names of the databases that the caller may see, or of those that match a glob, without letter case.

        The pretty name of a database stands for its name where it is the only one.
        """
        return policies.databases(self, pattern)

    def database_scope(self, name: str) -> Scope:
        """Return the scope of an existing database, in its own spelling; InputError with a suggestion if there is none.

        The pretty name of a database stands for its name where it is the only one.
        """
        return policies.database_scope(self, name)

    def policy(self, scope: Scope) -> Policy | None:
        """Read the policy of a scope; None where there is none."""
        return policies.policy(self, scope)

    def read(
        self, scopes: Iterable[Scope] | None = None, *, about: Iterable[str] = (), progress: Progress = unseen
    ) -> Policies:
        """Read the policies of some scopes, or of the cluster and every database; a refusal does not fail the rest.

        ``about`` names identities: what else it takes to know them is asked too. ``progress`` is called with the number
        of scopes that are done, that of all, and what they are.

        Raises:
            ConnectionFailedError: The cluster answers for none.
        """
        return policies.read(self, scopes, about=about, progress=progress)

    def know(self, directory: Directory) -> None:
        """Keep who is who, by what was learnt of it."""
        core.know(self, directory)

    def identity(self, text: str) -> ObjectId:
        """Return the identity that ``text`` names: object ID, ``system``, display name, client ID or resource ID.

        Nothing is sent for an object ID, ``system`` and a name that the session knows; otherwise Azure Resource Manager
        is asked, where it can be, and then the policies.

        Raises:
            InputError: No identity has the name, or several do.
        """
        return policies.identity(self, text)

    def identities(self) -> listings.IdentityList:
        """List the identities that are assigned to the cluster, or stand in a policy; what may not be read is a note."""
        return listings.identities(self)

    def assigned(self) -> tuple[Identity, ...]:
        """Return the identities that are assigned to the cluster, by Azure Resource Manager, which the session then knows.

        Raises:
            InputError: The session does not know the cluster's resource ID.
            KqlmiError: They may not be read.
        """
        return resource_manager.assigned(self)

    def not_assigned(self, plan: PolicyPlan) -> tuple[str, ...]:
        """Return the identities that a plan sends and that are not assigned, so that it will be refused; none if not known."""
        return resource_manager.not_assigned(self, plan)

    def data_connections(self) -> listings.ConnectionList:
        """List the data connections of the databases that the caller may see, with identity and what the policies say.

        Raises:
            InputError: The session does not know the cluster's resource ID.
            KqlmiError: Azure Resource Manager does not tell what is assigned.
        """
        return listings.data_connections(self)

    def discover(self, *, progress: Progress = unseen) -> Discovery:
        """Return where identities are really used, as far as the caller may see it, each source with outcome and window.

        Data connections are a source where the session knows the cluster's resource ID.

        Raises:
            KqlmiError: The databases cannot be listed.
        """
        return resource_manager.discover(self, progress=progress)

    def access(self, identity: str, usage: str, *, database: str = "") -> Access:
        """Return whether an identity may be used for something in a database, or in all by the cluster's policy, and why.

        Raises:
            InputError: The database, the identity's name or the usage is not known.
        """
        scope = self.database_scope(database) if database else Scope.cluster()
        found = self.read([Scope.cluster(), scope], about=(identity,)).permitted
        return access(found, policies.holder(self, identity), checked_usage(usage, found.usages), scope)

    def whoami(self, database: str = "") -> WhoAmI:
        """Return who signed in, with which roles, and what kqlmi can therefore do; what may not be read fails nothing.

        ``database`` is where roles are looked for beside the caller's own list; the one in context by default, or the first.

        Raises:
            InputError: There is no such database.
            KqlmiError: The cluster gave no answer, or nobody could sign in.
        """
        return whoami.whoami(self, database)

    def denial(self) -> Denial | None:
        """Return why the caller may not change policies; None where he may, or where that is not known.

        Changing one needs AllDatabasesAdmin, by the page of the policy. How ``.show principal roles`` spells roles is not
        documented: the lack of the role is no certainty, nor is a role that is not recognised.
        """
        return whoami.denial(self)

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each thing about policies that is otherwise here, as far as it is known without asking."""
        return limitations.notes(self)

    def plan(self, desired: Mapping[Scope, Policy | None]) -> PolicyPlan:
        """Return the plan that leads from the policies as they are now to ``desired``; None means no policy.

        Properties that nobody knows stay with the identities that stay, unless ``desired`` has another value.
        """
        current = Snapshot({scope: self.policy(scope) for scope in desired})
        return policy_plans.make(self, current, edits.keeping(current, Snapshot(desired)))

    def grant(self, identity: str, *usages: str, databases: Iterable[str] = (), cluster: bool = False) -> PolicyPlan:
        """Return the plan that grants usages to an identity, in databases (names or globs) or at the cluster.

        Raises:
            InputError: No scope is given, a name fits no database, or the identity or a usage is not known.
        """
        current = policy_plans.named(self, databases, cluster=cluster, about=identity)
        return policy_plans.make(self, current, edits.grant(current, policies.holder(self, identity), usages))

    def revoke(
        self,
        identity: str,
        *usages: str,
        databases: Iterable[str] = (),
        cluster: bool = False,
        known: Snapshot | None = None,
    ) -> PolicyPlan:
        """Return the plan that takes usages from an identity; what stays allowed through ``All`` or the cluster stays.

        Policies that are ``known``, because they were read just now, are not read again.
        """
        current = policy_plans.named(self, databases, cluster=cluster, about=identity, known=known)
        return policy_plans.make(self, current, edits.revoke(current, policies.holder(self, identity), usages))

    def replace(self, identity: str, by: str) -> PolicyPlan:
        """Return the plan that moves every grant of one identity to another, in all scopes: the grants go first."""
        current = self.read(about=(identity, by)).permitted
        old, new = policies.holder(self, identity), policies.holder(self, by)
        if old == new:
            raise InputError(f"{identity!r} and {by!r} are the same identity.", hint="Name the one that replaces it.")
        return policy_plans.make(self, current, edits.replace(current, old, new))

    def without(self, plan: PolicyPlan, identities: Iterable[str]) -> PolicyPlan:
        """Return a plan that leaves identities out of what a plan sends, for those that are not assigned any more."""
        return replace(self.plan(edits.without(plan, identities).policies), undoes=plan.undoes)

    def export(self, document: str | bytes = "") -> str:
        """Return every policy as a policy file; of an existing ``document``, what did not change stays as it is written.

        Raises:
            ServiceError: A policy may not be read.
        """
        return policy_plans.export(self, document)

    def plan_file(self, document: str | bytes) -> tuple[PolicyPlan, tuple[Scope, ...]]:
        """Return the plan that a policy file wants, and the scopes that it leaves alone.

        Raises:
            PolicyFileError: The file is wrong; the error names the line.
        """
        return policy_plans.plan_file(self, document)

    def saved_plan(self, text: str) -> PolicyPlan:
        """Read a saved plan, with the names of its identities as they are now.

        A name that cannot be verified is left out, and so is the history entry that it undoes.

        Raises:
            InputError: It is not a whole plan for this cluster, it says anything else than what its policies give, or what
                it says of identities or of the cluster's policy is not so.
        """
        return saved_plan.saved_plan(self, text)

    def impact(self, plan: Plan, known: Snapshot | None = None) -> Impact:
        """Return the discovered uses that a plan would stop; what cannot be read is named, and never fails the plan.

        ``known`` are all policies, where they were read just now.
        """
        return impact.impact(self, plan, known)

    def live(self, plan: Plan, known: Snapshot | None = None, *, warn: bool = True) -> Live:
        """Return what a plan would stop where it takes something away; ``warn`` of identities that are not assigned.

        ``known`` is as for ``impact``.
        """
        return impact.live(self, plan, known, warn=warn)

    def apply(
        self,
        plan: Plan,
        *,
        confirm: str = "",
        deadline: float | None = None,
        record: bool = True,
        tell: Callable[[str], None] = lambda _: None,
        progress: Callable[[tuple[StepResult, ...]], None] = lambda _: None,
    ) -> Applied:
        """Apply exactly ``plan``, a change of policies or one in Azure, and verify it; a change of policies is recorded.

        Args:
            plan: What was shown.
            confirm: The cluster's name, where nothing reverts the plan.
            deadline: How long each command may take, or the operation in Azure is followed, in seconds; by default a
                minute, and 15 minutes.
            record: Keep a history entry, by which ``undo`` reverts the change.
            tell: Called with a sentence where a lost answer has to be waited for, and as an operation in Azure goes on.
            progress: Called before the first command and after each step of a change of policies, with the results so far.

        Raises:
            InputError: The session is read-only, or the cluster's name is not the one to confirm.
            ApplyError: It did not go through; the error says what landed.
            HistoryError: It cannot be recorded; nothing was sent.
        """
        terms = application.Terms(deadline, record, tell, progress)
        return application.apply(self, plan, terms, confirm=confirm)

    def undo_plan(self, entry: str = "") -> PolicyPlan:
        """Return the plan that reverts a history entry, by the beginning of its ID, or the last change that stands."""
        return policy_plans.undo_plan(self, entry)

    def undo(self, entry: str = "") -> Applied:
        """Revert a history entry, or the last change that stands; a second undo is not a redo."""
        return self.apply(self.undo_plan(entry))

    def recorded(self) -> Reading:
        """Return what the history holds of this cluster, newest last, and the files that could not be read."""
        return self.recorder.read()

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Settle the history entries that were left open, by what the policies show; return them as they are now."""
        return self.recorder.settle(deadline=deadline)

    def audit(
        self,
        document: str | bytes = "",
        *,
        assigned: Iterable[Identity] | None = None,
        today: date | None = None,
        progress: Progress = unseen,
    ) -> Audit:
        """Return what is wrong with the policies, or wider than it need be, with evidence and the plan that fixes it.

        Args:
            document: A policy file, whose accepted findings do not count before their end.
            assigned: The identities that are assigned to the cluster; by default Azure Resource Manager is asked, where
                the session knows the cluster's resource ID. Without them orphans are not looked for.
            today: The day on which acceptances are judged, in UTC; the present one by default.
            progress: Called with how much was read, of how much, and what it is.

        Raises:
            PolicyFileError: The file is wrong; the error names the line.
        """
        return audits.audit(self, document, assigned=assigned, today=today, progress=progress)

    def tighten(
        self,
        *,
        also_unproven: bool = False,
        assigned: Iterable[Identity] | None = None,
        progress: Progress = unseen,
    ) -> audits.Tightening:
        """Return the plan for the smallest policies that keep all discovered use, with the reason of each grant.

        Args:
            also_unproven: Take away what was not seen in use too, though that does not prove it unused.
            assigned: As for ``audit``; the objects of identities that are not assigned go.
            progress: As for ``audit``.

        Raises:
            InputError: A policy may not be read, so that nothing can be said of the others.
        """
        return audits.tighten(self, also_unproven=also_unproven, assigned=assigned, progress=progress)

    def new(self, flow: str, *, identity: str, database: str = "", **parameters: str) -> Template:
        """Write the command or program of a flow for an identity in a database, with all gates as a checklist.

        Nothing of it is executed. ``kqlmi.model.templates.FORMS[flow].fields`` are its parameters.

        Raises:
            InputError: The flow, the identity or the database is not known, or a parameter is missing or does not fit.
        """
        return templates.new(self, flow, parameters, identity=identity, database=database)

    def ingest(
        self,
        uri: str,
        table: str,
        *,
        identity: str = "",
        database: str = "",
        format: str = "",  # noqa: A002 - the service's own name
        mapping: str = "",
        ignore_first_record: bool = False,
        wait: float = ingestion.WAIT,
        interval: float = 2.0,
        tell: Callable[[str], None] = lambda _: None,
        progress: Callable[[float], None] = lambda _: None,
    ) -> Ingestion:
        """Ingest a blob into a table as a managed identity, and follow it to its outcome.

        Args:
            uri: ``https://…`` or ``abfss://…`` without credentials; ``;managed_identity=…`` may name the identity already.
            table: A table of the database.
            identity: Display name, object ID, client ID or ``system``.
            database: By default the database in context.
            format: A data format of ingestion, such as ``csv``; by default that of the file's ending.
            mapping: The name of an ingestion mapping.
            ignore_first_record: Skip the header of the file.
            wait: For so many seconds the outcome is waited for; 0 only queues, and gives the outcome ``queued``.
            interval: At most so many seconds pass between two looks, fewer in the beginning.
            tell: Called with a sentence for what is sent, before it is, for what was done, and for what could not be
                checked.
            progress: Called with the seconds waited so far, after each look.

        Raises:
            InputError: Something given is wrong, or no policy allows it; nothing was sent.
            IngestionError: The file was not ingested, or nothing was heard of it in time.
            ConnectionFailedError: It cannot be sent from here.
            RequestInterruptedError: It was interrupted; what became of the blob is told.
        """
        return ingestion.ingest(
            self,
            uri,
            table,
            identity=identity,
            database=database,
            data_format=format,
            mapping=mapping,
            ignore_first_record=ignore_first_record,
            wait=wait,
            interval=interval,
            tell=tell,
            progress=progress,
        )

    def assign(self, identity: str) -> AssignmentPlan:
        """Return the plan that assigns an identity to the cluster, with all that are assigned already.

        Args:
            identity: ``system``, or a user-assigned identity by its resource ID, or by its name, object ID or client ID in
                the cluster's subscription.

        Raises:
            InputError: There is no such identity, or the session does not know the cluster's resource ID.
            ResourceManagerError: What is assigned may not be read, or the identity.
        """
        return azure_plans.assign(self, identity)

    def unassign(self, identity: str) -> AssignmentPlan:
        """Return the plan that takes an identity from the cluster; the others stay.

        Args:
            identity: ``system``, or a user-assigned one by resource ID, name, object ID or client ID.

        Raises:
            InputError: It is not assigned, or the session does not know the cluster's resource ID.
            ResourceManagerError: What is assigned may not be read.
        """
        return azure_plans.unassign(self, identity)

    def connect_eventhub(
        self,
        name: str,
        *,
        hub: str,
        table: str,
        identity: str,
        database: str = "",
        consumer_group: str = "$Default",
        data_format: str = "",
        mapping: str = "",
    ) -> ConnectionPlan:
        """Return the plan for a data connection that receives an event hub's events into a table, as an identity.

        Args:
            name: The name of the data connection, which must be new.
            hub: The event hub's resource ID.
            table: The table, in ``database`` (by default the one in context).
            identity: An assigned identity: ``system``, or its name, resource ID, object ID or client ID.
            database: The database.
            consumer_group: The hub's consumer group.
            data_format: The format of the events, such as ``json``; the service's own default where it is not given.
            mapping: The name of an ingestion mapping of the table.

        Raises:
            InputError: The database, the hub's resource ID or the identity is wrong.
            ResourceManagerError: What is assigned may not be read.
        """
        stream = Stream(hub, table, consumer_group, data_format, mapping)
        return azure_plans.connect_eventhub(self, name, stream, identity=identity, database=database)
