"""Moments as people say them: `7d`, `mtd`, `last-month`, `yesterday`, a date, RFC 3339."""

from __future__ import annotations

import datetime as dt
import re

from ..errors import InvalidQuery
from ..moments import DAY, next_month, parse_moment, rfc3339
from ..zones import Zone

__all__ = ["FORMS", "month_span", "resolve"]

FORMS = "YYYY-MM-DD, RFC 3339, 90m, 24h, 7d, 2w, today, yesterday, mtd or last-month"

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_AGO = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {
    "m": dt.timedelta(minutes=1),
    "h": dt.timedelta(hours=1),
    "d": DAY,
    "w": 7 * DAY,
}


def resolve(
    since: str, until: str | None, now: dt.datetime, zone: Zone | None = None
) -> tuple[dt.datetime, dt.datetime]:
    """Return the range that `--since` and `--until` mean, in UTC; raises InvalidQuery.

    Days and weeks count back from midnight, so that `7d` is the seven whole days before today and
    today so far; with a `zone` it is that of its clocks. Without `until` the range ends now, or
    where the named period ends.
    """
    start, end = _period(since, now, "--since", zone)
    if until is not None:
        end = _period(until, now, "--until", zone)[0]
    elif end is None and start > now:
        raise InvalidQuery(f"--since {since} lies in the future: it is {rfc3339(now)}")
    return start, end or now


def month_span(text: str, name: str = "--month") -> tuple[dt.datetime, dt.datetime]:
    """Return the range of a calendar month, in UTC; raises InvalidQuery."""
    month = _MONTH.fullmatch(text.strip())
    if month is None or month[1] in ("0000", "9999"):
        raise InvalidQuery(f"{name} takes YYYY-MM, such as 2026-02, not {text!r}")
    start = dt.datetime(int(month[1]), int(month[2]), 1, tzinfo=dt.UTC)
    return start, next_month(start)


def _period(
    text: str, now: dt.datetime, name: str, zone: Zone | None
) -> tuple[dt.datetime, dt.datetime | None]:
    """Return where a named period starts, and where it ends if it says so."""
    word = text.strip().lower()
    today = (now if zone is None else zone.local(now)).date()
    first = today.replace(day=1)

    def midnight(day: dt.date) -> dt.datetime:
        if zone is None:
            return dt.datetime.combine(day, dt.time(), dt.UTC)
        return zone.midnight(day).astimezone(dt.UTC)

    if word == "now":
        return now, None
    if word == "today":
        return midnight(today), None
    if word == "yesterday":
        return midnight(today - DAY), midnight(today)
    if word == "mtd":
        return midnight(first), None
    if word == "last-month":
        return midnight((first - DAY).replace(day=1)), midnight(first)
    if match := _AGO.fullmatch(word):
        ago = int(match[1]) * _UNITS[match[2]]
        try:
            return midnight(today - ago) if match[2] in "dw" else now - ago, None
        except OverflowError:
            raise InvalidQuery(f"{name} {text} lies before all time") from None
    try:
        return parse_moment(text, name) if zone is None else zone.parse(text, name), None
    except InvalidQuery:
        raise InvalidQuery(f"{name} does not understand {text!r}; it takes {FORMS}") from None
