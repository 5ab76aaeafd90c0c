"""Datetimes and timespans as Kusto stores them: whole numbers of 100 ns ticks."""

import re
import time
from datetime import date, datetime, timedelta
from fractions import Fraction

SECOND = 10_000_000
DAY = 86_400 * SECOND
EPOCH = (date(1970, 1, 1).toordinal() - 1) * DAY
"""Ticks from year 1 to 1970."""

MAX_TIMESPAN = 2**63 - 1
MIN_TIMESPAN = -(2**63)

_MAX_OFFSET = 14 * 3600 * SECOND
_END = date.max.toordinal() * DAY
_START = datetime(1, 1, 1)  # noqa: DTZ001 - ticks have no zone

_DATETIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?)?\s*(?:Z|([+-])(\d{2}):?(\d{2}))?",
    re.ASCII,
)
_CLOCK = re.compile(r"(-)?(?:(\d{1,20})\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?", re.ASCII)
_UNIT = re.compile(r"(\d{1,40}(?:\.\d{1,40})?)([a-z]+)", re.ASCII)

_UNITS = {
    Fraction(DAY): "d day days",
    Fraction(3600 * SECOND): "h hr hrs hour hours",
    Fraction(60 * SECOND): "m min minute minutes",
    Fraction(SECOND): "s sec second seconds",
    Fraction(10_000): "ms milli millis millisec millisecond milliseconds",
    Fraction(10): "micro micros microsec microsecond microseconds",
    Fraction(1, 100): "nano nanos nanosec nanosecond nanoseconds",
    Fraction(1): "tick ticks",
}
UNITS = {name: length for length, names in _UNITS.items() for name in names.split()}


def parse_datetime(text: str) -> int | None:
    """Return the ticks of an ISO 8601 string, converted to UTC, or None if it is not a valid datetime."""
    match = _DATETIME.fullmatch(text.strip())
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - ticks have no zone
    except ValueError:
        return None
    sign, hours, minutes = match.groups()[7:]
    offset = (int(hours or 0) * 60 + int(minutes or 0)) * (-60 if sign == "-" else 60) * SECOND
    found = from_datetime(moment) + int((match[7] or "").ljust(7, "0")) - offset
    return found if abs(offset) <= _MAX_OFFSET and 0 <= found < _END else None


def parse_timespan(text: str) -> int | None:
    """Return the ticks of ``[-][d.]hh:mm[:ss[.fffffff]]`` or of a number with a unit, or None for anything else."""
    text = text.strip()
    if match := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:5])
        if hours > 23 or minutes > 59 or seconds > 59:  # noqa: PLR2004 - a clock
            return None
        ticks = (days * 86_400 + hours * 3600 + minutes * 60 + seconds) * SECOND + int((match[6] or "").ljust(7, "0"))
        ticks = -ticks if match[1] else ticks
    elif (match := _UNIT.fullmatch(text)) and match[2] in UNITS:
        exact = Fraction(match[1]) * UNITS[match[2]]
        if exact.denominator != 1:
            return None
        ticks = int(exact)
    else:
        return None
    return ticks if MIN_TIMESPAN <= ticks <= MAX_TIMESPAN else None


def format_datetime(ticks: int) -> str:
    """Format ticks as the service does: ISO 8601 with seven digits and Z."""
    seconds, fraction = divmod(ticks, SECOND)
    moment = to_datetime(seconds * SECOND)
    return f"{moment.isoformat()}.{fraction:07d}Z"


def format_timespan(ticks: int) -> str:
    """Format ticks as ``[-][d.]hh:mm:ss[.fffffff]``."""
    seconds, fraction = divmod(abs(ticks), SECOND)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    sign, whole, part = "-" * (ticks < 0), f"{days}." * bool(days), f".{fraction:07d}" * bool(fraction)
    return f"{sign}{whole}{hour:02d}:{minute:02d}:{second:02d}{part}"


def from_datetime(moment: datetime) -> int:
    """Return the ticks of a datetime without a time zone."""
    return from_timedelta(moment - _START)


def to_datetime(ticks: int) -> datetime:
    """Return ticks as a datetime without a time zone; the seventh digit must be zero."""
    return _START + timedelta(microseconds=ticks // 10)


def from_timedelta(span: timedelta) -> int:
    """Return the ticks of a timedelta."""
    return (span.days * 86_400 + span.seconds) * SECOND + span.microseconds * 10


def now() -> int:
    """Return the current time in ticks, rounded down to microseconds, which the query engine can store."""
    return EPOCH + time.time_ns() // 1000 * 10
