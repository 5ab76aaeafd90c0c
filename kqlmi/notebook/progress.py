"""A bar below a cell while much is read."""

from typing import Any, Final

_MANY: Final = 24
_WAITING: Final = "{desc}: {n:.0f} of at most {total:.0f} s |{bar}|"


class Progress:
    """A bar that appears where there is much to read, one after the other for each kind of thing, and leaves nothing.

    Where a front end shows widgets it is one of them, elsewhere a line of text on stderr. ``Session.read`` and its like
    call it as their ``progress``.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._place: Any = None
        self._what = ""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show how much is done."""
        if total > _MANY:
            self._show(done, total, f"Reading {what}")

    def waited(self, seconds: float, at_most: float) -> None:
        """Show how long something was waited for."""
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
        # tqdm would leave its widget in the saved notebook; a place of one's own can be emptied.
        bar: Any = tqdm(total=total, desc=what, leave=False, bar_format=form, display=False)
        self._bar, self._place = bar, display(bar.container, display_id=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        if self._place is not None:
            self._place.update({"text/plain": ""}, raw=True)
            box = self._bar.container
            for widget in (box, *box.children):
                for part in filter(None, (widget.layout, getattr(widget, "style", None), widget)):
                    part.close()
        self._bar = self._place = None
