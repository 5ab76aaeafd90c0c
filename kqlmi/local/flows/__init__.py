"""The workflows that the local cluster carries out; importing this package registers them all."""

from kqlmi.local.query.carriers import CARRIERS
from kqlmi.members import import_members

__all__ = ["CARRIERS"]

import_members(__name__, __path__)
