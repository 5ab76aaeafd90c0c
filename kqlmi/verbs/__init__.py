"""The subcommands of ``%kqlmi``, a function each."""

from kqlmi.members import import_members
from kqlmi.verbs.registry import CELL_HELP, SUBCOMMANDS, Sessions, run

__all__ = ["CELL_HELP", "SUBCOMMANDS", "Sessions", "run"]

# In the order of the help and of the README; a module that is not named comes last.
_ORDER = ("overview", "changes", "explanation", "audit", "templates", "ingestion", "whoami", "azure")
import_members(__name__, __path__, first=_ORDER)
