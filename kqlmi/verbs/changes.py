"""The verbs that plan a change, apply it, and undo it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kqlmi.errors import ApplyError, CellError, ForbiddenError, KqlmiError, ServiceError, printable
from kqlmi.model.entities import SYSTEM, known_usage
from kqlmi.model.plan import edits, planfile
from kqlmi.model.plan.listing import access_matrix, access_rows
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.vocabulary import expanded, named_usage
from kqlmi.report import Rows
from kqlmi.session import Applied, Reading, Session
from kqlmi.session.connections import files
from kqlmi.verbs import plans
from kqlmi.verbs.parameters import DatabaseName, DatabaseNames, IdentityText, PlanText, UsageName
from kqlmi.verbs.plans import Offer, offer
from kqlmi.verbs.registry import Context, verb


@verb(task="Change it")
def grant(
    context: Context, identity: IdentityText, /, *usages: UsageName, database: DatabaseNames = (), cluster: bool = False
) -> Offer:
    """Plan to grant usages to an identity, in databases or at the cluster.

    The identity is a display name, an object ID, a client ID or system. A usage is its name, or the title or ID of a
    workflow that needs it, such as "Continuous export". Pass --database D (a name or a glob; repeat it for several) or
    --cluster. The plan is printed with its ID; %kqlmi apply ID applies it.
    """
    session, names = context.session, _some(context, usages, cluster=cluster)
    plan = session.grant(identity, *names, databases=database, cluster=cluster)
    if session.not_assigned(plan) and session.known.directory.client_of(identity):
        # The assigned identities, which were just read, show that IDENTITY is a client ID: plan for its object ID.
        plan = session.grant(identity, *names, databases=database, cluster=cluster)
    return offer(session, plan, warn=True)


@verb(task="Change it")
def revoke(
    context: Context, identity: IdentityText, /, *usages: UsageName, database: DatabaseNames = (), cluster: bool = False
) -> Offer:
    """Plan to revoke usages from an identity, in databases or at the cluster.

    Arguments are as for grant. Usages that stay allowed, through All or through the cluster's policy, are listed.
    """
    session, names = context.session, _some(context, usages, cluster=cluster)
    current = session.read(about=(identity,)).permitted
    plan = session.revoke(identity, *names, databases=database, cluster=cluster, known=current)
    matching = (name for pattern in database for name in session.known.matching(pattern))
    concerned = session.known.databases if cluster else tuple(dict.fromkeys(matching))
    allowed = edits.still_allowed(current, plan, session.identity(identity), names, concerned)
    return offer(session, plan, known=current, after=tuple(f"Still allowed: {line}" for line in allowed))


def _some(context: Context, words: tuple[str, ...], *, cluster: bool) -> tuple[str, ...]:
    """Return the usages that words name, separated by commas or blanks; for the cluster they are not abbreviated."""
    # A title can contain a comma.
    terms = [term for word in words for term in ([word] if known_usage(named_usage(word)) else word.split(","))]
    names = tuple(_named(context, term, exactly=cluster) for term in terms if term.strip())
    if not names:
        raise CellError("No usage is specified.", hint="Pass one or more of those that %kqlmi usages lists.")
    return names


def _named(context: Context, term: str, *, exactly: bool = False) -> str:
    """Return the usage that a term names, after a note if the term is not its name."""
    known = context.session.known.usages
    usage = named_usage(term if exactly else expanded(term, known), known)
    if usage.casefold() != term.strip().casefold():
        context.note(f"{printable(term.strip())!r} means the usage {usage}.")
    return usage


@verb(task="Change it")
def replace(context: Context, identity: IdentityText, /, *, with_: IdentityText) -> Offer:
    """Plan to move every grant of an identity to another identity, in all scopes.

    Use it for an identity that was deleted and created again, which changes its object ID. The grants are applied before
    the revokes.
    """
    session = context.session
    return offer(session, session.replace(identity, with_))


@verb(task="See who may do what")
def access(
    context: Context,
    identity: IdentityText = "",
    usage: UsageName = "",
    /,
    *,
    database: DatabaseName = "",
    matrix: bool = False,
) -> Rows:
    """Show what identities may be used for, by the policies of cluster and database together, and why.

    There is one row for each database, identity and usage: all that are allowed, or the one that is given, allowed or not.
    --database limits the databases by a name or a glob. --matrix shows a column for each usage.
    """
    session = context.session
    names = session.databases(database)
    if not names and database:
        session.database_scope(database)
    reading = session.read(about=(identity or SYSTEM,), progress=context.progress)
    holder = session.identity(identity) if identity else ""
    usage = _named(context, usage) if usage else ""
    for scope, error in reading.refused.items():
        context.note(f"Not read: the policy of the {scope}. {error}")
    if matrix:
        return access_matrix(reading.snapshot, holder, usage, names)
    return access_rows(reading.snapshot, holder, usage, names, session.known.directory.names)


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of a policy file, and the path to write it to; the path is empty if the text is only shown."""

    text: str
    file: str

    def __str__(self) -> str:
        return self.text

    def write(self) -> None:
        """Write the text to the file."""
        files.write(Path(self.file), self.text)


