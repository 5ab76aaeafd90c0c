"""The DataFrame for rows that kqlmi composes, which shows its cells without truncation."""

from typing import Any, Final

import pandas as pd

from kqlmi.notebook import inert
from kqlmi.report import Rows

_WIDTH: Final = "display.max_colwidth"
_DEFAULT_WIDTH: Final = 50


class Frame(pd.DataFrame):
    """A DataFrame with its own HTML display; operations on it return plain DataFrames."""

    @classmethod
    def of(cls, rows: Rows) -> "Frame":
        """Return a frame of rows with their dtypes."""
        return cls(pd.DataFrame([*rows.rows], columns=[*rows.columns]).astype(dict(rows.dtypes)))

    def _repr_html_(self) -> str | None:
        """Return the table as HTML, with the user's pandas options; cells are truncated only if the user set a width."""
        width = pd.get_option(_WIDTH)
        with pd.option_context(_WIDTH, None if width == _DEFAULT_WIDTH else width):
            found: str | None = pd.DataFrame(self)._repr_html_()  # type: ignore[operator] # the stubs have none
        return found and inert.escaped(found)

    def __repr__(self) -> str:
        return inert.escaped(repr(pd.DataFrame(self)))

    def __reduce__(self) -> Any:
        # As a plain DataFrame, so that a pickle can be read without kqlmi.
        return pd.DataFrame, (), pd.DataFrame(self).__getstate__()
