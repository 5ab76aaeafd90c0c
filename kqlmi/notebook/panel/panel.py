"""The panel: a widget over a draft, in which identities are ticked for workflows."""

from collections.abc import Iterable
from typing import Any, Final

from kqlmi.model.entities import Identity, Scope
from kqlmi.notebook.panel import matrix
from kqlmi.notebook.panel.actions import ACTIONS
from kqlmi.notebook.panel.editor import Editor
from kqlmi.notebook.panel.requests import Requests
from kqlmi.report import to_html, to_text
from kqlmi.session import Session

# No name is broken.
_WIDTH: Final = 1000


class Panel(Editor):
    """Ticks over the policies of a cluster, with preview, execution, verification and undo.

    ``draft`` holds the ticks; set it, or let ``tick`` and ``untick`` do so, and the view follows. ``plan`` is what
    Execute would apply, and ``apply`` applies it. A panel is open, and holds what it read, until ``close``: as long
    as the kernel runs it can be shown again, even if no page does.
    """

    def __init__(self, session: Session, scope: Scope, *, assigned: Iterable[Identity] | None = None) -> None:
        """Read the cluster's policy and that of ``scope``, and show the latter.

        ``assigned`` are the identities that are assigned to the cluster; by default Azure Resource Manager is asked, where
        the session knows the cluster's resource ID. Without them it is not told which ones are orphans.

        Raises:
            InputError: There is no such database.
            ServiceError: The policy of ``scope`` may not be read.
        """
        # First, so that nothing that a page asks goes unheard.
        self._requests = Requests(self, ACTIONS)
        super().__init__(session, scope, assigned=assigned)
        self.comm.on_close(lambda _message: self.close())
        self._own_layout = self.layout

    def close(self) -> None:
        """Close the view, and release what was read: a closed panel shows nothing and refuses what is asked of it."""
        if self.comm is None:  # closed before, or never opened
            return
        with self.lock:
            super().close()
            self._own_layout.close()
            del self._session, self._reader, self._added, self._shown, self._draft, self._cells
            del self._requests, self._own_layout

    def open(self) -> None:
        """Open the view, once; InputError if the panel is closed."""
        self.check_open()
        super().open()

    def __repr__(self) -> str:
        """Return what it is on; the view itself is shown by ``_repr_mimebundle_``."""
        return "<closed kqlmi panel>" if self.closed else f"<kqlmi panel on {self.cluster}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        shown = matrix.report(self._draft, self._session.name)
        return {**data, "text/plain": to_text(shown, width=_WIDTH), "text/html": to_html(shown)}, metadata
