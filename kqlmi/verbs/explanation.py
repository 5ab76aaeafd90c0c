"""The verb that explains a refusal."""

from kqlmi.errors import CellError
from kqlmi.session import Refusal
from kqlmi.verbs.registry import Context, verb


@verb()
def explain(context: Context, /) -> Refusal:
    """Explain why the last command or query was refused, and print what mends it.

    The gates are told apart: the identity is assigned, a policy allows the usage, the callout policy allows the target,
    the Azure role on it, the role in the database. A mend is a line to run as it stands; a grant is planned first.
    """
    refusal = context.session.refusal
    if refusal is None:
        raise CellError(f"Nothing was refused on {context.session.name} yet.", hint="%%kqlmi check looks ahead.")
    return refusal
