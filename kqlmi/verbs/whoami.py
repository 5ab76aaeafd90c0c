"""The verb that tells who signed in."""

from kqlmi.session import WhoAmI
from kqlmi.verbs.parameters import DatabaseName
from kqlmi.verbs.registry import Context, verb


@verb()
def whoami(context: Context, /, *, database: DatabaseName = "") -> WhoAmI:
    """Tell who signed in: principal, tenant, roles, and what kqlmi can therefore do.

    Roles are those that the cluster tells of you, and those in the database in context, or in --database D. Policies are
    tried to be read; the rest follows from the roles, and where these are not told it is not known. Nothing is changed.
    """
    return context.session.whoami(database)
