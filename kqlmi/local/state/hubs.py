"""Event hubs, to which Python code sends events."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kqlmi.errors import InputError
from kqlmi.local.state.state import State
from kqlmi.local.values import lenient_json, resources


class Hub:
    """An event hub; a data connection refers to it by its ``resource_id``."""

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
        """Send events, strings unchanged and other values as JSON; they wait until a data connection may receive them."""
        texts = tuple(event if isinstance(event, str) else lenient_json.dumps(event) for event in events)
        if not all(map(lenient_json.is_text, texts)):
            raise InputError("An event contains an unpaired surrogate.")
        self._add(texts)
        self._state.work.set()

    def _add(self, texts: tuple[str, ...]) -> None:
        place = self._place
        self._state.change(lambda w: replace(w, hubs={**w.hubs, place: (*w.hubs.get(place, ()), *texts)}))
        self._state.keep()
