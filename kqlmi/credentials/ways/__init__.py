"""The ways to sign in with azure-identity, one function each."""

from kqlmi.credentials.way import WAYS
from kqlmi.members import import_members

__all__ = ["WAYS"]

import_members(__name__, __path__, first=("people", "workloads"))
