"""What the caller may not do, as far as the cluster tells; a method of ``Session``, which takes it over."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kqlmi.errors import KqlmiError

if TYPE_CHECKING:
    from kqlmi.session.session import Session


@dataclass(frozen=True, slots=True)
class Denial:
    """Why policies may not be changed; what is not ``certain`` may be tried all the same."""

    reason: str
    certain: bool


def denial(session: "Session") -> Denial | None:
    """Tell why the caller may not change policies; None where he may, or where that is not known.

    Changing one needs AllDatabasesAdmin, by the page of the policy. How ``.show principal roles`` spells roles is not
    documented: any role of an administrator is taken for enough, and the lack of one is no certainty.
    """
    if session.read_only:
        return Denial(f"The session on {session.name} is read-only.", certain=True)
    try:
        roles = session.connection.execute(".show principal roles").column("Role")
    except KqlmiError:
        return None
    if any("admin" in str(role).casefold() for role in roles):
        return None
    return Denial(
        "None of your roles is an administrator's, and changing a policy needs AllDatabasesAdmin.", certain=False
    )
