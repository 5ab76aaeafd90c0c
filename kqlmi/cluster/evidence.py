"""What a cluster's own records tell about other writers of a policy."""

from dataclasses import dataclass
from typing import NamedTuple

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.table import Table
from kqlmi.errors import KqlmiError, ServiceError
from kqlmi.model import commands
from kqlmi.model.entities import Scope, database_key
from kqlmi.model.policy import Grant, Policy, grants_of

_JOURNAL = ".show journal | where EventTimestamp > ago(10m)"
_COMMANDS = ".show commands-and-queries | where StartedOn > ago(10m)"


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Changes of another writer that an ``.alter`` or ``.delete`` took back.

    ``granted`` and ``revoked`` are what the other had granted and revoked. Where only the other's command is known and
    not its effect, both are empty and ``command`` holds it. ``principal`` may be empty.
    """

    scope: Scope
    principal: str
    granted: frozenset[Grant]
    revoked: frozenset[Grant]
    command: str = ""


def overwritten_by(
    connection: Connection, scope: Scope, client_request_id: str, before: frozenset[Grant], window: float
) -> Overwritten | None:
    """Tell whether the write ``client_request_id`` replaced something else than ``before``.

    ``window`` is the time in seconds from the read of ``before`` to the end of the write. The records are evidence
    when present and never proof of absence: the journal is documented as not contractual.

    Raises:
        KqlmiError: Neither the journal nor the list of commands shows the write, so nothing can be said.
    """
    try:
        return _by_journal(connection.execute(_JOURNAL, scope.name), scope, client_request_id, before)
    except KqlmiError:
        return _by_commands(connection.execute(_COMMANDS, scope.name), scope, client_request_id, window)


def last_writer(connection: Connection, scope: Scope, policy: Policy | None) -> str:
    """Give who left ``policy`` in a scope, and when, by the journal; empty where it does not tell."""
    found = grants_of(policy)
    try:
        writes = _writes(connection.execute(_JOURNAL, scope.name))
    except KqlmiError:
        return ""
    here = (write for write in writes if database_key(write.database) == database_key(scope.name or ""))
    writers = [
        f"{one.principal} at {one.time}" for one in here if _states(one.updated) and _grants(one.updated) == found
    ]
    return writers[-1] if writers else ""


class _Write(NamedTuple):
    """A row of the journal, its fields in the order of ``_COLUMNS``."""

    time: str
    request: str
    database: str
    entity: str
    original: str
    updated: str
    principal: str


_COLUMNS = (
    "EventTimestamp",
    "ClientRequestId",
    "Database",
    "EntityName",
    "OriginalEntityState",
    "UpdatedEntityState",
    "Principal",
)


def _writes(journal: Table) -> list[_Write]:
    """Give the rows of the journal, the oldest first."""
    rows = zip(*map(journal.column, _COLUMNS), strict=True)
    return sorted((_Write(*(str(value or "") for value in row)) for row in rows), key=lambda write: write.time)


def _states(state: str) -> bool:
    """Tell the state of a policy, an array or null, from that of anything else that the journal holds."""
    return state[:1] in {"[", "n"}


def _by_journal(journal: Table, scope: Scope, own: str, before: frozenset[Grant]) -> Overwritten | None:
    writes = _writes(journal)
    mine = next((write for write in writes if write.request == own), None)
    if mine is None:
        raise ServiceError("The journal does not show the write.")
    found = _grants(mine.original)
    if found == before:
        return None
    # Another database may hold the same, and a later write may have left the same once more.
    others = (one for one in writes[: writes.index(mine)] if (one.database, one.entity) == (mine.database, mine.entity))
    writers = [one.principal for one in others if one.updated == mine.original]
    return Overwritten(scope, writers[-1] if writers else "", found - before, before - found)


def _by_commands(listed: Table, scope: Scope, own: str, window: float) -> Overwritten | None:
    import pandas as pd

    names = ["ClientActivityId", "Text", "Database", "StartedOn", "LastUpdatedOn", "State", "User"]
    frame = listed.to_dataframe()[names]
    mine = frame[frame.ClientActivityId == own]
    if mine.empty:
        raise ServiceError("The list of commands does not show the write.")
    # When a command was carried out is not told, only when it began and ended: what overlaps may have come between.
    others = frame[
        (frame.ClientActivityId != own)
        & (frame.State != "Failed")
        & (frame.LastUpdatedOn >= mine.StartedOn.iloc[0] - pd.Timedelta(seconds=window))
        & (frame.StartedOn <= mine.LastUpdatedOn.iloc[0])
    ]
    for row in others.itertuples():
        command = commands.read(str(row.Text))
        if command and command.verb != "show" and (command.scope or Scope.database(str(row.Database))) == scope:
            return Overwritten(scope, str(row.User), frozenset(), frozenset(), str(row.Text))
    return None


def _grants(state: str) -> frozenset[Grant]:
    return grants_of(Policy.parse(state))
