"""Cuts a query into windows that one page can hold, so that they can be fetched side by side."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import attrs

from .moments import DAY, ceil
from .query import Query

__all__ = ["Window", "halves", "windows"]


@attrs.frozen
class Window:
    """A span [starting_at, ending_at): 31 x 1d, 168 x 1h, 1440 x 1m, or one day of records."""

    starting_at: dt.datetime
    ending_at: dt.datetime


def windows(query: Query, now: dt.datetime) -> Iterator[Window]:
    """Yield the windows that tile the query's range exactly once, in time order.

    Nothing is asked for that lies more than a day ahead of `now`, which no clock is wrong by; the
    first window is always there, so that the API has the last word on a range in the future.
    """
    end = max(min(query.ending_at, ceil(now + DAY, query.width)), query.starting_at + query.width)
    start = query.starting_at
    while start < end:
        stop = start + min(query.window, end - start)
        yield Window(start, stop)
        start = stop


def halves(window: Window, width: dt.timedelta) -> list[Window]:
    """Return two windows of whole buckets that are the window; itself, if it is one bucket long."""
    middle = window.starting_at + (window.ending_at - window.starting_at) // width // 2 * width
    if middle == window.starting_at:
        return [window]
    return [Window(window.starting_at, middle), Window(middle, window.ending_at)]
