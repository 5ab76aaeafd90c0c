"""What the browser asks of a panel: each request is heard, carried out or refused, and its errors shown in the panel."""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from kqlmi.errors import InputError, KqlmiError, RequestInterruptedError, printable
from kqlmi.model.entities import ALL, object_id
from kqlmi.model.plan.draft import Cell
from kqlmi.notebook.panel import matrix, words

if TYPE_CHECKING:
    from kqlmi.notebook.panel.panel import Panel

Request = Mapping[str, Any]
Args = ParamSpec("Args")
Given = TypeVar("Given")

PATIENCE: Final = 2.0
"""So many seconds the browser waits to be heard before it takes a request back; panel.js has the same."""

_PAGES: Final = 64
# What the browser asks by itself.
_UNASKED: Final = frozenset({"hello", "more"})
# What takes its time is heard first, and says meanwhile what it does.
_SLOW: Final = {
    "choose": "Reading the policy…",
    "more": "Reading the policies…",
    "read_again": "Reading the policies…",
    "preview": "Looking at what stands now…",
    "execute": "Executing…",
    "add": "Looking the identity up…",
    "undo": "Looking at what stands now…",
    "discard": "Reading the policies…",
}


def alone(method: "Callable[Concatenate[Panel, Args], Given]") -> "Callable[Concatenate[Panel, Args], Given]":
    """Let one thread at a time change a panel: JupyterLab's messages come beside the cells, in a thread of their own."""

    @wraps(method)
    def locked(panel: "Panel", /, *args: Args.args, **options: Args.kwargs) -> Given:
        with panel.lock:
            panel.check_open()
            return method(panel, *args, **options)

    return locked


class Requests:
    """Carries the requests of a panel out, one at a time, as they come.

    A request is ``{"id", "action", …}``, and names with ``after`` the last one that its page knows to be heard, and with
    ``since`` the milliseconds that have passed there since. So one that waited longer than the browser's patience, behind
    a long cell, is known here too: the browser has taken it back, and it must not be carried out.
    """

    def __init__(self, panel: "Panel") -> None:
        self._panel = panel
        # What was heard last of each page, by the page, and when.
        self._heard: dict[str, tuple[str, float]] = {}
        panel.observe(self._on_request, names="request")

    def _on_request(self, change: dict[str, Any]) -> None:
        with self._panel.lock:
            # What waited here while the panel was closed has nowhere to be shown.
            if not self._panel.closed:
                self._take(change["new"])

    def _take(self, request: Request) -> None:
        panel = self._panel
        if self._is_late(request):
            with panel.hold_sync():
                if request.get("action") not in _UNASKED:
                    panel.status = _note("A click came too late, after the panel had taken it back.", "Click again.")
                self._hear(request)
        elif slow := _SLOW.get(str(request.get("action"))):
            with panel.hold_sync():
                panel.working = {"action": request["action"], "text": slow}
                self._hear(request)
            try:
                self._try(request)
            finally:
                panel.working = {}
        else:
            with panel.hold_sync():
                self._try(request)
                self._hear(request)

    def _is_late(self, request: Request) -> bool:
        """Tell whether a page gave a request up before it came; one that names no earlier request is its first."""
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
            _ACTIONS[request["action"]](self._panel, request)
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


def _note(text: str, hint: str = "") -> dict[str, str]:
    return {"kind": "note", "text": text, "hint": hint}


def _cell(panel: "Panel", request: Request) -> tuple[str, str]:
    """Give the identity and usage of a request, which names the usage as it was shown, and the scope that was."""
    if request.get("scope", panel.place) != panel.place:
        raise InputError("Another scope was shown when you clicked.", hint="Look, and click again.")
    usages = [usage for usage in panel.draft.usages if printable(usage) == request["usage"]]
    if not usages:
        raise InputError(f"There is no usage {request['usage']!r} any more.", hint="Look, and click again.")
    # Names that look the same are told apart by their place among these.
    place = request.get("among", 0)
    return panel.draft.directory.key(object_id(str(request["identity"]))), usages[place if place < len(usages) else 0]


