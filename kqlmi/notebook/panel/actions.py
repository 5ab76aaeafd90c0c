"""The actions that a page can request from a panel."""

from collections.abc import Callable, Mapping
from typing import Final

from kqlmi.errors import InputError, printable
from kqlmi.model.entities import ALL, object_id
from kqlmi.model.plan.draft import Cell
from kqlmi.model.plan.listing import NO_NAME
from kqlmi.notebook.panel import matrix, words
from kqlmi.notebook.panel.editor import Editor
from kqlmi.notebook.panel.requests import Action, Request, note


def _on_cell(run: Callable[[Editor, str, str], None]) -> Action[Editor]:
    """Return an action that calls a function with the identity and usage of the requested cell."""
    return Action(lambda panel, request: run(panel, *_cell(panel, request)))


def _cell(panel: Editor, request: Request) -> tuple[str, str]:
    """Return the identity and usage of the requested cell; raise InputError if its scope or usage is no longer shown."""
    if request.get("scope", panel.place) != panel.place:
        raise InputError("The panel showed another scope when you clicked.", hint="Check the cell and click again.")
    usages = [usage for usage in panel.draft.usages if printable(usage) == request["usage"]]
    if not usages:
        raise InputError(f"Usage {request['usage']!r} is no longer shown.", hint="Check the cell and click again.")
    # Usages that are displayed alike are distinguished by their order.
    place = request.get("among", 0)
    return panel.draft.directory.key(object_id(str(request["identity"]))), usages[place if place < len(usages) else 0]


def _name(panel: Editor, identity: str) -> str:
    """Return an identity's display name, followed by its object ID if the name is not unique."""
    names = {one: name for one, name, _ in panel.identities}
    name = names.get(identity, NO_NAME)
    return name if list(names.values()).count(name) == 1 else f"{name} ({identity})"


def _toggle(panel: Editor, identity: str, usage: str) -> None:
    cell = panel.draft.cell(identity, usage)
    if cell.covered_by:
        panel.question = _question(panel, identity, usage, cell)
    elif cell.granted:
        panel.untick(identity, usage)
    else:
        panel.tick(identity, usage)
        panel.status = words.tick(panel.draft, _name(panel, identity), identity, usage)


def _question(panel: Editor, identity: str, usage: str, cell: Cell) -> dict[str, object]:
    """Return the question to show if a click would not change what is allowed, with changes that can be made instead."""
    draft, offers = panel.draft, []
    if (draft.scope, ALL) in cell.covered_by:
        kept = len(draft.kept_usages(usage))
        offers.append(
            ["replace_all", f"Replace All with the {kept} other known usages (future usages are no longer allowed)"]
        )
    elif cell.granted:
        offers.append(["remove", "Revoke the redundant grant (the usage stays allowed)"])
    else:
        offers.append(["grant_too", f"Grant it in the {draft.scope} too (redundant for now)"])
    text = words.cover(_name(panel, identity), draft.scope, usage, cell.covered_by)
    if any(where != draft.scope for where, _ in cell.covered_by):
        text += " To revoke a grant of the cluster's policy, choose the scope of the cluster."
    return {"text": text, "identity": identity, "usage": printable(usage), "offers": offers}


def _replace_all(panel: Editor, identity: str, usage: str) -> None:
    panel.draft = panel.draft.replace_all(identity, without=usage)


def _where(panel: Editor, identity: str, usage: str) -> None:
    read = panel.draft.read
    panel.status = note(words.where(_name(panel, identity), usage, matrix.where(read, identity, usage)))


def _dismiss(panel: Editor, _request: Request) -> None:
    panel.question, panel.theirs = None, []


def _more(panel: Editor, _request: Request) -> None:
    panel.halted = ""
    panel.read_more()


def _add(panel: Editor, request: Request) -> None:
    identity = panel.add(str(request["identity"]))
    panel.status = note(f"Added a row for {identity}.", "Tick its usages.")


def _preview(panel: Editor, _request: Request) -> None:
    panel.read_again()
    if panel.plan.steps:
        panel.show(panel.plan)


def _execute(panel: Editor, request: Request) -> None:
    panel.execute(str(request["plan"]), confirmed=bool(request.get("confirmed")))


ACTIONS: Final[Mapping[str, Action[Editor]]] = {
    "hello": Action(lambda _panel, _request: None),  # the acknowledgement is the reply
    "toggle": _on_cell(_toggle),
    "replace_all": _on_cell(_replace_all),
    "remove": _on_cell(lambda panel, identity, usage: panel.untick(identity, usage)),
    "grant_too": _on_cell(lambda panel, identity, usage: panel.tick(identity, usage)),
    "where": _on_cell(_where),
    "dismiss": Action(_dismiss),
    "close": Action(lambda panel, _request: panel.close_preview()),
    "choose": Action(lambda panel, request: panel.choose_at(int(request["scope"])), "Reading the policy…"),
    "more": Action(_more, "Reading the policies…"),
    "read_again": Action(
        lambda panel, _request: panel.read_again(), "Reading the policies…", "The policies were read again."
    ),
    "add": Action(_add, "Looking up the identity…"),
    "preview": Action(_preview, "Reading the current policies…"),
    "execute": Action(_execute, "Executing…"),
    "undo": Action(lambda panel, _request: panel.undo(), "Reading the current policies…"),
    "discard": Action(
        lambda panel, _request: panel.discard(),
        "Reading the policies…",
        "The ticks were discarded, and the policies were read again.",
    ),
}
