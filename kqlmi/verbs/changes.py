"""The subcommands that plan a change, carry it out, and take it back."""

from pathlib import Path
from typing import Annotated, Any

from kqlmi.errors import ApplyError, CellError, ForbiddenError, ServiceError, printable
from kqlmi.model.entities import SYSTEM, Scope, did_you_mean
from kqlmi.model.plan import edits, planfile
from kqlmi.model.plan.plan import SHOWN, Plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.notebook.frames import access_frame, access_matrix, of
from kqlmi.notebook.progress import Progress
from kqlmi.session import Session
from kqlmi.session.connections import files
from kqlmi.verbs.parameters import DatabaseName, DatabaseNames, IdentityText, PlanText, UsageName
from kqlmi.verbs.plans import needed_options, show, shown
from kqlmi.verbs.registry import Context, subcommand

PlanFormat = Annotated[str, ("text", *planfile.FORMATS)]


@subcommand
def grant(
    context: Context, identity: IdentityText, /, *usages: UsageName, database: DatabaseNames = (), cluster: bool = False
) -> None:
    """Plan to grant usages to an identity, in databases or at the cluster.

    The identity is a display name, an object ID, a client ID or system. --database D (a name or a glob, as often as
    needed) or --cluster must be said. The plan is printed with its ID; %kqlmi apply ID carries it out.
    """
    session, names = context.session, _some(usages)
    plan = session.grant(identity, *names, databases=database, cluster=cluster)
    if session.not_assigned(plan) and session.known.directory.client_of(identity):
        # What is assigned shows that a client ID stands there: the identity is meant.
        plan = session.grant(identity, *names, databases=database, cluster=cluster)
    show(session, plan, warn=True)


@subcommand
def revoke(
    context: Context, identity: IdentityText, /, *usages: UsageName, database: DatabaseNames = (), cluster: bool = False
) -> None:
    """Plan to take usages from an identity, in databases or at the cluster.

    As for grant. What stays allowed all the same, through All or through the cluster, is said.
    """
    session, names = context.session, _some(usages)
    current = session.read(about=(identity,)).permitted
    plan = session.revoke(identity, *names, databases=database, cluster=cluster, known=current)
    show(session, plan, known=current)
    matching = (name for pattern in database for name in session.known.matching(pattern))
    concerned = session.known.databases if cluster else tuple(dict.fromkeys(matching))
    for line in edits.still_allowed(current, plan, session.identity(identity), names, concerned):
        print(f"Still allowed: {line}")


def _some(usages: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for word in usages for name in word.split(",") if name)
    if not names:
        raise CellError("No usage is said.", hint="%kqlmi usages lists them.")
    return names


@subcommand
def replace(context: Context, identity: IdentityText, /, *, with_: IdentityText) -> None:
    """Plan to move every grant of an identity to another, in all scopes.

    For an identity that was deleted and made again: it has another object ID. The grants go first, then the revokes.
    """
    session = context.session
    show(session, session.replace(identity, with_))


@subcommand
def access(
    context: Context,
    identity: IdentityText = "",
    usage: UsageName = "",
    /,
    *,
    database: DatabaseName = "",
    matrix: bool = False,
) -> Any:
    """Show what identities may be used for, by the policies of cluster and database together, and why.

    One row for each database, identity and usage: all that is allowed, or the one asked for, allowed or not. --database
    narrows the databases by a glob. --matrix gives a column for each usage.
    """
    session = context.session
    names = session.databases(database)
    if not names and database:
        session.database_scope(database)
    with Progress() as progress:
        reading = session.read(about=(identity or SYSTEM,), progress=progress)
    holder = session.identity(identity) if identity else ""
    for scope, error in reading.refused.items():
        print(f"Not read: the policy of the {scope}. {error}")
    if matrix:
        return access_matrix(reading.snapshot, holder, usage, names)
    return access_frame(reading.snapshot, holder, usage, names, session.known.identities)


@subcommand
def export(context: Context, file: PlanText = "", /) -> None:
    """Write every policy into a policy file, or print it.

    A file that exists keeps its comments, and governs the scopes that it lists.
    """
    session, path = context.session, Path(file)
    if not file:
        print(session.export())
        return
    files.write(path, session.export(files.read(path)))
    print(f"Written: {printable(file)}. To see what a change of it would do: %kqlmi plan {file}")


