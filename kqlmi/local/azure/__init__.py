"""Stand-ins for the Azure services around Kusto."""

from kqlmi.members import import_members

import_members(__name__, __path__)
