"""The management commands of the local cluster; importing this package registers them all."""

from kqlmi.local import flows
from kqlmi.local.dispatch import shapes
from kqlmi.local.dispatch.registry import Call, Command, match
from kqlmi.members import import_members

__all__ = ["Call", "Command", "flows", "match", "shapes"]

import_members(__name__, __path__)
