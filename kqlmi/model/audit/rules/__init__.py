"""The rules of the audit, each one a function."""

from kqlmi.members import import_members
from kqlmi.model.audit.findings import RULES

__all__ = ["RULES"]

# The order in which an audit lists findings of equal severity.
import_members(__name__, __path__, first=("uses", "grants"))
