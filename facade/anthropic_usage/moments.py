"""Moments in UTC: reading them from what people write, and snapping them to bucket boundaries."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import TypeVar

from .errors import IncompleteReport, InvalidQuery

Clock = Callable[[], dt.datetime]
Moment = dt.datetime | dt.date | str

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)

D = TypeVar("D", bound=dt.date)

_WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.]\d+)?)?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def utc_now() -> dt.datetime:
    """Return the time by this machine's clock."""
    return dt.datetime.now(dt.UTC)


def _utc(naive: dt.datetime) -> dt.datetime:
    return naive.replace(tzinfo=dt.UTC)


def parse_moment(
    value: Moment, name: str, place: Callable[[dt.datetime], dt.datetime] = _utc
) -> dt.datetime:
    """Return `value` in UTC; a date is its midnight, and `place` says where a naive time is: UTC.

    Raises InvalidQuery naming the argument `name` for anything but a datetime, a date, RFC 3339 or
    `YYYY-MM-DD`.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _WRITTEN.fullmatch(text):
            raise _bad(value, name)
        try:
            value = dt.datetime.fromisoformat(text.upper())
        except ValueError:
            raise _bad(value, name) from None
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if not isinstance(value, dt.datetime) or value != value:
        raise _bad(value, name)
    try:
        return (place(value) if value.tzinfo is None else value).astimezone(dt.UTC)
    except OverflowError:
        raise _bad(value, name) from None


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return the moment in UTC, without a new object where it already is."""
    try:
        return moment if moment.tzinfo is dt.UTC else moment.astimezone(dt.UTC)
    except OverflowError:
        raise IncompleteReport(
            f"an answer holds {moment.isoformat()}, which no clock shows"
        ) from None


def monday(day: dt.date) -> dt.date:
    """Return the Monday of the ISO week that `day` lies in."""
    return day - dt.timedelta(days=day.weekday())


def next_month(first: D) -> D:
    """Return the first of the month that follows a first of a month."""
    return (first.replace(day=28) + 4 * DAY).replace(day=1)


def floor(moment: dt.datetime, width: dt.timedelta) -> dt.datetime:
    """Return the last bucket boundary at or before `moment`."""
    return moment - (moment - EPOCH) % width


def ceil(moment: dt.datetime, width: dt.timedelta) -> dt.datetime:
    """Return the first bucket boundary at or after `moment`."""
    return moment + (EPOCH - moment) % width


def microseconds(moment: dt.datetime) -> int:
    """Return the microseconds since 1970, exactly."""
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def rfc3339(moment: dt.datetime) -> str:
    """Write a UTC moment as the API does: `2026-02-01T00:00:00Z`."""
    return moment.isoformat().replace("+00:00", "Z")


def _bad(value: object, name: str) -> InvalidQuery:
    return InvalidQuery(
        f"{name}={value!r} is no moment in time; give YYYY-MM-DD, RFC 3339 such as "
        "2026-02-01T00:00:00Z, a date or a datetime"
    )
