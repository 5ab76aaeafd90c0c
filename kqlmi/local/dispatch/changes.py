"""Changes to the state of a cluster, each with its entry in the journal."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kqlmi.local.dispatch.registry import Call
from kqlmi.local.state.state import Database, with_entry


def put(
    call: Call, database: Database, name: str, value: Any, *, event: str, kind: str, shown: Callable[[Any], str]
) -> Database:
    """Store an entity in the collection ``kind`` of a database, or drop it if None; ``shown`` renders it for the journal."""
    entries = getattr(database, kind)
    collection: dict[str, Any] = {kind: with_entry(entries, name, value)}
    changed = call.state.put(replace(database, **collection))
    before, after = (shown(one) if one else "" for one in (entries.get(name), value))
    call.record(event, changed, entity=name, before=before, after=after)
    return changed


def put_policy(call: Call, kind: str, change: Callable[[Any], Any], entity: str, shown: Callable[[Any], str]) -> None:
    """Replace a policy of the cluster with the result of ``change``."""
    with call.state.lock:
        current = getattr(call.state.world, kind)
        changed = change(current)
        call.state.change(lambda w: replace(w, **{kind: changed}))
        call.record("ALTER-CLUSTER-POLICY", None, entity=entity, before=shown(current), after=shown(changed))
