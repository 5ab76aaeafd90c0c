"""The requests of a browser to a panel: each is acknowledged, and run or refused, and errors are shown in the panel."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic

from kqlmi.errors import KqlmiError, RequestInterruptedError, printable
from kqlmi.notebook.panel.view import AnyView

Request = Mapping[str, Any]

PATIENCE: Final = 2.0
"""The seconds that a browser waits for an acknowledgement before it discards a request; requests.js has the same value."""

_PAGES: Final = 64
# The actions that the browser requests without a click.
_AUTOMATIC: Final = frozenset({"hello", "more"})


@dataclass(frozen=True, slots=True)
class Action(Generic[AnyView]):
    """An action that a request can run, and ``done``, the note to show afterwards.

    A slow action is acknowledged before it runs; ``busy`` is the text to show meanwhile.
    """

    run: Callable[[AnyView, Request], object]
    busy: str = ""
    done: str = ""


class Requests(Generic[AnyView]):
    """Runs the requests of a panel one at a time, in the order in which they arrive.

    A request is ``{"id", "action", …}``. In ``after`` it contains the ID of the last request that its page knows to be
    acknowledged, and in ``since`` the milliseconds since then. From these, Python recognises a request that waited for a
    long cell beyond ``PATIENCE``: the browser has discarded it, so it must not be run.
    """

    def __init__(self, panel: AnyView, actions: Mapping[str, Action[AnyView]]) -> None:
        self._panel, self._actions = panel, actions
        # The last acknowledged request of each page, and when it was acknowledged.
        self._acknowledged: dict[str, tuple[str, float]] = {}
        panel.observe(self._on_request, names="request")

    def _on_request(self, change: dict[str, Any]) -> None:
        with self._panel.lock:
            # The panel may have been closed while this waited for the lock.
            if not self._panel.closed:
                self._take(change["new"])

    def _take(self, request: Request) -> None:
        panel, action = self._panel, self._actions.get(str(request.get("action")))
        late, busy = self._is_late(request), action.busy if action else ""
        with panel.hold_sync():
            if late and request.get("action") not in _AUTOMATIC:
                panel.status = note("A click arrived too late and was ignored.", "Click again.")
            elif busy and not late:
                panel.working = {"action": request["action"], "text": busy}
            elif not late:
                self._try(request)
            self._acknowledge(request)
        if busy and not late:
            try:
                self._try(request)
            finally:
                panel.working = {}

    def _is_late(self, request: Request) -> bool:
        """Check whether a page discarded a request before it arrived; the first request of a page has no ``after``."""
        after, since = str(request.get("after", "")), request.get("since")
        if not after or request.get("action") == "hello":
            return False
        last, at = self._acknowledged.get(_page(request), ("", 0.0))
        if last != after or not isinstance(since, int | float):
            return True
        return time.monotonic() - at - since / 1000 > PATIENCE

    def _acknowledge(self, request: Request) -> None:
        self._panel.acknowledged = str(request.get("id", ""))
        self._acknowledged.pop(_page(request), None)
        self._acknowledged[_page(request)] = (self._panel.acknowledged, time.monotonic())
        if len(self._acknowledged) > _PAGES:
            del self._acknowledged[next(iter(self._acknowledged))]

    def _try(self, request: Request) -> None:
        """Run a request; the panel shows errors and interrupts, as no cell would."""
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
        except Exception as error:  # noqa: BLE001 - no caller would show it
            self._fail(request, f"{type(error).__name__}: {error}", "This is a bug in kqlmi.")

    def _fail(self, request: Request, text: str, hint: str = "") -> None:
        """Show an error; reading in the background is halted, as the browser would otherwise request it again at once."""
        if request.get("action") == "more":
            self._panel.halted = printable(f"{text} {hint}".strip())
        else:
            self._panel.status = {"kind": "error", "text": printable(text), "hint": printable(hint)}


def _page(request: Request) -> str:
    return str(request.get("id", "")).rpartition("-")[0]


def note(text: str, hint: str = "") -> dict[str, str]:
    """Return a status that is not an error."""
    return {"kind": "note", "text": text, "hint": hint}
