"""The progress bar below a cell."""

from collections.abc import Callable
from time import monotonic
from typing import Any, ClassVar, Final

_WAITING: Final = "{desc}: {n:.0f} of at most {total:.0f} s |{bar}|"


class Progress:
    """A progress bar that appears if anything takes more than a second, with one bar at a time, and disappears afterwards.

    It is a widget if the front end supports widgets, otherwise a line on stderr. ``Session.read`` and similar methods call
    it as their ``progress``.
    """

    # In seconds.
    after: ClassVar[float] = 1.0

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._bar: Any = None
        self._place: Any = None
        self._what = ""
        self._clock = clock
        self._began = self._last = clock()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show how many of how many items have been read."""
        self._show(done, total, f"Reading {what}")

    def waited(self, seconds: float, at_most: float) -> None:
        """Show how many seconds have been waited, of at most how many."""
        self._show(seconds, at_most, "Waiting for the outcome", _WAITING)

    def _show(self, done: float, total: float, what: str, form: str | None = None) -> None:
        if what != self._what:
            self.close()
            # The first call comes after the first item, which began when the last one of the other kind ended.
            self._what, self._began = what, self._last
        self._last = self._clock()
        if self._bar is None and self._last - self._began > self.after and done < total:
            self._open(total, what, form)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def _open(self, total: float, what: str, form: str | None) -> None:
        from IPython.display import display
        from tqdm.auto import tqdm
        from tqdm.notebook import tqdm_notebook

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
