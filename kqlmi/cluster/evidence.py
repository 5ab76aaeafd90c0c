"""What a cluster's own records tell about other writers of a policy."""

from dataclasses import dataclass

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.table import Table
from kqlmi.errors import KqlmiError, ServiceError
from kqlmi.model import commands
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Grant, Policy

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
    try:
        journal = connection.execute(_JOURNAL, scope.name)
        rows = zip(*map(journal.column, ("UpdatedEntityState", "Principal", "EventTimestamp")), strict=True)
        found = policy.grants if policy else frozenset()
        writers = [f"{who} at {when}" for state, who, when in rows if _states(state) and _grants(str(state)) == found]
    except KqlmiError:
        return ""
    return writers[-1] if writers else ""


def _states(state: object) -> bool:
    """Tell the state of a policy, an array or null, from that of anything else that the journal holds."""
    return isinstance(state, str) and state[:1] in {"[", "n"}


def _by_journal(journal: Table, scope: Scope, own: str, before: frozenset[Grant]) -> Overwritten | None:
    columns = ("ClientRequestId", "OriginalEntityState", "UpdatedEntityState", "Principal")
    rows = list(zip(*map(journal.column, columns), strict=True))
    replaced = next((str(original or "") for request, original, _, _ in rows if request == own), None)
    if replaced is None:
        raise ServiceError("The journal does not show the write.")
    found = _grants(replaced)
    if found == before:
        return None
    writers = [str(who) for request, _, updated, who in rows if request != own and str(updated or "") == replaced]
    return Overwritten(scope, writers[-1] if writers else "", found - before, before - found)


def _by_commands(listed: Table, scope: Scope, own: str, window: float) -> Overwritten | None:
    import pandas as pd

    frame = listed.to_dataframe()[["ClientActivityId", "Text", "Database", "StartedOn", "User"]]
    mine = frame[frame.ClientActivityId == own]
    if mine.empty:
        raise ServiceError("The list of commands does not show the write.")
    start = mine.StartedOn.iloc[0]
    others = frame[
        (frame.ClientActivityId != own)
        & (frame.StartedOn >= start - pd.Timedelta(seconds=window))
        & (frame.StartedOn <= start)
    ]
    for row in others.itertuples():
        command = commands.read(str(row.Text))
        if command and command.verb != "show" and (command.scope or Scope.database(str(row.Database))) == scope:
            return Overwritten(scope, str(row.User), frozenset(), frozenset(), str(row.Text))
    return None


def _grants(state: str) -> frozenset[Grant]:
    policy = Policy.parse(state)
    return policy.grants if policy else frozenset()
