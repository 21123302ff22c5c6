"""What reports in buckets share: oldest first, the empty ones too, so that a hole shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from ..fields import Row, Span, Time
from ..moments import floor, in_utc, monday
from .kind import SETTLING, Kind, Page, Proof, When, Window, decoded, hole, said
from .query import Query

__all__ = ["Bucket", "BucketProof", "Bucketed", "Buckets"]

R = TypeVar("R", bound=Row)


class Bucketed(Row, frozen=True, gc=False, kw_only=True):
    """A row about one time bucket, or, when summed, about one group over the report's range."""

    starting_at: Annotated[
        dt.datetime, Time("the bucket's start, UTC", of=lambda start, end: start)
    ]
    ending_at: Annotated[dt.datetime, Time("its end, exclusive", of=lambda start, end: end)]

    @property
    def day(self) -> dt.date:
        """The UTC day that the row starts on."""
        return self.starting_at.date()

    @property
    def week(self) -> dt.date:
        """The Monday of the ISO week that the row starts in."""
        return monday(self.day)

    @property
    def month(self) -> str:
        """The calendar month that the row starts in, as `YYYY-MM`."""
        return f"{self.starting_at:%Y-%m}"


class Bucket(msgspec.Struct, gc=False):
    """One interval of a report; the results that the API sent stay bytes until their turn comes.

    So a page of tens of thousands costs no more memory than its JSON, and each bucket's objects are
    used while they are still in the processor's cache.
    """

    starting_at: When
    ending_at: When
    results: Any


class _Sent(Bucket, gc=False):
    results: msgspec.Raw


def _as_it_is(moment: dt.datetime) -> dt.datetime:
    return moment


class Buckets(Kind[R]):
    """A report in buckets."""

    _decoder = msgspec.json.Decoder(Page[_Sent])

    def decode(self, body: bytes) -> Page[Any]:
        return decoded(self._decoder, body, self.name)

    def spans(self, query: Query, page: Page[Any]) -> Iterator[Span]:
        fit = query.fit
        # Buckets of a time zone's days are on its clocks already.
        clock = in_utc if query.timezone is None else _as_it_is
        for bucket in page.data:
            yield Span(clock(bucket.starting_at), clock(bucket.ending_at), bucket.results, fit)

    def proof(self, query: Query, window: Window) -> Proof:
        return BucketProof(query, window)


class BucketProof(Proof):
    """Buckets must tile the window: once each, in order, without a hole."""

    def take(self, page: Page[Any], body: bytes) -> None:
        width = self.query.width
        for bucket in page.data:
            start, end = bucket.starting_at, bucket.ending_at
            if start < self.last:
                raise self.broken(f"bucket {said(start)} came twice or out of order")
            if end - start != width:
                raise self.broken(f"bucket {said(start)} to {said(end)} is not {width} long")
            if end > self.window.ending_at:
                raise self.broken(f"bucket {said(start)} lies outside the range asked for")
            if start > self.last:
                hole(self.query, self.last, start)
            self.last = in_utc(end)

    def finish(self, now: dt.datetime, here: dt.datetime | None) -> None:
        """Take the window as ended; buckets at its end may be missing only while they are new."""
        end, width = self.window.ending_at, self.query.width
        if here is not None and self.last < end and self.last + width <= here - SETTLING:
            raise self.broken(
                f"nothing from {said(self.last)} on, in an answer dated {said(now)}, long before "
                f"this machine's time, {said(here)}: either a cache answered, or a clock is wrong"
            )
        if self.last < end and self.last + width <= now - SETTLING:
            until = min(end, floor(now - SETTLING, width))
            hole(self.query, self.last, until)
            self.last = in_utc(until)
