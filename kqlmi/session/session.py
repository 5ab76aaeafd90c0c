"""A session on one cluster, with all operations of kqlmi as methods."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from types import MappingProxyType
from typing import Self

from kqlmi.apply import DEADLINE, Applied, StepResult
from kqlmi.cluster.ingest import Ingestion
from kqlmi.cluster.policies import Policies
from kqlmi.cluster.protocol.table import SeveralTablesWarning, Table
from kqlmi.errors import InputError
from kqlmi.fanout import Progress, unseen
from kqlmi.history import Entry, Reading
from kqlmi.model.audit.accessmap import AccessMap
from kqlmi.model.audit.audit import Audit
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.azure.connectionplan import ConnectionPlan, Stream
from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.explain.explanation import Verdicts
from kqlmi.model.explain.failures import FailureList
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
from kqlmi.model.uses.documents import DocumentKind
from kqlmi.model.uses.needs import Discovery
from kqlmi.model.vocabulary import checked_usage
from kqlmi.report import Described, Line, Report, counted
from kqlmi.session import (
    audits,
    core,
    enablement,
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


class Session(core.Core, Described):
    """A connection to one cluster, with all operations over it."""

    def report(self) -> Report:
        """Return the settings of the session and the number of names that it knows, without a request and without secrets."""
        state = f"{'read-only' if self.read_only else 'read and write'}, {f'database {self.database}' if self.database else 'no database'}"
        known = self.known
        names = f"{counted(len(known.databases), 'database')}, "
        names += counted(len(known.directory.identities), "identity", "identities")
        lines = [f"known     {names}", f"history   {'recorded' if self.history else 'not recorded'}"]
        if self.target:
            lines = [f"address   {self.target.query_url}", f"sign-in   {self.target.sign_in.mode}", *lines]
        return Report(f"Session on {self.name}", state, tuple(map(Line, lines)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and stop a local cluster that the session started, unless another session has kept it."""
        self.closing.close()

    def run(
        self,
        text: str,
        database: str | None = None,
        *,
        timeout: float | None = None,
        parameters: Mapping[str, object] = MappingProxyType({}),
    ) -> Table:
        """Send one command or query, byte for byte, and return its table. ``timeout`` is in seconds.

        ``parameters`` are the values of a query's declared parameters, which are sent separately from the query: Python
        values, or a literal as a string. A time without a time zone is in UTC.

        A policy command that writes is recorded, with the policy before and after it, so that ``undo`` can revert it.

        Warns:
            SeveralTablesWarning: The response has several tables, as for ``fork``. The first is returned, and ``.tables``
                contains all of them.

        Raises:
            InputError: The session is read-only and the command does not begin with .show, the timeout is invalid, or the
                query does not declare a parameter or declares it with another type.
            ServiceError: The cluster refused the command or query.
            ConnectionFailedError: The cluster did not respond.
        """
        statement = Statement.parse(text)
        answer = self.send(statement.bound(parameters) if parameters else statement, database, timeout=timeout)
        if answer.others:
            warnings.warn(
                f"The response has {len(answer.tables)} tables, of which this is the first; all are in .tables.",
                SeveralTablesWarning,
                stacklevel=2,
            )
        return answer

    def send(self, text: str, database: str | None = None, *, timeout: float | None = None) -> Table:
        """Send one command or query as ``run`` does, without a warning about several tables."""
        return statements.send(self, Statement.parse(text), database, timeout=timeout)

    def check(self, text: str, database: str = "", *, kind: DocumentKind = "kql") -> Verdicts:
        """Return, for each identity that a command, query or script uses, whether the use would be allowed now.

        The identities in ManagedIdentity policies and LightIngest lines count too. ``kind`` is ``json`` for an ARM template
        or a policy, and ``bicep`` for a Bicep file, of which only the string literals are read. Nothing is executed.
        """
        return statements.check(self, text, database, kind)

    def explain(self, text: str = "") -> core.Refusal | None:
        """Return whatever was refused last, with everything that can be read about the gates that it can mean.

        The result is None if nothing was refused. If ``text`` is the text of a refusal from elsewhere, that is explained
        instead, by the catalogue of refusals.
        """
        return statements.explain_text(self, text) if text else statements.explained(self)

    def failures(self, database: str = "") -> FailureList:
        """Return the latest failures of ingestion and of continuous exports in a database, each explained by its text.

        A source that cannot be read is listed in the notes.

        Raises:
            InputError: The database does not exist, or there is no current one.
        """
        return listings.failures(self, database)

    def policy_in(self, answer: Table, text: str, database: str = "") -> Snapshot | None:
        """Return the policy in the response to ``text``, or None if that is piped or not a policy command.

        Raises:
            AnswerError: The response does not contain the policy of the requested scope.
        """
        return statements.policy_in(self, answer, Statement.parse(text), database)

    def databases(self, pattern: str = "") -> tuple[str, ...]:
        """Return the names of the databases that are visible to the caller, or of those that match a glob, ignoring case.

        A unique pretty name also matches.
        """
        return policies.databases(self, pattern)

    def database_scope(self, name: str) -> Scope:
        """Return the scope of a database, with the name spelled as on the cluster. A unique pretty name also works.

        Raises:
            InputError: The database does not exist, or its pretty name is ambiguous. The hint suggests a name.
        """
        return policies.database_scope(self, name)

    def policy(self, scope: Scope) -> Policy | None:
        """Return the policy of a scope, or None if it has none."""
        return policies.policy(self, scope)

    def read(
        self, scopes: Iterable[Scope] | None = None, *, about: Iterable[str] = (), progress: Progress = unseen
    ) -> Policies:
        """Read the policies of some scopes, or of the cluster and every database. A refusal does not fail the rest.

        ``about`` contains names of identities: whatever else identifies them is read too. ``progress`` is called with the
        number of scopes read so far, their total number, and what they are.

        Raises:
            ConnectionFailedError: The cluster does not respond for any of the scopes.
        """
        return policies.read(self, scopes, about=about, progress=progress)

    def know(self, directory: Directory) -> None:
        """Replace the directory of known identities."""
        core.know(self, directory)

    def identity(self, text: str) -> ObjectId:
        """Return the identity that ``text`` names: object ID, ``system``, display name, client ID or resource ID.

        Nothing is sent for an object ID, ``system`` and a name that the session knows. Otherwise Azure Resource Manager is
        queried, if possible, and then the policies are read.

        Raises:
            InputError: No identity has the name, or several do.
        """
        return policies.identity(self, text)

    def identities(self) -> listings.IdentityList:
        """Return the identities that are assigned to the cluster or listed in a policy. Each failure to read is a note."""
        return listings.identities(self)

    def assigned(self) -> tuple[Identity, ...]:
        """Return the identities that Azure Resource Manager lists as assigned, and remember them in the session.

        Raises:
            InputError: The session does not know the cluster's resource ID.
            KqlmiError: The identities cannot be read.
        """
        return resource_manager.assigned(self)

    def not_assigned(self, plan: PolicyPlan) -> tuple[str, ...]:
        """Return the unassigned identities in a plan's commands, which the cluster will refuse.

        The result is empty if the assignments are unknown.
        """
        return resource_manager.not_assigned(self, plan)

    def data_connections(self) -> listings.ConnectionList:
        """Return the data connections of the visible databases, each checked against the policies.

        Raises:
            InputError: The session does not know the cluster's resource ID.
            KqlmiError: The assigned identities cannot be read.
        """
        return listings.data_connections(self)

    def discover(self, *, progress: Progress = unseen) -> Discovery:
        """Return the actual uses of identities that are visible to the caller, and each source's outcome and time window.

        Data connections are a source if the session knows the cluster's resource ID.

        Raises:
            KqlmiError: The databases cannot be listed.
        """
        return resource_manager.discover(self, progress=progress)

    def access(self, identity: str, usage: str, *, database: str = "") -> Access:
        """Return whether an identity may be used for a usage in a database, or by the cluster's policy in all, and why.

        Raises:
            InputError: The database, the identity's name or the usage is unknown.
        """
        scope = self.database_scope(database) if database else Scope.cluster()
        found = self.read([Scope.cluster(), scope], about=(identity,)).permitted
        return access(found, policies.holder(self, identity), checked_usage(usage, found.usages), scope)

    def whoami(self, database: str = "") -> WhoAmI:
        """Return the signed-in principal, its roles, and what the roles allow kqlmi to do.

        The result also lists what could not be read. In addition to the caller's own list, roles are read from
        ``database``, by default the current or else the first database.

        Raises:
            InputError: The database does not exist.
            KqlmiError: The cluster did not respond, or the sign-in failed.
        """
        return whoami.whoami(self, database)

    def denial(self) -> Denial | None:
        """Return the reason why the caller cannot change policies, or None if there is none or the roles cannot be read.

        According to the policy's documentation, a change requires AllDatabasesAdmin. The spelling of roles in
        ``.show principal roles`` is not documented, so a missing or unrecognised role proves nothing for certain.
        """
        return whoami.denial(self)

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each limitation of policies on this cluster that is known without a request."""
        return limitations.notes(self)

    def plan(self, desired: Mapping[Scope, Policy | None]) -> PolicyPlan:
        """Return the plan that changes the current policies into ``desired``, in which None means no policy.

        Remaining identities keep their unknown properties, unless ``desired`` has another value.
        """
        current = Snapshot({scope: self.policy(scope) for scope in desired})
        return policy_plans.make(self, current, edits.keeping(current, Snapshot(desired)))

    def grant(self, identity: str, *usages: str, databases: Iterable[str] = (), cluster: bool = False) -> PolicyPlan:
        """Return the plan that grants usages to an identity, in databases (names or globs) or in the cluster's policy.

        Raises:
            InputError: No scope is specified, a name matches no database, or the identity or a usage is unknown.
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
        """Return the plan that revokes usages from an identity. ``All`` or the cluster's policy may still allow them.

        Policies in ``known`` are not read again.
        """
        current = policy_plans.named(self, databases, cluster=cluster, about=identity, known=known)
        return policy_plans.make(self, current, edits.revoke(current, policies.holder(self, identity), usages))

    def replace(self, identity: str, by: str) -> PolicyPlan:
        """Return the plan that moves every grant of one identity to another, in all scopes. New grants are sent first."""
        current = self.read(about=(identity, by)).permitted
        old, new = policies.holder(self, identity), policies.holder(self, by)
        if old == new:
            raise InputError(f"{identity!r} and {by!r} are the same identity.", hint="Pass two different identities.")
        return policy_plans.make(self, current, edits.replace(current, old, new))

    def without(self, plan: PolicyPlan, identities: Iterable[str]) -> PolicyPlan:
        """Return a new version of ``plan`` without some identities, such as those that are not assigned."""
        return replace(self.plan(edits.without(plan, identities).policies), undoes=plan.undoes)

    def export(self, document: str | bytes = "") -> str:
        """Return every policy as a policy file, or ``document`` with its policies updated and everything else unchanged.

        Raises:
            ServiceError: A policy cannot be read.
        """
        return policy_plans.export(self, document)

    def plan_file(self, document: str | bytes) -> tuple[PolicyPlan, tuple[Scope, ...]]:
        """Return the plan for the policies in a policy file, and the scopes that the file does not manage.

        Raises:
            PolicyFileError: The file is invalid. The error states the line.
        """
        return policy_plans.plan_file(self, document)

    def saved_plan(self, text: str) -> PolicyPlan:
        """Read a saved plan, with the current names of its identities.

        Names that cannot be verified are omitted, as is the ID of a history entry that the plan does not verifiably undo.

        Raises:
            InputError: ``text`` is not a complete plan for this cluster, its commands do not match its policies, or its
                statements about identities or the cluster's policy are wrong.
        """
        return saved_plan.saved_plan(self, text)

    def impact(self, plan: Plan, known: Snapshot | None = None) -> Impact:
        """Return the discovered uses that a plan would stop. A source that cannot be read is listed instead of raising.

        ``known`` contains the policies of all scopes; if it is given, they are not read again.
        """
        return impact.impact(self, plan, known)

    def live(self, plan: Plan, known: Snapshot | None = None, *, warn: bool = True) -> Live:
        """Return the uses that a revoking plan would stop, and with ``warn`` its identities that are not assigned.

        See ``impact`` for ``known``.
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
        """Apply exactly ``plan``, a change of policies or in Azure, and verify the result.

        Args:
            plan: The plan, as it was shown.
            confirm: The cluster's name, if the plan cannot be undone.
            deadline: The time for each command, or for the operation in Azure, in seconds. The default is one minute for a
                command, and 15 minutes for an operation.
            record: Record a change of policies in the history, so that ``undo`` can revert it.
            tell: Called with a sentence while a lost outcome is read back, or an operation in Azure progresses.
            progress: Called before the first command and after each step of a change of policies, with the results so far.

        Raises:
            InputError: The session is read-only, or ``confirm`` is not the cluster's name.
            ApplyError: The plan was not fully applied. The error states which steps were applied.
            HistoryError: The change cannot be recorded. Nothing was sent.
        """
        terms = application.Terms(deadline, record, tell, progress)
        with statements.remembering(self):
            return application.apply(self, plan, terms, confirm=confirm)

    def undo_plan(self, entry: str = "") -> PolicyPlan:
        """Return the plan that reverts a history entry, given the start of its ID, or the last change still in effect."""
        return policy_plans.undo_plan(self, entry)

    def undo(self, entry: str = "") -> Applied:
        """Revert a history entry, or the last change still in effect. A second undo is not a redo."""
        return self.apply(self.undo_plan(entry))

    def recorded(self) -> Reading:
        """Return the history of this cluster, newest entry last, and the files that could not be read."""
        return self.recorder.read()

    def settle(self, *, deadline: float = DEADLINE) -> tuple[Entry, ...]:
        """Settle the history entries that were left open by reading the policies, and return the entries."""
        return self.recorder.settle(deadline=deadline)

    def audit(
        self,
        document: str | bytes = "",
        *,
        assigned: Iterable[Identity] | None = None,
        today: date | None = None,
        progress: Progress = unseen,
    ) -> Audit:
        """Return the mistakes and the unnecessary grants in the policies, with the evidence and the plans that fix them.

        Args:
            document: A policy file, whose accepted findings do not count until their acceptance expires.
            assigned: The identities that are assigned to the cluster. By default, they are read from Azure Resource
                Manager if the session knows the cluster's resource ID. If they are unknown, orphans are not checked.
            today: The day (UTC) on which acceptances must be valid. By default, the current day.
            progress: Called with the number of items read so far, their total number, and what they are.

        Raises:
            PolicyFileError: The file is invalid. The error states the line.
        """
        return audits.audit(self, document, assigned=assigned, today=today, progress=progress)

    def map(self, *, assigned: Iterable[Identity] | None = None, progress: Progress = unseen) -> AccessMap:
        """Return the access map: in what share of the databases each identity may be used for each usage, where, and why.

        It also marks the grants that are proven unused, the uses without a grant, and the orphans, as ``audit`` finds them.

        Args:
            assigned: As for ``audit``.
            progress: As for ``audit``.
        """
        return audits.access_map(self, assigned=assigned, progress=progress)

    def map_page(self, *, assigned: Iterable[Identity] | None = None, progress: Progress = unseen) -> str:
        """Return the access map, the findings of ``audit`` and the plan of ``tighten`` as a self-contained HTML page.

        The page contains no script and loads nothing. For 200 identities and 1,000 databases it has at most 1 MB; findings
        and steps that do not fit are counted. Arguments are as for ``map``.
        """
        return audits.map_page(self, assigned=assigned, progress=progress)

    def tighten(
        self,
        *,
        also_unproven: bool = False,
        assigned: Iterable[Identity] | None = None,
        progress: Progress = unseen,
    ) -> audits.Tightening:
        """Return the plan for the smallest policies that keep every discovered use, with the reason for each grant.

        Args:
            also_unproven: Also revoke grants that were not seen in use, although that does not prove them unused.
            assigned: As for ``audit``. The entries of identities that are not assigned are removed.
            progress: As for ``audit``.

        Raises:
            InputError: A policy cannot be read; every policy is required.
        """
        return audits.tighten(self, also_unproven=also_unproven, assigned=assigned, progress=progress)

    def new(self, flow: str, *, identity: str, database: str = "", **parameters: str) -> Template:
        """Return the command or program of a flow for an identity in a database, with all gates as a checklist.

        Nothing is executed. ``kqlmi.model.templates.FORMS[flow].fields`` are the parameters of the flow.

        Raises:
            InputError: The flow, the identity or the database is unknown, or a parameter is missing or invalid.
        """
        return templates.new(self, flow, parameters, identity=identity, database=database)

    def enable(
        self, flow: str, *, identity: str, database: str = "", probe: bool = False, **parameters: str
    ) -> enablement.Enablement:
        """Return the gates of a workflow for an identity in a database, each checked now, and the plans that open them.

        Nothing is changed. Apply each of the result's ``plans``, in order, with ``apply``.

        Args:
            flow: The ID or title of a workflow.
            identity: Its name, object ID or client ID, or ``system``. If Azure Resource Manager can be queried, the identity
                may be unassigned.
            database: The database. By default, the current database.
            probe: Also read ``uri`` with the identity, by a request that changes nothing.
            parameters: What the gates depend on, such as the ``uri`` of a container, folder or file.

        Raises:
            InputError: The workflow, the identity or the database is unknown, or a parameter is invalid.
        """
        return enablement.enable(self, flow, parameters, identity=identity, database=database, probe=probe)

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
        """Ingest a blob into a table with a managed identity, and wait for the outcome.

        Args:
            uri: ``https://…`` or ``abfss://…`` without credentials, optionally with ``;managed_identity=…`` at the end.
            table: A table of the database.
            identity: Display name, object ID, client ID or ``system``.
            database: The database. By default, the current database.
            format: An ingestion format, such as ``csv``. By default, it is derived from the file's extension.
            mapping: The name of an ingestion mapping.
            ignore_first_record: Skip the header of the file.
            wait: The seconds to wait for the outcome. With 0 the blob is only queued, and the outcome is ``queued``.
            interval: The maximum number of seconds between two polls. The first polls are closer together.
            tell: Called with a sentence before the blob is sent, after it is queued, and about what could not be checked.
            progress: Called with the seconds waited so far, after each poll.

        Raises:
            InputError: An argument is invalid, or no policy allows the ingestion. Nothing was sent.
            IngestionError: The blob was not ingested, or its outcome was not reported in time.
            ConnectionFailedError: The blob cannot be sent from this machine.
            RequestInterruptedError: The call was interrupted. The error states whether the blob was queued.
        """
        with statements.remembering(self):
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
        """Return the plan that assigns an identity to the cluster. The identities already assigned stay.

        Args:
            identity: ``system``, or a user-assigned identity by its resource ID, or by its name, object ID or client ID in
                the cluster's subscription.

        Raises:
            InputError: The identity does not exist, or the session does not know the cluster's resource ID.
            ResourceManagerError: The identity, or those already assigned, cannot be read.
        """
        with statements.remembering(self):
            return azure_plans.assign(self, identity)

    def unassign(self, identity: str) -> AssignmentPlan:
        """Return the plan that unassigns an identity from the cluster. The others stay.

        Args:
            identity: ``system``, or the resource ID, name, object ID or client ID of a user-assigned identity.

        Raises:
            InputError: The identity is not assigned, or the session does not know the cluster's resource ID.
            ResourceManagerError: The assigned identities cannot be read.
        """
        with statements.remembering(self):
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
        """Return the plan for a data connection that ingests an event hub's events into a table with an identity.

        Args:
            name: The name of the data connection, which must be new.
            hub: The event hub's resource ID.
            table: The table in ``database``.
            identity: An assigned identity: ``system``, or its name, resource ID, object ID or client ID.
            database: The database. By default, the current database.
            consumer_group: The hub's consumer group.
            data_format: The format of the events, such as ``json``. By default, the service's default.
            mapping: The name of an ingestion mapping of the table.

        Raises:
            InputError: The database, the hub's resource ID or the identity is invalid.
            ResourceManagerError: The assigned identities cannot be read.
        """
        stream = Stream(hub, table, consumer_group, data_format, mapping)
        with statements.remembering(self):
            return azure_plans.connect_eventhub(self, name, stream, identity=identity, database=database)
