"""Event hubs that hold the events which Python sends."""

from collections.abc import Iterable
from typing import Any

from kqlmi.errors import InputError
from kqlmi.local.state.state import State
from kqlmi.local.values import lenient_json, resources


class Hub:
    """An event hub; ``resource_id`` is how a data connection names it."""

    def __init__(self, state: State, namespace: str, name: str) -> None:
        if not namespace.strip() or not name.strip() or "/" in namespace + name:
            raise InputError("A hub needs a namespace and a name.", hint="Write cluster.hub('namespace', 'hub').")
        self.resource_id = resources.hub_id(namespace, name)
        self._state = state
        self._place = (namespace.lower(), name.lower())
        with state.lock:
            state.hubs = {**state.hubs, self._place: state.hubs.get(self._place, ())}
        state.keep()

    def __repr__(self) -> str:
        return f"<Hub {'/'.join(self._place)}>"

    def send(self, events: Iterable[Any]) -> None:
        """Send events: texts as they are, anything else as JSON. They wait until a data connection may receive them."""
        texts = tuple(_text(event) for event in events)
        if not all(map(lenient_json.is_text, texts)):
            raise InputError("An event holds half of a surrogate pair, which is no character.")
        with self._state.lock:
            self._state.hubs = {**self._state.hubs, self._place: (*self._state.hubs[self._place], *texts)}
        self._state.keep()
        self._state.work.set()


def _text(event: Any) -> str:
    return event if isinstance(event, str) else lenient_json.dumps(event)
