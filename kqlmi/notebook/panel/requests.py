"""What the browser asks of a panel: each request is heard, run or refused, and its errors shown in the panel."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic

from kqlmi.errors import KqlmiError, RequestInterruptedError, printable
from kqlmi.notebook.panel.view import AnyView

Request = Mapping[str, Any]

PATIENCE: Final = 2.0
"""So many seconds the browser waits to be heard before it takes a request back; the page's requests.js has the same."""

_PAGES: Final = 64
# What the browser asks by itself.
_UNASKED: Final = frozenset({"hello", "more"})


@dataclass(frozen=True, slots=True)
class Action(Generic[AnyView]):
    """What a request can ask for, and ``done``, the note that it leaves.

    What takes its time is heard before it runs; ``busy`` tells meanwhile what it does.
    """

    run: Callable[[AnyView, Request], object]
    busy: str = ""
    done: str = ""


class Requests(Generic[AnyView]):
    """Runs the requests of a panel, one at a time, as they come.

    A request is ``{"id", "action", …}``, and names with ``after`` the last one that its page knows to be heard, and with
    ``since`` the milliseconds that have passed there since. So one that waited longer than the browser's patience, behind
    a long cell, is known here too: the browser has taken it back, and it must not be run.
    """

    def __init__(self, panel: AnyView, actions: Mapping[str, Action[AnyView]]) -> None:
        self._panel, self._actions = panel, actions
        # What was heard last of each page, by the page, and when.
        self._heard: dict[str, tuple[str, float]] = {}
        panel.observe(self._on_request, names="request")

    def _on_request(self, change: dict[str, Any]) -> None:
        with self._panel.lock:
            # What waited here while the panel was closed has nowhere to be shown.
            if not self._panel.closed:
                self._take(change["new"])

    def _take(self, request: Request) -> None:
        panel, action = self._panel, self._actions.get(str(request.get("action")))
        late, busy = self._is_late(request), action.busy if action else ""
        with panel.hold_sync():
            if late and request.get("action") not in _UNASKED:
                panel.status = note("A click came too late, after the panel had taken it back.", "Click again.")
            elif busy and not late:
                panel.working = {"action": request["action"], "text": busy}
            elif not late:
                self._try(request)
            self._hear(request)
        if busy and not late:
            try:
                self._try(request)
            finally:
                panel.working = {}

    def _is_late(self, request: Request) -> bool:
        """Check whether a page gave a request up before it came; one that names no earlier request is its first."""
        after, since = str(request.get("after", "")), request.get("since")
        if not after or request.get("action") == "hello":
            return False
        heard, at = self._heard.get(_page(request), ("", 0.0))
        if heard != after or not isinstance(since, int | float):
            return True
        return time.monotonic() - at - since / 1000 > PATIENCE

    def _hear(self, request: Request) -> None:
        self._panel.acknowledged = str(request.get("id", ""))
        self._heard.pop(_page(request), None)
        self._heard[_page(request)] = (self._panel.acknowledged, time.monotonic())
        if len(self._heard) > _PAGES:
            del self._heard[next(iter(self._heard))]

    def _try(self, request: Request) -> None:
        """Run a request; an error or an interrupt here belongs to no cell, so the panel shows it."""
        try:
            action = self._actions[request["action"]]
            action.run(self._panel, request)
            if action.done:
                self._panel.status = note(action.done)
        except (KqlmiError, RequestInterruptedError) as error:
            self._fail(request, error.message, error.hint)
            if isinstance(error, KeyboardInterrupt):
                raise
        except KeyboardInterrupt:
            self._fail(request, "Interrupted.")
            raise
        except Exception as error:  # noqa: BLE001 - nothing above this would show it
            self._fail(request, f"{type(error).__name__}: {error}", "This is a bug in kqlmi.")

    def _fail(self, request: Request, text: str, hint: str = "") -> None:
        """Show what went wrong; reading in the background stops, since the browser would ask for it again at once."""
        if request.get("action") == "more":
            self._panel.halted = printable(f"{text} {hint}".strip())
        else:
            self._panel.status = {"kind": "error", "text": printable(text), "hint": printable(hint)}


def _page(request: Request) -> str:
    return str(request.get("id", "")).rpartition("-")[0]


def note(text: str, hint: str = "") -> dict[str, str]:
    """Return the status that tells something which is no error."""
    return {"kind": "note", "text": text, "hint": hint}
