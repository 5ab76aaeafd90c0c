"""The verbs: what ``%kqlmi`` and the command line do, a function each over a session, which returns a value and prints nothing."""

from kqlmi.members import import_members
from kqlmi.verbs.registry import VERBS, Context, Face
from kqlmi.verbs.sessions import Sessions

__all__ = ["VERBS", "Context", "Face", "Sessions"]

# In the order of the help and of the reference; a module that is not named comes last.
_ORDER = ("overview", "changes", "audit", "flows", "azure")
import_members(__name__, __path__, first=_ORDER)
