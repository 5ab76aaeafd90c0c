"""A plan as a notebook offers it."""

from kqlmi.model.plan import Plan
from kqlmi.session import Session


def offer(session: Session, plan: Plan, key: str = "", *, told: str = "") -> None:
    """Print a plan and what is told about it, and keep it under its ID or ``key``: ``apply`` runs exactly what was seen."""
    print(plan)
    if told:
        print(f"\n{told}")
    if plan.steps:
        key = key or plan.id
        session.plans[key] = plan
        print(f"\nNothing was sent. To carry it out: %kqlmi apply {key}{' --revoke' if plan.revokes else ''}")
