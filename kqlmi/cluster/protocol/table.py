"""A result table of Kusto, and its lossless conversion to a pandas DataFrame."""

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kqlmi.errors import KqlmiError
from kqlmi.redaction import redacted
from kqlmi.report import Described, Report, Rows, Section, counted

if TYPE_CHECKING:
    import pandas as pd

# Names of the .NET types, for tables of the v1 protocol that leave ColumnType out.
_DOTNET = {
    "boolean": "bool",
    "sbyte": "bool",
    "int32": "int",
    "int64": "long",
    "double": "real",
    "sqldecimal": "decimal",
    "object": "dynamic",
    "date": "datetime",
    "time": "timespan",
    "uuid": "guid",
    "uniqueid": "guid",
}
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,7}))?Z")
_TIMESPAN = re.compile(r"(-?)(?:(\d+)\.)?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?")
# The days between which 64-bit nanoseconds since 1970 reach, as ISO text, which sorts by time for four-digit years.
_FIRST_NS, _LAST_NS = "1677-09-22", "2262-04-11"
# So many rows of a table are shown; a DataFrame has all of them.
_SHOWN: Final = 20
_TICKS_A_SECOND: Final = 10_000_000
_LAST_NS_TICKS: Final = (2**63 - 1) // 100


class ColumnTypeWarning(UserWarning):
    """A column has another dtype than usual, which can hold all of its values."""


class SeveralTablesWarning(UserWarning):
    """A response has several tables, of which the first was returned."""


class _CannotHoldError(Exception):
    """A dtype cannot hold a column's values exactly."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name and Kusto type, in lower case: bool, int, long, real, decimal, and so on."""

    name: str
    type: str

    @classmethod
    def of(cls, name: str, type_name: str) -> "Column":
        """Return a column from any spelling of its type that the protocol uses."""
        short = type_name.rsplit(".", 1)[-1].lower()
        return cls(name, _DOTNET.get(short, short))


