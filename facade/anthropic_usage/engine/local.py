"""Usage by the days of a time zone: hours, or minutes, are read and added up as they stream past.

What is proven whole are the hours; a day is the exact sum of them, be it 23, 24 or 25 hours long.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, Generator
from typing import Any, Final

import attrs

from ..errors import InvalidQuery
from ..moments import DAY, Moment
from ..reports import Kind, Page, Part, Query
from ..reports.buckets import Bucket
from ..zones import Zone, ZoneName

__all__ = ["LocalQuery", "async_local_parts", "local_parts", "refuse_zone"]

_MOST_REQUESTS: Final = 100
"""Days that are put together from minutes take a request each."""


@attrs.frozen(kw_only=True)
class LocalQuery(Query):
    """A report by the days or hours of a time zone, on whose clocks its moments are."""

    zone: Zone
    source: Query
    """What is asked of the API."""

    @classmethod
    def ask(
        cls,
        kind: Kind[Any],
        timezone: ZoneName,
        starting_at: Moment,
        ending_at: Moment,
        *,
        bucket_width: str = "1d",
        limit: int | None = None,
        **more: Any,
    ) -> LocalQuery:
        """Check every argument and return the query; raises InvalidQuery.

        A naive moment is on the zone's clocks. The range is that of the whole local days, hours or
        minutes that it touches. `limit` is a page size of what is read.
        """
        zone = Zone.find(timezone)
        start = zone.parse(starting_at, "starting_at")
        end = zone.parse(ending_at, "ending_at")
        asked = kind.ask(start, end, bucket_width=bucket_width, **more)
        if bucket_width == "1d":
            first, last = zone.local(start).date(), zone.day_from(end)
            start, end = zone.midnight(first), zone.midnight(last)
            over = zone.last_midnight(last)
            unit = zone.unit(start, over)
        elif bucket_width == "1h":
            start, end = zone.hour(start)[0], _up(zone, end)
            over = end
            unit = zone.unit_of_hours(start, end)
        else:
            start, end = asked.starting_at, asked.ending_at
            over = end
            unit = asked.width
        if unit is None:
            raise InvalidQuery(
                f"{zone.key} was not whole minutes from UTC then, and the API has no seconds: its "
                "days cannot be put together; ask for UTC days"
            )
        width = next(name for name, width in kind.widths.items() if width.length == unit)
        source = kind.ask(start, over, bucket_width=width, limit=limit, **more)
        requests = -(-(source.ending_at - source.starting_at) // (unit * source.limit))
        if width == "1m" != bucket_width and requests > _MOST_REQUESTS:
            raise InvalidQuery(
                f"{zone.key} is not whole hours from UTC: its days are put together from minutes, "
                f"which takes {requests:,} requests for this range; ask for at most "
                f"{_MOST_REQUESTS} days at once, or for UTC days"
            )
        return cls(
            kind=kind,
            starting_at=zone.local(start),
            ending_at=zone.local(end),
            bucket_width=bucket_width,
            group_by=source.group_by,
            filters=source.filters,
            limit=source.limit,
            strict=source.strict,
            anthropic_version=source.anthropic_version,
            zone=zone,
            source=source,
        )

    def grouped(self, group_by: tuple[str, ...]) -> LocalQuery:
        source = self.source.grouped(group_by)
        return attrs.evolve(self, group_by=group_by, source=source)

    @property
    def timezone(self) -> str:
        return self.zone.key

    def local(self, moment: dt.datetime) -> dt.datetime:
        return self.zone.local(moment)

    def midnight(self, day: dt.date) -> dt.datetime:
        return self.zone.midnight(day)

    def bucket_end(self, starting_at: dt.datetime) -> dt.datetime:
        if self.bucket_width == "1d":
            return self.zone.midnight(starting_at.date() + DAY)
        if self.bucket_width == "1h":
            return self.zone.local(self.zone.hour(starting_at.astimezone(dt.UTC))[1])
        return self.zone.local(starting_at + self.width)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "timezone": self.timezone}


def refuse_zone(
    timezone: ZoneName | None, starting_at: Moment, ending_at: Moment, why: str
) -> None:
    """Raise InvalidQuery if a report of UTC days is asked for days that begin at other times.

    `why` says what the report has.
    """
    if timezone is None:
        return
    zone = Zone.find(timezone)
    start, end = zone.parse(starting_at, "starting_at"), zone.parse(ending_at, "ending_at")
    if start < end and zone.unit(zone.midnight(zone.local(start).date()), end) == DAY:
        return
    raise InvalidQuery(
        f"{why}: they cannot be put together to days of {zone.key}; leave out the time zone"
    )


def _up(zone: Zone, moment: dt.datetime) -> dt.datetime:
    """Return the first start of a local hour at a moment or after it."""
    start, end = zone.hour(moment)
    return moment if start == moment else end


class _Days:
    """Adds up buckets to those of a time zone, in the memory of two days' groups."""

    def __init__(self, query: LocalQuery) -> None:
        self.query = query
        fields = query.kind.fields
        self._add = fields.adder(tuple(fields.dimensions))
        self._as_read = query.source.bucket_width == query.bucket_width
        self._days = query.bucket_width == "1d"
        self._first = query.starting_at.date()
        self._last = query.zone.day_from(query.ending_at)
        self._open: dict[Any, tuple[dt.datetime, dict[Any, list[Any]]]] = {}

    def add(self, page: Page[Any]) -> list[Bucket]:
        """Add one page; returns the buckets that nothing more can come to."""
        query, source = self.query, self.query.source
        spans = source.spans(page)
        if self._as_read:
            return [Bucket(query.local(s.start), query.local(s.end), s.results) for s in spans]
        done = []
        for span in spans:
            local = query.local(span.start)
            key: Any = local.date() if self._days else query.zone.hour(span.start)[0]
            if self._days and not self._first <= key < self._last:
                continue
            if key not in self._open:
                done += self._close(key)
                self._open[key] = (local, {})
            source.kind.fields.run(self._add, span, self._open[key][1], None)
        return done

    def finish(self) -> list[Bucket]:
        """Return what is left."""
        return self._close(None)

    def _close(self, key: Any) -> list[Bucket]:
        """Take out the buckets that lie so far before `key` that clocks put back do not reach them.

        Where clocks go back from just behind midnight, a day goes on after the next has begun.
        """
        before = key - DAY if key is not None and self._days else key
        done = [old for old in self._open if before is None or old < before]
        return [self._bucket(old, *self._open.pop(old)) for old in done]

    def _bucket(self, key: Any, start: dt.datetime, groups: dict[Any, list[Any]]) -> Bucket:
        begin = self.query.midnight(key) if self._days else start
        answer_of = self.query.kind.fields.answer_of
        results = [answer_of(values, sums) for (_, *values), sums in groups.items()]
        return Bucket(begin, self.query.bucket_end(begin), results)