def _name(panel: "Panel", identity: str) -> str:
    """Give an identity's display name, and its object ID where the name alone does not tell."""
    names = {one: name for one, name, _ in panel.identities}
    name = names.get(identity, words.NO_NAME)
    return name if list(names.values()).count(name) == 1 else f"{name} ({identity})"


def _hello(_panel: "Panel", _request: Request) -> None:
    """Do nothing: that it was heard is the answer."""


def _toggle(panel: "Panel", request: Request) -> None:
    identity, usage = _cell(panel, request)
    cell = panel.draft.cell(identity, usage)
    if cell.covered_by:
        _ask(panel, identity, usage, cell)
    elif cell.granted:
        panel.untick(identity, usage=usage)
    else:
        panel.tick(identity, usage=usage)
        panel.status = _note(words.tick(panel.draft, _name(panel, identity), identity, usage))


def _ask(panel: "Panel", identity: str, usage: str, cell: Cell) -> None:
    """Ask before a tick is taken away that would change nothing, and offer what would change something."""
    draft, offers = panel.draft, []
    if (draft.scope, ALL) in cell.covered_by:
        kept = len(draft.kept_usages(usage))
        offers.append(["replace_all", f"Replace All by the {kept} known usages you keep (future usages end)"])
    elif cell.granted:
        offers.append(["remove", "Remove the redundant grant (it stays allowed)"])
    else:
        offers.append(["grant_too", f"Grant it in the {draft.scope} too (redundant while that stands)"])
    text = words.cover(_name(panel, identity), draft.scope, usage, cell.covered_by)
    if any(where != draft.scope for where, _ in cell.covered_by):
        text += " What the cluster grants is revoked at the cluster: choose that scope."
    panel.question = {"text": text, "identity": identity, "usage": printable(usage), "offers": offers}


def _replace_all(panel: "Panel", request: Request) -> None:
    identity, usage = _cell(panel, request)
    panel.draft = panel.draft.replace_all(identity, without=usage)


def _remove(panel: "Panel", request: Request) -> None:
    identity, usage = _cell(panel, request)
    panel.untick(identity, usage=usage)


def _grant_too(panel: "Panel", request: Request) -> None:
    identity, usage = _cell(panel, request)
    panel.tick(identity, usage=usage)


def _dismiss(panel: "Panel", _request: Request) -> None:
    panel.question, panel.theirs = None, []


def _close(panel: "Panel", _request: Request) -> None:
    panel.close_preview()


def _choose(panel: "Panel", request: Request) -> None:
    panel.choose_at(int(request["scope"]))


def _more(panel: "Panel", _request: Request) -> None:
    panel.halted = ""
    panel.read_more()


def _read_again(panel: "Panel", _request: Request) -> None:
    panel.read_again()
    panel.status = _note("Read again, just now.")


def _add(panel: "Panel", request: Request) -> None:
    identity = panel.add(str(request["identity"]))
    panel.status = _note(f"{identity} has a row now.", "Tick what it may be used for.")


def _where(panel: "Panel", request: Request) -> None:
    identity, usage = _cell(panel, request)
    read = panel.draft.read
    panel.status = _note(words.where(_name(panel, identity), usage, matrix.where(read, identity, usage)))


def _preview(panel: "Panel", _request: Request) -> None:
    panel.read_again()
    if panel.plan.steps:
        panel.show(panel.plan)


def _execute(panel: "Panel", request: Request) -> None:
    panel.execute(str(request["plan"]), confirmed=bool(request.get("confirmed")))


def _undo(panel: "Panel", _request: Request) -> None:
    panel.undo()


def _discard(panel: "Panel", _request: Request) -> None:
    panel.discard()
    panel.status = _note("The ticks were discarded, and the policies read again.")


_ACTIONS: Mapping[str, Callable[["Panel", Request], None]] = {
    "hello": _hello,
    "toggle": _toggle,
    "replace_all": _replace_all,
    "remove": _remove,
    "grant_too": _grant_too,
    "dismiss": _dismiss,
    "close": _close,
    "choose": _choose,
    "more": _more,
    "read_again": _read_again,
    "add": _add,
    "where": _where,
    "preview": _preview,
    "execute": _execute,
    "undo": _undo,
    "discard": _discard,
}
