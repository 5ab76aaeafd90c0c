"""A plan as a notebook offers it."""

from kqlmi.errors import CellError
from kqlmi.model.plan.plan import SHOWN, Plan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session import Session


def offer(session: Session, plan: Plan, key: str = "", *, notes: str = "") -> None:
    """Print a plan with notes on it, and keep it under its ID or ``key``: ``apply`` runs exactly what was seen."""
    print(plan)
    if notes:
        print(f"\n{notes}")
    if plan.steps:
        session.plans[key or plan.id] = plan
        print(f"\nNothing was sent. To carry it out: %kqlmi apply {key or plan.short}{needed_options(plan)}")


def show(session: Session, plan: Plan, *, warn: bool = False, known: Snapshot | None = None) -> None:
    """Show a plan, with the uses that it would stop; ``warn`` of identities in it that are not assigned.

    ``known`` are all policies, where they were read just now.
    """
    offer(session, plan, notes="\n".join(session.live(plan, known, warn=warn).lines))


def shown(session: Session, text: str) -> str:
    """Return the key of the plan that was shown under an ID, of which all or the shown characters are given; or nothing.

    Raises:
        CellError: Several begin with it.
    """
    found = [key for key in session.plans if key == text or (len(text) >= SHOWN and key.startswith(text))]
    if len(found) > 1:
        raise CellError(f"Several plans begin with {text}.", hint=f"Write the whole ID: {', '.join(found)}.")
    return found[0] if found else ""


def needed_options(plan: Plan) -> str:
    """Return the options that a plan needs; the cluster's name is for people to type."""
    return f"{' --revoke' if plan.revokes else ''}{' --confirm NAME, with the name of the cluster' if plan.confirm else ''}"
