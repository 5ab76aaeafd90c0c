"""The verbs of ``%kqlmi`` and the command line: one function each, which works on a session and returns a value to show."""

from kqlmi.members import import_members
from kqlmi.verbs.registry import VERBS, Context, Face
from kqlmi.verbs.sessions import Sessions

__all__ = ["VERBS", "Context", "Face", "Sessions"]

# The order of the help and of the reference; a module that is not listed comes last.
_ORDER = ("overview", "changes", "audit", "flows", "azure")
import_members(__name__, __path__, first=_ORDER)
