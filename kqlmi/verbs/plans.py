"""A plan as a notebook offers it, and as it is applied in Azure."""

from kqlmi.errors import ApplyError, CellError
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.planid import SHOWN
from kqlmi.session import AzurePlan, Session


def offer(session: Session, plan: Plan | AzurePlan, key: str = "", *, notes: str = "") -> None:
    """Print a plan with notes on it, and keep it under its ID or ``key``: ``apply`` runs exactly what was seen."""
    print(plan)
    if notes:
        print(f"\n{notes}")
    if plan.steps:
        session.plans[key or plan.id] = plan
        print(f"\nNothing was sent. To carry it out: %kqlmi apply {key or plan.short}{needed_options(plan)}")


def shown(session: Session, text: str) -> str:
    """Return the key of the plan that was shown under an ID, of which all or the shown characters are given; or nothing.

    Raises:
        CellError: Several begin with it.
    """
    found = [key for key in session.plans if key == text or (len(text) >= SHOWN and key.startswith(text))]
    if len(found) > 1:
        raise CellError(f"Several plans begin with {text}.", hint=f"Write the whole ID: {', '.join(found)}.")
    return found[0] if found else ""


def show_azure(session: Session, plan: AzurePlan) -> None:
    """Show a plan for Azure, with the uses that it would stop."""
    offer(session, plan, notes=str(session.impact_of(plan)) if plan.revokes else "")


def apply_azure(session: Session, plan: AzurePlan, confirm: str) -> None:
    """Apply a plan for Azure, and print how it goes on."""
    try:
        done = session.carry_out(plan, confirm=confirm, tell=print)
    except ApplyError:
        # What it was made from may be gone. Where only the confirmation is wrong, the plan stays.
        session.plans.pop(plan.id, None)
        raise
    session.plans.pop(plan.id, None)
    print(done)


def needed_options(plan: Plan | AzurePlan) -> str:
    """Return the options that a plan needs; the cluster's name is for people to type."""
    confirm = not isinstance(plan, Plan) and plan.confirm
    return f"{' --revoke' if plan.revokes else ''}{' --confirm NAME, with the name of the cluster' if confirm else ''}"
