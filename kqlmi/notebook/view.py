"""The traits of the panel: the whole truth that a browser draws, so that it is drawn again from a saved notebook."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class View(anywidget.AnyWidget):
    """What Python and the browser tell each other; ``matrix`` and ``words`` give the values."""

    _esm = _HERE / "panel.js"
    _css = _HERE / "panel.css"

    panel_id = traitlets.Unicode("").tag(sync=True)
    # The browser writes these, and so may a notebook. A request is {"id", "action", …}; see Requests.
    request = traitlets.Dict().tag(sync=True)
    search = traitlets.Unicode("").tag(sync=True)
    row_filter = traitlets.Enum(["all", "granted", "changed", "orphan"], "all").tag(sync=True)
    row_order = traitlets.Enum(["name", "granted", "object ID"], "name").tag(sync=True)
    hidden_columns = traitlets.List(traitlets.Unicode()).tag(sync=True)

    # Python writes these, and with those above they are the whole truth that a view draws.
    acknowledged = traitlets.Unicode("").tag(sync=True)
    # What takes its time, as {"action", "text"}; empty in between.
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
