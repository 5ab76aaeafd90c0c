"""The JSON encoding of history entries."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from kqlmi.history.entries import Entry, StepRecord
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy

_FORMAT: Final = 1


def dump(entry: Entry) -> bytes:
    """Return an entry as indented JSON. It is ASCII, because UTF-8 cannot encode an unpaired surrogate in a name."""
    return (json.dumps({"format": _FORMAT, **_plain(entry)}, default=_plain, indent=2) + "\n").encode("ascii")


def parse(data: bytes) -> Entry:
    """Read an entry; a time without a zone is UTC.

    Raises:
        ValueError: ``data`` is not an entry.
        KqlmiError: A name or policy in the entry is invalid.
        RecursionError: The JSON is nested too deeply.
    """
    match json.loads(data):
        case {"format": int(version)} if version > _FORMAT:
            raise ValueError(f"written by a newer kqlmi, in format {version}; this one reads up to {_FORMAT}")
        case {
            "format": 1,
            "id": str(entry_id),
            "time": str(when),
            "cluster": str(cluster),
            "name": str(name),
            "principal": str(principal),
            "source": "plan" | "cell" as source,
            "undoes": str() | None as undoes,
            "outcome": "open" | "applied" | "partly applied" | "not applied" | "unknown" as outcome,
            "steps": list(items),
        }:
            steps = tuple(_step(item) for item in items)
            moment = datetime.fromisoformat(when)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            return Entry(entry_id, moment, cluster, name, principal, source, steps, outcome, undoes)
    raise ValueError("not a history entry")


def _step(item: Any) -> StepRecord:
    match item:
        case {
            "scope": str() | None as database,
            "command": str(command),
            "before": str() | None as before,
            "after": str() | None as after,
            "outcome": "open" | "applied" | "partly applied" | "not applied" | "unknown" as outcome,
            "client_request_id": str(request),
        }:
            policies = Policy.parse(before), Policy.parse(after)
            known = str(item.get("database_id") or ""), item.get("lost") is True
            return StepRecord(Scope(database), command, *policies, outcome, request, *known)
    raise ValueError("not a history entry: one of its steps is incomplete")


def _plain(value: Any) -> Any:
    """Return a value that JSON can encode. A scope becomes the name of its database, or null for the cluster."""
    match value:
        case datetime():
            return value.isoformat()
        case Scope():
            return value.name
        case Policy():
            return value.to_record()  # as text, which keeps its numbers as they were read
        case _:
            return {item.name: getattr(value, item.name) for item in fields(value)}
