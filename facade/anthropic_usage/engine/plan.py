"""Cuts a query into windows that one page can hold, so that they can be fetched side by side."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from ..moments import DAY
from ..reports import Query, Window

__all__ = ["halves", "windows"]


def windows(query: Query, now: dt.datetime) -> Iterator[Window]:
    """Yield the windows that tile the query's range exactly once, in time order.

    A window that begins more than a day ahead of `now` is left out; the first is always there, so
    that the API has the last word on a range in the future. The last one says that it is: should
    the API's clock turn out to be ahead of `now`, there is more to ask for.
    """
    start, end = query.starting_at, query.ending_at
    while start < end:
        stop = start + min(query.window, end - start)
        last = stop >= min(end, now + DAY)
        yield Window(start, stop, last)
        if last:
            return
        start = stop


def halves(window: Window, width: dt.timedelta) -> list[Window]:
    """Return two windows of whole buckets that are the window; itself, if it is one bucket long."""
    middle = window.starting_at + (window.ending_at - window.starting_at) // width // 2 * width
    if middle == window.starting_at:
        return [window]
    return [
        Window(window.starting_at, middle),
        Window(middle, window.ending_at, window.last),
    ]
