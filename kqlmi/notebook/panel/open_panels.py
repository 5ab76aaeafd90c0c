"""The panels that each cell opened: they are closed once a later run of the cell has opened another."""

from typing import TYPE_CHECKING, Any

from IPython import get_ipython

if TYPE_CHECKING:
    from kqlmi.notebook.panel.panel import Panel


class OpenPanels:
    """The panels of the last run of each cell; where the front end names no cell, none is closed."""

    def __init__(self) -> None:
        self._by_cell: dict[str, tuple[str, list[Panel]]] = {}

    def keep(self, panel: "Panel") -> "Panel":
        """Keep a panel that the running cell opened, and close those of its earlier runs, which no page shows any more."""
        cell, run = _running()
        if not cell:
            return panel
        last, panels = self._by_cell.get(cell, (run, []))
        self._by_cell[cell] = run, [*(panels if last == run else ()), panel]
        for old in panels if last != run else ():
            old.close()
        return panel


def _running() -> tuple[str, str]:
    """Return the ID of the running cell and of its run; empty outside of a notebook."""
    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    return str(parent.get("metadata", {}).get("cellId", "")), str(parent.get("header", {}).get("msg_id", ""))
