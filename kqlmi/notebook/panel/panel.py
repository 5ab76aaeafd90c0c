"""The panel widget, in which the usages of identities are ticked."""

from collections.abc import Iterable
from typing import Any, Final

from kqlmi.model.entities import Identity, Scope
from kqlmi.notebook.panel import matrix
from kqlmi.notebook.panel.actions import ACTIONS
from kqlmi.notebook.panel.editor import Editor
from kqlmi.notebook.panel.requests import Requests
from kqlmi.report import to_html, to_text
from kqlmi.session import Session

# Wide enough that names are not wrapped.
_WIDTH: Final = 1000


class Panel(Editor):
    """Ticks over the policies of a cluster, with preview, execution, verification and undo.

    ``draft`` contains the ticks; set it, or call ``tick`` and ``untick``, and the view is updated. ``plan`` is the plan that
    Execute would apply, and ``apply`` applies it. A panel stays open, with what it has read in memory, until ``close``: it
    can be displayed again as long as the kernel runs.
    """

    def __init__(self, session: Session, scope: Scope, *, assigned: Iterable[Identity] | None = None) -> None:
        """Read the cluster's policy and that of ``scope``, and show the latter.

        ``assigned`` contains the identities that are assigned to the cluster; by default they are read from Azure Resource
        Manager, if the session knows the cluster's resource ID. Without them, orphans are not marked.

        Raises:
            InputError: The database does not exist.
            ServiceError: The policy of ``scope`` cannot be read.
        """
        # First, so that no request of a page is missed.
        self._requests = Requests(self, ACTIONS)
        super().__init__(session, scope, assigned=assigned)
        self.comm.on_close(lambda _message: self.close())
        self._own_layout = self.layout

    def close(self) -> None:
        """Close the view and release what was read; a closed panel shows nothing, and its methods raise InputError."""
        if self.comm is None:  # closed before, or never opened
            return
        with self.lock:
            super().close()
            self._own_layout.close()
            del self._session, self._reader, self._added, self._shown, self._draft, self._cells
            del self._requests, self._own_layout

    def open(self) -> None:
        """Open the view; raise InputError if the panel is closed."""
        self.check_open()
        super().open()

    def __repr__(self) -> str:
        """Return a short description; ``_repr_mimebundle_`` shows the panel itself."""
        return "<closed kqlmi panel>" if self.closed else f"<kqlmi panel on {self.cluster}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        shown = matrix.report(self._draft, self._session.name)
        return {**data, "text/plain": to_text(shown, width=_WIDTH), "text/html": to_html(shown)}, metadata
