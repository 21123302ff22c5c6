"""How much of its week or month a group holds: a part of one is no drop."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import attrs

from ..fields import Row, fields_of
from ..moments import DAY, next_month

__all__ = ["Extent", "extent", "extents"]


@attrs.frozen
class Extent:
    """The days of a period, and how many of them a group holds; today counts as one."""

    days: int
    days_in_period: int

    @property
    def partial(self) -> bool:
        """Whether days are missing."""
        return self.days < self.days_in_period

    def __str__(self) -> str:
        return f"{self.days} of {self.days_in_period}" if self.partial else f"{self.days}"


def extents(
    rows: Sequence[Row], by: tuple[str, ...], first: dt.date, until: dt.date
) -> list[Extent] | None:
    """Return the extent of each group's week or month; None if they are of neither.

    `first` and `until`, which is exclusive, bound the days that were read.
    """
    if "day" in by or "date" in by or not {"week", "month"}.intersection(by):
        return None
    return [extent(_day(row), by, first, until) for row in rows]


def extent(day: dt.date, by: tuple[str, ...], first: dt.date, until: dt.date) -> Extent:
    """Return how much of the week or month that `day` lies in is read: [first, until)."""
    begins, ends = [], []
    if "week" in by:
        begins.append(day - DAY * day.weekday())
        ends.append(begins[-1] + 7 * DAY)
    if "month" in by:
        begins.append(day.replace(day=1))
        ends.append(next_month(begins[-1]))
    begin, end = max(begins), min(ends)
    # What was used is there, so its day is, even if it is younger than what is final.
    known = max(min(end, until), day + DAY) - max(begin, first)
    return Extent(known.days, (end - begin).days)


def _day(row: Row) -> dt.date:
    day: dt.date = getattr(row, fields_of(type(row)).clock)
    return day.date() if isinstance(day, dt.datetime) else day
