"""The command or program of each flow, one row or function each; importing this package registers them all."""

from kqlmi.members import import_members
from kqlmi.model.templates.forms import FORMS

__all__ = ["FORMS"]

# In the order of the catalogue of workflows.
import_members(__name__, __path__, first=("commands", "programs", "queries"))
