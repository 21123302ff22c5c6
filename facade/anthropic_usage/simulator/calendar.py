"""Time as whole numbers: minutes and days since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

MINUTES_PER_HOUR = 60
MINUTES_PER_DAY = 1440

WIDTHS = {"1m": 1, "1h": MINUTES_PER_HOUR, "1d": MINUTES_PER_DAY}
"""Minutes in each bucket width that the usage report knows."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date()


def as_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; a naive one is taken to be UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def seconds_of(moment: datetime) -> int:
    """Return the whole seconds since the epoch, rounded down."""
    return (as_utc(moment) - _EPOCH) // timedelta(seconds=1)


def minute_of(moment: datetime) -> int:
    """Return the number of the minute that the moment lies in."""
    return seconds_of(moment) // 60


def day_of(day: date) -> int:
    """Return the number of a day; of a `datetime`, the UTC day that it lies in."""
    if isinstance(day, datetime):
        day = as_utc(day).date()
    return (day - _EPOCH_DAY).days


def date_of(day: int) -> date:
    """Return the calendar date of a day's number."""
    return _EPOCH_DAY + timedelta(days=day)


def moment_of(minute: int) -> datetime:
    """Return the moment at which a minute begins."""
    return _EPOCH + timedelta(minutes=minute)


def timestamp(minute: int) -> str:
    """Return the start of a minute as the API prints it."""
    return moment_of(minute).isoformat().replace("+00:00", "Z")
