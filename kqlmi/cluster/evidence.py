"""The evidence in a cluster's own records about other writers of a policy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import KqlmiError, PolicyError, ServiceError
from kqlmi.model.entities import Scope, database_key
from kqlmi.model.policy.policy import Grant, Policy, Property, State, as_read, state_of
from kqlmi.model.statement import Statement

_POLICY = "ChangeCommand contains 'managed_identity'"
_JOURNAL = f".show journal | where EventTimestamp > ago(10m) and {_POLICY}"
_WRITES = f".show journal | where {_POLICY}"
_COMMANDS = ".show commands-and-queries | where StartedOn > ago(10m)"


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Changes of another writer that an ``.alter`` or ``.delete`` overwrote.

    ``granted`` and ``revoked`` are the grants that the other writer had added and removed, ``written`` and ``dropped`` the
    unrecognised properties. If only the command is known and not its effect, these four are empty and ``command`` contains
    it. ``principal`` may be empty.
    """

    scope: Scope
    principal: str
    granted: frozenset[Grant]
    revoked: frozenset[Grant]
    command: str = ""
    written: frozenset[Property] = frozenset()
    dropped: frozenset[Property] = frozenset()


def overwritten_by(
    connection: Connection, scope: Scope, client_request_id: str, before: Policy | None, window: float
) -> Overwritten | None:
    """Return the change that the write ``client_request_id`` overwrote, or None if it replaced ``before``.

    ``window`` is the time in seconds from the read of ``before`` to the end of the write. The records are evidence
    when present and never proof of absence: the journal is documented as not contractual.

    Raises:
        KqlmiError: Neither the journal nor the list of commands shows the write, so nothing is known.
    """
    try:
        return _by_journal(connection.execute(_JOURNAL, scope.name), scope, client_request_id, before)
    except KqlmiError:
        return _by_commands(connection.execute(_COMMANDS, scope.name), scope, client_request_id, window)


def last_writer(connection: Connection, scope: Scope, policy: Policy | None) -> str:
    """Return who left ``policy`` in a scope and when, or an empty string if the journal does not show it."""
    found = state_of(as_read(policy))
    writers = [f"{one.principal} at {one.time}" for one in policy_writes(connection, scope) if one.left == found]
    return writers[-1] if writers else ""


def policy_writes(connection: Connection, scope: Scope) -> "tuple[Write, ...]":
    """Return the writes of a scope's policy in the journal, the oldest first, or nothing if it cannot be read."""
    try:
        rows = _rows(connection.execute(_WRITES, scope.name))
        key = database_key(scope.name or "")
        return tuple(row for row in rows if database_key(row.database) == key and _is_write(row))
    except KqlmiError:
        return ()


def is_anothers(writes: "Sequence[Write]", own: Collection[str], policy: Policy | None) -> bool:
    """Check whether the last of a scope's ``writes`` left ``policy``, and none of them is one of the ``own`` requests."""
    if not writes or any(one.request in own for one in writes):
        return False
    return writes[-1].left == state_of(as_read(policy))


class Write(NamedTuple):
    """A row of the journal, its fields in the order of ``_COLUMNS``; any may be empty."""

    time: str
    request: str
    database: str
    entity: str
    original: str
    updated: str
    principal: str
    command: str

    @property
    def left(self) -> State | None:
        """The policy's state after the write, or None if the journal does not contain a valid policy."""
        return _state(self.updated)


_COLUMNS = (
    "EventTimestamp",
    "ClientRequestId",
    "Database",
    "EntityName",
    "OriginalEntityState",
    "UpdatedEntityState",
    "Principal",
    "ChangeCommand",
)


def _rows(journal: Table) -> list[Write]:
    """Return the journal's rows, the oldest first; only those that ``_is_write`` are about a policy."""
    rows = (Write(*(str(value or "") for value in row)) for row in zip(*map(journal.column, _COLUMNS), strict=True))
    return sorted(rows, key=lambda write: write.time)


def _is_write(row: Write) -> bool:
    return bool(Statement(row.command).policy_writes)


def _by_journal(journal: Table, scope: Scope, own: str, before: Policy | None) -> Overwritten | None:
    # Commands are parsed last, because the journal may contain hundreds.
    rows = _rows(journal)
    mine = next((row for row in rows if row.request == own and _is_write(row)), None)
    if mine is None:
        raise ServiceError("The journal does not show the write.")
    found, were = _state(mine.original), state_of(before)
    if found is None:
        raise ServiceError("The journal does not show what the write replaced.")
    if found == were:
        return None
    # Another database may have the same policy, and a later write may have restored it.
    left = (mine.database, mine.entity, mine.original)
    others = (one for one in rows[: rows.index(mine)] if (one.database, one.entity, one.updated) == left)
    writers = [one.principal for one in others if _is_write(one)]
    (grants, properties, _), (granted, had, _) = found, were
    return Overwritten(
        scope,
        writers[-1] if writers else "",
        grants - granted,
        granted - grants,
        written=properties - had,
        dropped=had - properties,
    )


def _by_commands(listed: Table, scope: Scope, own: str, window: float) -> Overwritten | None:
    import pandas as pd

    names = ["ClientActivityId", "Text", "Database", "StartedOn", "LastUpdatedOn", "State", "User"]
    if not all(map(listed.has, names)):
        raise ServiceError("The list of commands lacks documented columns.")
    frame = listed.to_dataframe()[names]
    mine = frame[frame.ClientActivityId == own]
    if mine.empty:
        raise ServiceError("The list of commands does not show the write.")
    # The list shows when a command began and ended, not when it took effect: any overlapping one may have been overwritten.
    others = frame[
        (frame.ClientActivityId != own)
        & (frame.State != "Failed")
        & (frame.LastUpdatedOn >= mine.StartedOn.iloc[0] - pd.Timedelta(seconds=window))
        & (frame.StartedOn <= mine.LastUpdatedOn.iloc[0])
    ]
    for row in others.itertuples():
        for command in Statement(row.Text).policy_writes:
            if (command.scope or Scope.database(str(row.Database))) == scope:
                return Overwritten(scope, str(row.User), frozenset(), frozenset(), str(row.Text))
    return None


def _state(text: str) -> State | None:
    """Return the state of a policy in the journal, or None if ``text`` is not a policy."""
    try:
        return state_of(Policy.parse(text))
    except PolicyError:
        return None
