"""The open panels of each cell, which are closed when a later run of the cell opens another panel."""

from typing import TYPE_CHECKING, Any

from IPython import get_ipython

if TYPE_CHECKING:
    from kqlmi.notebook.panel.panel import Panel


class OpenPanels:
    """The panels of the last run of each cell; if the front end does not identify cells, none is closed."""

    def __init__(self) -> None:
        self._by_cell: dict[str, tuple[str, list[Panel]]] = {}

    def keep(self, panel: "Panel") -> "Panel":
        """Register a panel of the running cell, and close those of its earlier runs, which are no longer displayed."""
        cell, run = _running()
        if not cell:
            return panel
        last, panels = self._by_cell.get(cell, (run, []))
        self._by_cell[cell] = run, [*(panels if last == run else ()), panel]
        for old in panels if last != run else ():
            old.close()
        return panel

    def close(self) -> int:
        """Close all panels, and return how many were open."""
        panels = [panel for _, found in self._by_cell.values() for panel in found if not panel.closed]
        self._by_cell.clear()
        for panel in panels:
            panel.close()
        return len(panels)


def _running() -> tuple[str, str]:
    """Return the IDs of the running cell and of its run; empty outside a notebook."""
    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    return str(parent.get("metadata", {}).get("cellId", "")), str(parent.get("header", {}).get("msg_id", ""))
