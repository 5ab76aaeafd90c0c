"""The DataFrame for rows that kqlmi composes, which shows its cells without truncation."""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import pandas as pd

from kqlmi.report import Kind, Rows, to_html, to_text
from kqlmi.report.report import cell
from kqlmi.terminal import to_terminal

# Options that still have these values, which are pandas' own, were not set by the user.
_WIDTH, _DEFAULT_WIDTH, _CHARACTERS = "display.max_colwidth", 50, 2000
_ROWS, _FEW = "display.max_rows", 20
_ALL: Final = "The DataFrame has all of them; to show them: pd.options.display.max_rows = None"


class Frame(pd.DataFrame):
    """A DataFrame with its own display; operations on it return plain DataFrames."""

    _internal_names: ClassVar[list[str]] = [*pd.DataFrame._internal_names, "_kinds"]  # type: ignore[attr-defined] # noqa: SLF001 - documented by pandas
    _internal_names_set: ClassVar[set[str]] = {*_internal_names}
    _kinds: Mapping[str, Kind]

    @classmethod
    def of(cls, rows: Rows) -> "Frame":
        """Return a frame of rows with their dtypes."""
        found = cls(pd.DataFrame([*rows.rows], columns=[*rows.columns]).astype(dict(rows.dtypes)))
        found._kinds = rows.kinds
        return found

    @property
    def _rows(self) -> Rows:
        """Return the rows to show, with the current columns and the user's pandas options for rows and width."""
        most, count = pd.get_option(_ROWS), len(self)
        shown = pd.DataFrame(self).head(count if not most or count <= most else min(most, _FEW))
        if not (isinstance(self.index, pd.RangeIndex) and self.index.equals(pd.RangeIndex(count))):
            shown = pd.concat([shown.index.to_frame(), shown], axis=1)
        columns = [shown.iloc[:, place].tolist() for place in range(shown.shape[1])]
        values = tuple(tuple(map(_value, row)) for row in zip(*columns, strict=True))
        note = f"{len(shown):,} of {count:,} rows. {_ALL}" if len(shown) < count else "" if count else "No rows."
        return Rows(tuple(map(str, shown.columns)), values, kinds=getattr(self, "_kinds", {}), note=note)

    def _repr_html_(self) -> str | None:
        """Return the table as HTML, or None if the user's pandas options disable it."""
        return to_html(self._rows) if pd.get_option("display.notebook_repr_html") else None

    def __repr__(self) -> str:
        return to_text(self._rows)

    def _repr_pretty_(self, printer: Any, _cycle: object) -> None:
        printer.text(to_terminal(self._rows, sys.stdout))

    def __reduce__(self) -> Any:
        # As a plain DataFrame, so that a pickle can be read without kqlmi.
        return pd.DataFrame, (), pd.DataFrame(self).__getstate__()


def _value(value: object) -> object:
    """Return a value for display, None if it is missing; a text that is too long states how many characters are left."""
    if pd.api.types.is_scalar(value) and pd.isna(value):  # type: ignore[call-overload] # of a scalar
        return None
    width = pd.get_option(_WIDTH)
    most = _CHARACTERS if width == _DEFAULT_WIDTH else width
    text = cell(value)
    left = len(text) - most if most else 0
    return f"{text[:most]}… {left:,} more characters" if left > 0 else value