class _Parts:
    """Takes the parts of a report and gives them with local buckets, one part behind.

    They have no bytes of their own, since the API sent none such.
    """

    def __init__(self, query: LocalQuery) -> None:
        self._days = _Days(query)
        self._last: Part | None = None

    def take(self, part: Part) -> list[Part]:
        """Take a part; returns the one before it, if there was one."""
        before, self._last = self._last, _with(part, self._days.add(part.page))
        return [] if before is None else [before]

    def finish(self) -> list[Part]:
        """Return the last part, with what was still open."""
        if self._last is None:
            return []
        return [_with(self._last, [*self._last.page.data, *self._days.finish()])]


def local_parts(query: LocalQuery, parts: Generator[Part]) -> Generator[Part]:
    """Yield the parts of a report with its buckets added up to local ones."""
    made = _Parts(query)
    with contextlib.closing(parts):
        for part in parts:
            yield from made.take(part)
            del part
    yield from made.finish()


async def async_local_parts(query: LocalQuery, parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """See `local_parts`."""
    made = _Parts(query)
    async with contextlib.aclosing(parts):
        async for part in parts:
            for ready in made.take(part):
                yield ready
            del part
    for ready in made.finish():
        yield ready


def _with(part: Part, buckets: list[Bucket]) -> Part:
    return attrs.evolve(part, page=Page(buckets, has_more=False, next_page=None), body=b"")