@dataclass(frozen=True, slots=True, repr=False)
class Table(Described):
    """A table as received. ``rows`` contain JSON values, in the order of ``columns``.

    ``others`` are the following tables, if this is the first of several in a response. ``visualization`` is the kind of
    chart that the query requests by ``render``, which only clients draw.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    name: str = ""
    others: tuple["Table", ...] = ()
    visualization: str = ""

    @property
    def tables(self) -> tuple["Table", ...]:
        """Every table of the response, this one first."""
        return (self, *self.others)

    def report(self) -> Report:
        """Return the first rows, folded, and the number of all rows and columns."""
        counts = f"{counted(len(self.rows), 'row')}, {counted(len(self.columns), 'column')}"
        title = "The rows"
        if len(self.rows) > _SHOWN:
            title = f"The first {_SHOWN} of {len(self.rows):,} rows; to_dataframe() returns all of them"
        first = Rows(tuple(one.name for one in self.columns), tuple(map(tuple, self.rows[:_SHOWN])))
        return Report("Table", counts, (Section(title, (first,), folded=True),) if self.rows else ())

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, name: str) -> bool:
        """Check whether there is a column with a name."""
        return any(column.name == name for column in self.columns)

    def column(self, *names: str) -> list[Any]:
        """Return the values of the first column that has one of ``names``, or raise KqlmiError if there is none."""
        places = [place for name in names for place, column in enumerate(self.columns) if column.name == name]
        if places:
            return [row[places[0]] for row in self.rows]
        raise KqlmiError(
            f"The response has no column {names[0]!r}.",
            hint=f"Its columns: {', '.join(column.name for column in self.columns)}.",
        )

    def records(self, *names: str) -> Iterator[dict[str, Any]]:
        """Return the rows as dictionaries, with the columns ``names``, which must exist, or with all columns."""
        names = names or tuple(column.name for column in self.columns)
        return (dict(zip(names, row, strict=True)) for row in zip(*map(self.column, names), strict=True))

    def to_dataframe(self) -> "pd.DataFrame":
        """Return the table as a DataFrame.

        dtypes: bool ``boolean``, int ``Int32``, long ``Int64``, real ``Float64``, decimal ``decimal.Decimal`` objects,
        datetime ``datetime64[ns, UTC]``, timespan ``timedelta64[ns]``, guid and string ``str``, dynamic Python objects.

        Warns:
            ColumnTypeWarning: A dtype could not hold a value of its column, and was replaced: for times with microseconds
                or else strings, for everything else with Python objects.
        """
        import pandas as pd

        values = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        series = {
            place: _series(column, items)
            for place, (column, items) in enumerate(zip(self.columns, values, strict=True))
        }
        frame = pd.DataFrame(series, index=pd.RangeIndex(len(self.rows)))
        frame.columns = pd.Index([column.name for column in self.columns], dtype=object)
        return frame


def _series(column: Column, values: Sequence[Any]) -> "pd.Series[Any]":
    convert, *others = _CONVERTERS.get(column.type, (_objects,))
    try:
        return convert(values)
    except _CannotHoldError as error:
        for other in (*others, _objects):
            try:
                found = other(values)
            except _CannotHoldError:
                continue
            warnings.warn(
                f"Column {redacted(column.name)!r} {error}; its dtype is {found.dtype}.",
                ColumnTypeWarning,
                stacklevel=3,
            )
            return found
        raise


def _objects(values: Sequence[Any]) -> "pd.Series[Any]":
    import numpy as np
    import pandas as pd

    # Element by element: numpy would turn lists of equal length into a two-dimensional array.
    cells = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        cells[place] = value
    return pd.Series(cells, dtype=object)


def _text(values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if not all(value is None or isinstance(value, str) for value in values):
        raise _CannotHoldError("has values that are not strings")
    try:
        return pd.Series(values, dtype="str" if int(pd.__version__.split(".")[0]) >= 3 else object)  # noqa: PLR2004
    except UnicodeError as error:
        raise _CannotHoldError("has text that is not valid Unicode") from error


def _booleans(values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if not all(value is None or value in (0, 1) for value in values):
        raise _CannotHoldError("has values that are not true or false")
    return pd.Series([None if value is None else bool(value) for value in values], dtype="boolean")


def _integers(bits: int, values: Sequence[Any]) -> "pd.Series[Any]":
    import numpy as np
    import pandas as pd

    limit = 2 ** (bits - 1)
    if not all(value is None or (type(value) is int and -limit <= value < limit) for value in values):
        raise _CannotHoldError(f"has values that a {bits}-bit integer cannot hold")
    # Through numpy's integers: a conversion through floats would round large values in a column with nulls.
    data = np.array([value or 0 for value in values], dtype=f"int{bits}")
    return pd.Series(pd.arrays.IntegerArray(data, np.array([value is None for value in values], dtype=bool)))


def _numbers(values: Sequence[Any]) -> list[float | None]:
    try:
        return [None if value is None else float(value) for value in values]
    except (OverflowError, TypeError, ValueError) as error:
        raise _CannotHoldError("has values that are not numbers of 64 bits") from error


def _nullable_reals(values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    numbers = _numbers(values)
    if any(number is not None and math.isnan(number) for number in numbers):
        raise _CannotHoldError("has NaN, which Float64 cannot distinguish from null")
    return pd.Series(numbers, dtype="Float64")


def _plain_reals(values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if None in values:
        raise _CannotHoldError("has both NaN and null")
    return pd.Series(_numbers(values), dtype="float64")


def _decimals(values: Sequence[Any]) -> "pd.Series[Any]":
    try:
        return _objects([None if value is None else Decimal(str(value)) for value in values])
    except ArithmeticError as error:
        raise _CannotHoldError("has values that are not decimals") from error


def _datetimes(unit: str, values: Sequence[Any]) -> "pd.Series[Any]":
    import numpy as np
    import pandas as pd

    for value in values:
        match = _DATETIME.fullmatch(value) if isinstance(value, str) else None
        if value is not None and match is None:
            raise _CannotHoldError("has values that are not ISO 8601 times")
        if match and unit == "ns" and not _FIRST_NS <= match[0] < _LAST_NS:
            raise _CannotHoldError("has times that datetime64[ns] cannot hold")
        if match and unit == "us" and (match[1] or "")[6:] not in {"", "0"}:
            raise _CannotHoldError("has times finer than a microsecond, beyond the range of nanoseconds")
    digits = len("yyyy-mm-ddThh:mm:ss.") + {"ns": 7, "us": 6}[unit]
    texts = ["NaT" if value is None else value.removesuffix("Z")[:digits] for value in values]
    try:
        return pd.Series(np.array(texts, dtype=f"datetime64[{unit}]")).dt.tz_localize("UTC")
    except ValueError as error:
        raise _CannotHoldError("has values that are not times") from error


def _timespans(unit: str, values: Sequence[Any]) -> "pd.Series[Any]":
    import numpy as np
    import pandas as pd

    ticks = [None if value is None else _ticks(value) for value in values]
    if unit == "ns" and any(tick is not None and abs(tick) > _LAST_NS_TICKS for tick in ticks):
        raise _CannotHoldError("has timespans that timedelta64[ns] cannot hold")
    if unit == "us" and any(tick is not None and tick % 10 for tick in ticks):
        raise _CannotHoldError("has timespans finer than a microsecond, beyond the range of nanoseconds")
    scaled = [tick if tick is None else (tick * 100 if unit == "ns" else tick // 10) for tick in ticks]
    return pd.Series(np.array(["NaT" if value is None else value for value in scaled], dtype=f"timedelta64[{unit}]"))


def _ticks(value: Any) -> int:
    match = _TIMESPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _CannotHoldError("has values that are not timespans")
    sign, days, hours, minutes, seconds, fraction = match.groups()
    total = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
    return (-1 if sign else 1) * (total * _TICKS_A_SECOND + int((fraction or "").ljust(7, "0")))


def _dynamics(values: Sequence[Any]) -> "pd.Series[Any]":
    return _objects([_parsed(value) for value in values])


def _parsed(value: Any) -> Any:
    # The service writes an array or a bag as JSON or as a string of JSON; other strings are scalars.
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


_CONVERTERS: dict[str, tuple[Callable[[Sequence[Any]], "pd.Series[Any]"], ...]] = {
    "bool": (_booleans,),
    "int": (partial(_integers, 32), partial(_integers, 64)),
    "long": (partial(_integers, 64),),
    "real": (_nullable_reals, _plain_reals, lambda values: _objects(_numbers(values))),
    "decimal": (_decimals,),
    "datetime": (partial(_datetimes, "ns"), partial(_datetimes, "us"), _text),
    "timespan": (partial(_timespans, "ns"), partial(_timespans, "us"), _text),
    "guid": (_text,),
    "string": (_text,),
    "dynamic": (_dynamics,),
}
