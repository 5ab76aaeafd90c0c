"""The matrix as a report, for where no widget can show."""

from itertools import islice

from kqlmi.model.plan.draft import Draft
from kqlmi.model.plan.listing import marks
from kqlmi.report import Report, Rows

# A saved notebook is to stay small, and so is what IPython keeps of each display; %kqlmi show has all of it.
_MOST = 25


def report(draft: Draft, cluster: str) -> Report:
    """Return the first rows of the matrix."""
    rows = tuple((name, identity, *cells.values()) for identity, name, cells in islice(marks(draft), _MOST))
    unread = "" if draft.scope in draft.read.policies else ", not read"
    more = len(draft.read.identities) - _MOST
    notes = (f"{more} more identities: %kqlmi show lists all.",) if more > 0 else ()
    title = f"kqlmi panel: {cluster}, {draft.scope}{unread}"
    return Report(title, blocks=(Rows(("identity", "object ID", *draft.usages), rows),), notes=notes)
