"""The workflows that the local cluster supports; importing this package registers them all."""

from kqlmi.members import import_members

import_members(__name__, __path__)