@verb(task="Change it", faces=("notebook", "shell"))
def export(context: Context, file: PlanText = "", /) -> Exported:
    """Write every policy to a policy file, or print it.

    An existing file keeps its comments and layout; only the scopes that it manages are updated.
    """
    return Exported(context.session.export(files.read(Path(file)) if file else b""), file)


@verb(task="Change it", faces=("notebook", "shell"))
def plan(context: Context, file: PlanText, /) -> Offer:
    """Plan the changes to match a policy file, or show a plan again by its ID."""
    session, found, unmanaged = plans.find(context, file)
    alone = (f"Not managed by the file: {', '.join(map(str, unmanaged))}.",) if unmanaged else ()
    return offer(session, found, warn=True, after=alone)


@verb(task="Change it", faces=("notebook", "shell"))
def apply(context: Context, plan: PlanText, /, *, confirm: str = "", no_history: bool = False) -> Applied:
    """Apply a plan: the ID of one that was shown, a saved plan, or a policy file.

    What the plan changes is read again first; the plan is refused if anything has changed since it was made. If the plan
    cannot be undone, --confirm NAME with the name of the cluster is required. --no-history does not record the change, so
    undo cannot revert it.
    """
    session, found, _ = plans.find(context, plan)
    context.permit(session, found)
    if not found.steps:
        return Applied(found)
    try:
        done = session.apply(found, confirm=confirm, record=not no_history, tell=context.note)
    except ApplyError as error:
        # The policies may differ from those that the plan was made from. Any other error leaves the plan to be applied again.
        _forget(session, found)
        if isinstance(found, PolicyPlan):
            with suppress(
                KqlmiError, KeyboardInterrupt
            ):  # the ApplyError, which reports what was applied, must not be lost
                _show_next_step(context, session, found, error)
        raise
    _forget(session, found)
    return done


def _forget(session: Session, plan: Plan) -> None:
    for key in plans.keys(session, plan):
        session.plans.pop(key)


def _show_next_step(context: Context, session: Session, plan: PolicyPlan, error: ApplyError) -> None:
    """Show the next step: a plan without the unassigned identities, or a request to an administrator."""
    if isinstance(error.__cause__, ForbiddenError):
        context.note(planfile.to_request(plan))
    elif isinstance(error.__cause__, ServiceError) and (orphans := edits.named_in(plan, error.message)):
        context.note(planfile.to_warning(orphans))
        context.show(offer(session, session.without(plan, orphans), before="Without them:"))


@verb(task="Change it")
def undo(context: Context, entry: str = "", /) -> Offer:
    """Plan to undo a change: the last one that is not undone yet, or a history entry by the beginning of its ID.

    It is refused if a policy has changed since. A second undo reverts the preceding change; it does not redo.
    """
    session = context.session
    return offer(session, session.undo_plan(entry), warn=True)


@verb(task="Change it")
def history(context: Context, /) -> Reading:
    """List the changes made to the cluster from this computer, newest first."""
    reading = context.session.recorded()
    for file in reading.unreadable:
        context.note(f"Not read: {file}")
    return reading
