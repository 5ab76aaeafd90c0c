"""The rules of the audit, a function each."""

from kqlmi.members import import_members
from kqlmi.model.audit.findings import RULES

__all__ = ["RULES"]

# In the order in which an audit lists findings of one severity.
import_members(__name__, __path__, first=("uses", "grants"))
