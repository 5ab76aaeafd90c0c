"""What a notebook holds open, and how it is opened: the one door of the faces."""

from kqlmi.apply import Applied, StepResult
from kqlmi.cluster.ingest import Ingestion
from kqlmi.cluster.protocol.table import Table
from kqlmi.credentials import MODES
from kqlmi.history import Entry
from kqlmi.session.connections.connection import connect
from kqlmi.session.listings import ConnectionList, IdentityList
from kqlmi.session.session import Session

__all__ = [
    "MODES",
    "Applied",
    "ConnectionList",
    "Entry",
    "IdentityList",
    "Ingestion",
    "Session",
    "StepResult",
    "Table",
    "connect",
]
