"""The identities that are assigned to the cluster of a session; a method of ``Session``, which takes it over."""

from typing import TYPE_CHECKING

from kqlmi.errors import InputError
from kqlmi.model.entities import Identity

if TYPE_CHECKING:
    from kqlmi.session.session import Session


def assigned(session: "Session") -> tuple[Identity, ...]:
    """Give the identities that are assigned to the cluster, by Azure Resource Manager.

    Raises:
        InputError: The session does not know the cluster's resource ID.
        KqlmiError: They may not be read.
    """
    from kqlmi.arm import identities

    if session.resource is None:
        raise InputError(
            f"Where {session.name} is in Azure Resource Manager is not known.",
            hint="Connect with --resource-id, and a way of signing in that is no bare token.",
        )
    return identities.assigned(session.resource)