@subcommand
def plan(context: Context, file: PlanText, /, *, format: PlanFormat = "text") -> None:  # noqa: A002 - the option's name
    """Plan what a policy file wants, or show a plan again by its ID.

    --format is text, markdown for a pull request, kql for a script to paste, or json for kqlmi apply in a shell.
    """
    session = context.session
    found: Plan
    unmanaged: tuple[Scope, ...]
    known = session.plans.get(shown(session, file))
    found, unmanaged = (known, ()) if known else session.plan_file(_read(file))
    if format == "text":
        show(session, found, warn=True)
    elif not isinstance(found, PolicyPlan):
        raise CellError(f"Plan {file} is for Azure, and has no other format than text.")
    elif format in planfile.FORMATS:
        print(planfile.FORMATS[format](found, session.live(found)))
    else:
        raise CellError(f"There is no format {format!r}.", hint=did_you_mean(format, planfile.FORMATS))
    if unmanaged and format == "text":
        print(f"The file leaves alone: {', '.join(map(str, unmanaged))}.")


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CellError(
            f"{file!r} is neither a plan that was shown nor a file that can be read: {error.strerror}.",
            hint="%kqlmi export FILE writes one.",
        ) from None


@subcommand
def apply(
    context: Context, plan: PlanText, /, *, revoke: bool = False, confirm: str = "", no_history: bool = False
) -> None:
    """Carry out a plan that was shown, by its ID, or that of a policy file if it was shown as it is now.

    What it changes is read again first, and the plan is refused if any is not what it was made from. --revoke must be
    said if it takes anything away, and --confirm NAME, with the name of the cluster, if nothing can take it back.
    --no-history carries it out without a record, so that undo cannot take it back.
    """
    session = context.session
    if not shown(session, plan) and not context.on:
        # The plan says which connection it was made on.
        session = next((one for one in context.sessions.by_name.values() if shown(one, plan)), session)
    if not shown(session, plan) and Path(plan).is_file():
        wanted, _ = session.plan_file(_read(plan))
        if not wanted.steps:
            print(wanted)
            return
        if wanted.id not in session.plans:
            show(session, wanted)
            raise CellError("What the file wants was not shown before.", hint="Look at the plan above, and apply it.")
        plan = wanted.short
    key = shown(session, plan)
    if not key:
        known = [one[:SHOWN] for one in session.plans]
        raise CellError(
            f"No plan {plan!r} was shown for {session.name}.",
            hint=did_you_mean(plan, known) if known else "Plan a change: %kqlmi help grant.",
        )
    found = session.plans[key]
    if found.revokes and not revoke:
        raise CellError(
            f"Plan {plan} takes something away.", hint=f"If that is meant: %kqlmi apply {plan}{needed_options(found)}"
        )
    try:
        applied = session.apply(found, confirm=confirm, record=not no_history, tell=print)
    except ApplyError as error:
        # What it was made from may be gone. Where nothing was tried, the plan stays.
        session.plans.pop(key)
        if isinstance(found, PolicyPlan):
            _offer(session, found, error)
        raise
    session.plans.pop(key)
    print(applied)
    if applied.repair:
        print("\nThis brings it back:")
        show(session, session.plan(applied.repair))


def _offer(session: Session, plan: PolicyPlan, error: ApplyError) -> None:
    """Print what helps on: a plan without identities that are not assigned, or a request to an administrator."""
    if isinstance(error.__cause__, ForbiddenError):
        print(planfile.to_request(plan))
    elif isinstance(error.__cause__, ServiceError) and (orphans := edits.named_in(plan, error.message)):
        print(f"{planfile.to_warning(orphans)} Without them:\n")
        show(session, session.without(plan, orphans))


@subcommand
def undo(context: Context, entry: str = "", /) -> None:
    """Plan to take back a change: the last one that stands, or a history entry by the beginning of its ID.

    It is refused if somebody has changed a policy since. A second undo takes back the change before, and is no redo.
    """
    session = context.session
    show(session, session.undo_plan(entry), warn=True)


@subcommand
def history(context: Context, /) -> Any:
    """List the changes that were made from this computer on the cluster, the newest first."""
    reading = context.session.recorded()
    for file in reading.unreadable:
        print(f"Not read: {file}")
    return of(reading.rows)
