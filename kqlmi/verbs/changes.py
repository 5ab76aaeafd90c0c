"""The verbs that plan a change, apply it, and undo it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kqlmi.errors import ApplyError, CellError, ForbiddenError, KqlmiError, ServiceError
from kqlmi.model.entities import SYSTEM
from kqlmi.model.plan import edits, planfile
from kqlmi.model.plan.listing import access_matrix, access_rows
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.report import Rows
from kqlmi.session import Applied, Reading, Session
from kqlmi.session.connections import files
from kqlmi.verbs import plans
from kqlmi.verbs.parameters import DatabaseName, DatabaseNames, IdentityText, PlanText, UsageName
from kqlmi.verbs.plans import Offer, offer
from kqlmi.verbs.registry import Context, verb


@verb()
def grant(
    context: Context, identity: IdentityText, /, *usages: UsageName, database: DatabaseNames = (), cluster: bool = False
) -> Offer:
    """Plan to grant usages to an identity, in databases or at the cluster.

    The identity is a display name, an object ID, a client ID or system. --database D (a name or a glob, as often as
    needed) or --cluster must be said. The plan is printed with its ID; %kqlmi apply ID carries it out.
    """
    session, names = context.session, _some(usages)
    plan = session.grant(identity, *names, databases=database, cluster=cluster)
    if session.not_assigned(plan) and session.known.directory.client_of(identity):
        # What is assigned shows that a client ID stands there: the identity is meant.
        plan = session.grant(identity, *names, databases=database, cluster=cluster)
    return offer(session, plan, warn=True)


@verb()
def revoke(
    context: Context, identity: IdentityText, /, *usages: UsageName, database: DatabaseNames = (), cluster: bool = False
) -> Offer:
    """Plan to take usages from an identity, in databases or at the cluster.

    As for grant. What stays allowed all the same, through All or through the cluster, is said.
    """
    session, names = context.session, _some(usages)
    current = session.read(about=(identity,)).permitted
    plan = session.revoke(identity, *names, databases=database, cluster=cluster, known=current)
    matching = (name for pattern in database for name in session.known.matching(pattern))
    concerned = session.known.databases if cluster else tuple(dict.fromkeys(matching))
    allowed = edits.still_allowed(current, plan, session.identity(identity), names, concerned)
    return offer(session, plan, known=current, after=tuple(f"Still allowed: {line}" for line in allowed))


def _some(usages: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for word in usages for name in word.split(",") if name)
    if not names:
        raise CellError("No usage is said.", hint="%kqlmi usages lists them.")
    return names


@verb()
def replace(context: Context, identity: IdentityText, /, *, with_: IdentityText) -> Offer:
    """Plan to move every grant of an identity to another, in all scopes.

    For an identity that was deleted and made again: it has another object ID. The grants go first, then the revokes.
    """
    session = context.session
    return offer(session, session.replace(identity, with_))


@verb()
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

    One row for each database, identity and usage: all that is allowed, or the one asked for, allowed or not. --database
    narrows the databases by a glob. --matrix gives a column for each usage.
    """
    session = context.session
    names = session.databases(database)
    if not names and database:
        session.database_scope(database)
    reading = session.read(about=(identity or SYSTEM,), progress=context.progress)
    holder = session.identity(identity) if identity else ""
    for scope, error in reading.refused.items():
        context.note(f"Not read: the policy of the {scope}. {error}")
    if matrix:
        return access_matrix(reading.snapshot, holder, usage, names)
    return access_rows(reading.snapshot, holder, usage, names, session.known.directory.names)


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of a policy file, and the file that it is for; empty where it is only to be shown."""

    text: str
    file: str

    def __str__(self) -> str:
        return self.text

    def write(self) -> None:
        """Write the file whole, as it stands where nothing changed."""
        files.write(Path(self.file), self.text)


@verb(faces=("notebook", "shell"))
def export(context: Context, file: PlanText = "", /) -> Exported:
    """Write every policy into a policy file, or print it.

    A file that exists keeps its comments, and governs the scopes that it lists.
    """
    return Exported(context.session.export(files.read(Path(file)) if file else b""), file)


@verb(faces=("notebook", "shell"))
def plan(context: Context, file: PlanText, /) -> Offer:
    """Plan what a policy file wants, or show a plan again by its ID."""
    session, found, unmanaged = plans.find(context, file)
    alone = (f"The file leaves alone: {', '.join(map(str, unmanaged))}.",) if unmanaged else ()
    return offer(session, found, warn=True, after=alone)


@verb(faces=("notebook", "shell"))
def apply(context: Context, plan: PlanText, /, *, confirm: str = "", no_history: bool = False) -> Applied:
    """Carry out a plan that was shown, by its ID, or that of a file: a saved plan, or what a policy file wants.

    What it changes is read again first, and the plan is refused if any is not what it was made from. --confirm NAME,
    with the name of the cluster, must be said if nothing can take it back. --no-history carries it out without a record,
    so that undo cannot revert it.
    """
    session, found, _ = plans.find(context, plan)
    context.permit(session, found)
    if not found.steps:
        return Applied(found)
    try:
        done = session.apply(found, confirm=confirm, record=not no_history, tell=context.note)
    except ApplyError as error:
        # What it was made from may be gone. Where nothing was tried, the plan stays.
        _forget(session, found)
        if isinstance(found, PolicyPlan):
            with suppress(KqlmiError, KeyboardInterrupt):  # the error says what landed, and nothing hides that
                _help_on(context, session, found, error)
        raise
    _forget(session, found)
    return done


def _forget(session: Session, plan: Plan) -> None:
    for key in plans.keys(session, plan):
        session.plans.pop(key)


def _help_on(context: Context, session: Session, plan: PolicyPlan, error: ApplyError) -> None:
    """Show what helps on: a plan without identities that are not assigned, or a request to an administrator."""
    if isinstance(error.__cause__, ForbiddenError):
        context.note(planfile.to_request(plan))
    elif isinstance(error.__cause__, ServiceError) and (orphans := edits.named_in(plan, error.message)):
        context.note(planfile.to_warning(orphans))
        context.show(offer(session, session.without(plan, orphans), before="Without them:"))


@verb()
def undo(context: Context, entry: str = "", /) -> Offer:
    """Plan to take back a change: the last one that stands, or a history entry by the beginning of its ID.

    It is refused if somebody has changed a policy since. A second undo takes back the change before, and is no redo.
    """
    session = context.session
    return offer(session, session.undo_plan(entry), warn=True)


@verb()
def history(context: Context, /) -> Reading:
    """List the changes that were made from this computer on the cluster, the newest first."""
    reading = context.session.recorded()
    for file in reading.unreadable:
        context.note(f"Not read: {file}")
    return reading
