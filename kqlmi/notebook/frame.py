"""The DataFrame of rows that kqlmi composes, which shows the texts of its cells whole."""

from typing import Any, Final

import pandas as pd

from kqlmi.notebook import inert
from kqlmi.report import Rows

_WIDTH: Final = "display.max_colwidth"
_DEFAULT_WIDTH: Final = 50


class Frame(pd.DataFrame):
    """A DataFrame that differs from any other in how a page shows it; what is made of it is a plain one."""

    @classmethod
    def of(cls, rows: Rows) -> "Frame":
        """Return rows as a frame with their dtypes."""
        return cls(pd.DataFrame([*rows.rows], columns=[*rows.columns]).astype(dict(rows.dtypes)))

    def _repr_html_(self) -> str | None:
        """Return the table for a page, with the user's options, but no cell cut short where none of these says so."""
        width = pd.get_option(_WIDTH)
        with pd.option_context(_WIDTH, None if width == _DEFAULT_WIDTH else width):
            found: str | None = pd.DataFrame(self)._repr_html_()  # type: ignore[operator] # the stubs have none
        return found and inert.escaped(found)

    def __repr__(self) -> str:
        return inert.escaped(repr(pd.DataFrame(self)))

    def __reduce__(self) -> Any:
        # Without kqlmi it is read as well.
        return pd.DataFrame, (), pd.DataFrame(self).__getstate__()
