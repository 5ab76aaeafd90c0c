"""The progress bar below a cell."""

from typing import Any, Final

_MANY: Final = 24
_WAITING: Final = "{desc}: {n:.0f} of at most {total:.0f} s |{bar}|"


class Progress:
    """A progress bar that appears if there is much to read, with one bar at a time, and disappears afterwards.

    It is a widget if the front end supports widgets, otherwise a line on stderr. ``Session.read`` and similar methods call
    it as their ``progress``.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._place: Any = None
        self._what = ""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show how many of how many items have been read."""
        if total > _MANY:
            self._show(done, total, f"Reading {what}")

    def waited(self, seconds: float, at_most: float) -> None:
        """Show how many seconds have been waited, of at most how many."""
        if seconds >= 1:
            self._show(seconds, at_most, "Waiting for the outcome", _WAITING)

    def _show(self, done: float, total: float, what: str, form: str | None = None) -> None:
        if self._bar is None or what != self._what:
            self.close()
            self._open(total, what, form)
        self._bar.update(done - self._bar.n)

    def _open(self, total: float, what: str, form: str | None) -> None:
        from IPython.display import display
        from tqdm.auto import tqdm
        from tqdm.notebook import tqdm_notebook

        self._what = what
        if not issubclass(tqdm, tqdm_notebook):
            self._bar = tqdm(total=total, desc=what, leave=False, bar_format=form)
            return
        # tqdm would leave its widget in the saved notebook; a separate display can be cleared.
        bar: Any = tqdm(total=total, desc=what, leave=False, bar_format=form, display=False)
        self._bar, self._place = bar, display(bar.container, display_id=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        if self._place is not None:
            self._place.update({"text/plain": ""}, raw=True)
            box = self._bar.container
            for widget in (box, *box.children):
                for part in filter(None, (widget.layout, getattr(widget, "style", None), widget)):
                    part.close()
        self._bar = self._place = None
