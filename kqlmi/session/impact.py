"""What a plan would stop, as far as a session can see it; a method of ``Session``, which takes it over."""

from typing import TYPE_CHECKING

from kqlmi.errors import KqlmiError
from kqlmi.model.findings import Facts
from kqlmi.model.impact import Impact
from kqlmi.model.impact import impact as compare
from kqlmi.model.plan import Plan

if TYPE_CHECKING:
    from kqlmi.session.session import Session


def impact(session: "Session", plan: Plan) -> Impact:
    """Give the discovered uses that a plan would stop; what cannot be read is said, and never fails the plan."""
    if not plan.revokes:
        return Impact()
    try:
        current = session.read().permitted
        return compare(plan, current, Facts.of(current, session.discover()).discovery)
    except KqlmiError as error:
        return Impact(unknown=(f"what would stop, because {error.message}",))
