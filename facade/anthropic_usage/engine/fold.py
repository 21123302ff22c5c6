"""Sums of a report, page by page: one row a group, in constant memory for constant groups."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterable
from typing import Any

from ..fields import Row
from ..moments import DAY, monday, next_month
from ..reports import PERIODS, Page, Query

__all__ = ["Fold", "finest"]

_Begin = dt.datetime | dt.date | None
"""Where a group's period begins: a bucket's start, or a day on the clocks of the query's zone."""


class Fold:
    """Adds up pages by `dimensions`; without any, everything is one group.

    Groups that include a period come in time order, all others largest first, by what the report
    says. Values that are of one spelling but not one thing are told apart: a person is not the API
    key of the same name.
    """

    def __init__(self, query: Query, dimensions: tuple[str, ...] = ()) -> None:
        query.check_fold(dimensions)
        self.query = query
        self.dimensions = dimensions
        self.groups: dict[tuple[Any, ...], list[Any]] = {}
        """(where a period begins, the values of the other dimensions) -> sums."""
        self._fields = fields = query.kind.fields
        self._time = {fields.clock, *PERIODS}.intersection(dimensions)
        plain = [name for name in dimensions if name not in self._time]
        apart = [fields.dimensions[name].apart for name in plain if name in fields.dimensions]
        self._by = tuple(dict.fromkeys([*plain, *filter(None, apart)]))
        self._add = fields.adder(self._by)
        self._period = finest(self._time)

    def add(self, page: Page[Any]) -> None:
        """Add one page."""
        period = self._period
        for span in self.query.spans(page):
            begin = None if period is None else period(span.start)
            self._fields.run(self._add, span, self.groups, begin)

    def add_row(self, row: Row, begin: _Begin) -> None:
        """Add a row of an earlier sum, whose period begins at `begin`."""
        add = self._fields.adder(self._by, of_rows=True)
        add((row,), None, None, self.groups, begin)

    def rows(self) -> list[Any]:
        """Return the groups as rows with the report's own field names."""
        nothing = {} if self.dimensions else {(None,): self._fields.zeros()}
        rows = [self._row(key, sums) for key, sums in (self.groups or nothing).items()]
        rows.sort(key=operator.attrgetter(self.query.kind.largest_by), reverse=True)
        if self._period:
            rows.sort(key=operator.attrgetter(self._fields.clock))
        return rows

    def _row(self, key: tuple[Any, ...], sums: list[Any]) -> Row:
        begin, *values = key
        time = self._fields.when(*self._span(begin), begin is not None)
        row: Row = self._fields.row_of(self._by, values, sums, **time)
        return row

    def _span(self, begin: _Begin) -> tuple[dt.datetime, dt.datetime]:
        """Return the part of a group's period that the report covers."""
        query = self.query
        first, last = query.starting_at, query.ending_at
        if begin is None:
            return first, last
        if isinstance(begin, dt.datetime):
            return begin, min(query.bucket_end(begin), last)
        if "day" in self._time:
            end = begin + DAY
        else:
            ends = []
            if "week" in self._time:
                ends.append(monday(begin) + 7 * DAY)
            if "month" in self._time:
                ends.append(next_month(begin.replace(day=1)))
            end = min(ends)
        return max(query.midnight(begin), first), min(query.midnight(end), last)


def finest(time: Iterable[str]) -> Callable[[dt.datetime], dt.datetime | dt.date] | None:
    """Return what maps a bucket's start to the start of its finest period asked for."""
    wanted = set(time)
    if wanted - set(PERIODS):
        return lambda moment: moment
    if "day" in wanted:
        return lambda moment: moment.date()
    if "week" in wanted and "month" in wanted:
        return lambda moment: max(monday(moment.date()), _first(moment))
    if "week" in wanted:
        return lambda moment: monday(moment.date())
    return _first if "month" in wanted else None


def _first(moment: dt.datetime) -> dt.date:
    return moment.date().replace(day=1)
