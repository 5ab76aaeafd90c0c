"""Event hubs that hold the events which Python sends."""

from collections.abc import Iterable
from dataclasses import replace
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
        self._add(())

    def __repr__(self) -> str:
        return f"<Hub {'/'.join(self._place)}>"

    def send(self, events: Iterable[Any]) -> None:
        """Send events: texts as they are, anything else as JSON. They wait until a data connection may receive them."""
        texts = tuple(event if isinstance(event, str) else lenient_json.dumps(event) for event in events)
        if not all(map(lenient_json.is_text, texts)):
            raise InputError("An event holds half of a surrogate pair, which is no character.")
        self._add(texts)
        self._state.work.set()

    def _add(self, texts: tuple[str, ...]) -> None:
        place = self._place
        self._state.change(lambda w: replace(w, hubs={**w.hubs, place: (*w.hubs.get(place, ()), *texts)}))
        self._state.keep()
