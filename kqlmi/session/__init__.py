"""Sessions on a cluster: the only interface between kqlmi and its notebook and command-line front ends."""

from kqlmi.apply import Applied, StepResult
from kqlmi.cluster.ingest import Ingestion
from kqlmi.cluster.protocol.table import Table
from kqlmi.credentials import MODES
from kqlmi.history import Reading
from kqlmi.session.connections.connection import connect
from kqlmi.session.core import Refusal
from kqlmi.session.enablement import Enablement
from kqlmi.session.listings import ConnectionList, IdentityList
from kqlmi.session.session import Session
from kqlmi.session.whoami import WhoAmI

__all__ = [
    "MODES",
    "Applied",
    "ConnectionList",
    "Enablement",
    "IdentityList",
    "Ingestion",
    "Reading",
    "Refusal",
    "Session",
    "StepResult",
    "Table",
    "WhoAmI",
    "connect",
]
