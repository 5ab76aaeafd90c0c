"""What the caller may not do, as far as the cluster tells; a method of ``Session``, which takes it over."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kqlmi.errors import KqlmiError
from kqlmi.model.azure.roles import changing
from kqlmi.session.whoami import told_roles

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
    documented: the lack of the role is no certainty, nor is a role that is not recognised.
    """
    if session.read_only:
        return Denial(f"The session on {session.name} is read-only.", certain=True)
    try:
        ability = changing(told_roles(session.connection.execute(".show principal roles")))
    except KqlmiError:
        return None
    if ability.answer == "yes":
        return None
    if ability.answer == "not known":
        return Denial(f"Whether you may change policies is not known: {ability.why}.", certain=False)
    return Denial(
        "None of your roles is an administrator's for all databases, and changing a policy needs AllDatabasesAdmin.",
        certain=False,
    )
