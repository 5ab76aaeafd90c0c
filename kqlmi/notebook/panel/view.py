"""The traits of the panel: all the state that a browser draws, so that a saved notebook can show the panel again."""

import uuid
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

import anywidget
import traitlets

from kqlmi.errors import InputError
from kqlmi.notebook.panel.esm import joined

AnyView = TypeVar("AnyView", bound="View")
Args = ParamSpec("Args")
Result = TypeVar("Result")

_PAGE = Path(__file__).parent / "page"


class View(anywidget.AnyWidget):
    """The traits that Python and the browser synchronise; ``matrix`` and ``words`` compute their values."""

    # Text instead of paths: for a path, anywidget starts a watcher that keeps every widget in memory.
    _esm = traitlets.Unicode(joined(_PAGE / "panel.js")).tag(sync=True)
    _css = traitlets.Unicode((_PAGE / "panel.css").read_text(encoding="utf-8")).tag(sync=True)
    _anywidget_id = traitlets.Unicode(f"{__name__}.View").tag(sync=True)

    panel_id = traitlets.Unicode("").tag(sync=True)
    # Written by the browser or a notebook. A request is {"id", "action", …}; see ``requests``.
    request = traitlets.Dict().tag(sync=True)
    search = traitlets.Unicode("").tag(sync=True)
    row_filter = traitlets.Enum(["all", "granted", "changed", "orphan"], "all").tag(sync=True)
    row_order = traitlets.Enum(["name", "granted", "object ID"], "name").tag(sync=True)
    hidden_columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    column_kind = traitlets.Enum(["usages", "workflows"], "usages").tag(sync=True)

    # Written by Python.
    acknowledged = traitlets.Unicode("").tag(sync=True)
    # The slow action that is running, as {"action", "text"}; empty if there is none.
    working = traitlets.Dict().tag(sync=True)
    cluster = traitlets.Unicode("").tag(sync=True)
    denial = traitlets.Dict().tag(sync=True)
    scopes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    scope_states = traitlets.Unicode("").tag(sync=True)
    scope = traitlets.Int(0).tag(sync=True)
    more = traitlets.Bool(default_value=False).tag(sync=True)
    halted = traitlets.Unicode("").tag(sync=True)
    refusal = traitlets.Unicode("").tag(sync=True)
    columns: traitlets.List[Any] = traitlets.List().tag(sync=True)
    assignments = traitlets.Unicode("").tag(sync=True)
    identities: traitlets.List[Any] = traitlets.List().tag(sync=True)
    client_ids = traitlets.Dict().tag(sync=True)
    legend: traitlets.List[Any] = traitlets.List().tag(sync=True)
    cells: traitlets.List[Any] = traitlets.List().tag(sync=True)
    edited = traitlets.Dict().tag(sync=True)
    summary = traitlets.Unicode("").tag(sync=True)
    preview = traitlets.Any(None).tag(sync=True)
    progress: traitlets.List[Any] = traitlets.List().tag(sync=True)
    theirs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    undoable = traitlets.Unicode("").tag(sync=True)
    question = traitlets.Any(None).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    closed = False

    def __init__(self) -> None:
        self.panel_id, self.lock = uuid.uuid4().hex, RLock()
        super().__init__()

    def close(self) -> None:
        """Close the view, which then shows nothing."""
        super().close()
        self.unobserve_all()
        for name in View.class_own_traits():
            self.set_trait(name, self.trait_defaults(name))
        self.closed = True

    def check_open(self) -> None:
        """Raise InputError if the view is closed."""
        if self.closed:
            raise InputError("The panel is closed.", hint="Run %kqlmi panel to open another.")

    def add_traits(self, **traits: Any) -> None:
        """Add only traits that the class lacks; otherwise traitlets would create a class for each panel."""
        if missing := {name: trait for name, trait in traits.items() if not self.has_trait(name)}:
            super().add_traits(**missing)


def alone(method: Callable[Concatenate[AnyView, Args], Result]) -> Callable[Concatenate[AnyView, Args], Result]:
    """Return a method that one thread at a time can run: JupyterLab's messages arrive in a thread beside the cells'."""

    @wraps(method)
    def locked(view: AnyView, /, *args: Args.args, **options: Args.kwargs) -> Result:
        with view.lock:
            view.check_open()
            return method(view, *args, **options)

    return locked
