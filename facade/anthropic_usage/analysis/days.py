"""Which days an answer speaks of: the one place that says what is closed, settled, late and billed.

A UTC day is *closed* when it is over, and *settled* an hour later, when its use is whole. A settled
day whose bill is empty, behind the last that has one, is *late* for two days after it closed: its
bill is still expected. After that it is a *quiet* day, billed at nothing. *Billed* days are the
settled ones that are not late. All of it goes by the time at which the API answered.

Every answer about money takes all of its parts, dollars, tokens, cache rates, Claude Code, over the
same span of billed days, and compares it with the span of as many days right before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Protocol

import attrs

from ..engine.report import Report
from ..errors import InvalidQuery
from ..moments import DAY, Moment, floor, parse_moment, rfc3339, utc_now
from ..reports import CostRow
from ..reports.dimensions import CostDimensions

__all__ = ["LATE", "Bill", "Days", "Span", "read_bill", "uneven"]

LATE = 2 * DAY
"""For so long after it closed a day without a bill may still get one."""


class _Billed(Protocol):
    """Whatever has a bill; a `Source` has."""

    def cost(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        group_by: CostDimensions = (),
    ) -> Report[CostRow]:
        """Return what was billed in a range."""


@attrs.frozen
class Span:
    """Whole UTC days, from `start` up to and without `end`."""

    start: dt.datetime
    end: dt.datetime

    def __contains__(self, moment: dt.datetime | None) -> bool:
        return moment is not None and self.start <= moment < self.end

    def __len__(self) -> int:
        return max(0, (self.end - self.start) // DAY)

    @property
    def dates(self) -> tuple[dt.date, ...]:
        """Every day."""
        return tuple((self.start + step * DAY).date() for step in range(len(self)))


@attrs.frozen(kw_only=True)
class Days:
    """What is known of the days of a range, from `starting_at` up to and without `ending_at`."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    """Midnights: a range that was asked for within days is that of the days it touches."""
    settled_until: dt.datetime
    """The end of the last settled day, or `starting_at`."""
    billed_until: dt.datetime
    """The end of the last billed day, or `starting_at`."""

    @property
    def billed(self) -> Span:
        """The days that have their bill; every answer about money is over these."""
        return Span(self.starting_at, self.billed_until)

    @property
    def before(self) -> Span:
        """As many days right before the range as are billed of it: what to compare with."""
        return Span(self.starting_at - (self.billed_until - self.starting_at), self.starting_at)

    @property
    def late(self) -> tuple[dt.date, ...]:
        """Settled days whose bill is still expected."""
        return Span(self.billed_until, self.settled_until).dates

    @property
    def whole(self) -> bool:
        """Whether every day of the range is billed."""
        return self.billed_until >= self.ending_at

    def sentences(self) -> list[str]:
        """Say which days of the range have no bill yet; nothing if all have one."""
        if self.whole:
            return []
        if not len(self.billed):
            said = [
                "No day of this range has a bill yet: the cost report holds completed UTC days "
                "only."
            ]
        else:
            said = [
                f"The bill reaches up to {self.billed_until - DAY:%Y-%m-%d}: "
                f"{len(self.billed)} of the {len(Span(self.starting_at, self.ending_at))} days of "
                "this range; later days have none yet."
            ]
        if self.late:
            which = " and ".join(map(str, self.late))
            said.append(f"The bill of {which} is late: it is empty, and can still come.")
        return said

    def require(self) -> Days:
        """Return the days; raises InvalidQuery if none is billed."""
        if not len(self.billed):
            first = self.late[0] if self.late else None
            why = (
                f"the bill of {first} is empty, and can still come"
                if first
                else "the cost report holds UTC days that have closed; the first closes at "
                f"{rfc3339(self.starting_at + DAY)}"
            )
            raise InvalidQuery(
                f"no day from {self.starting_at:%Y-%m-%d} on has a bill yet: {why}; start earlier, "
                "or ask for usage"
            )
        return self


@attrs.frozen(kw_only=True)
class Bill:
    """The bill of a range: the lines of its billed days, summed up by day and more."""

    days: Days
    lines: Sequence[CostRow]

    def within(self, span: Span) -> list[CostRow]:
        """Return the lines of a span."""
        return [line for line in self.lines if line.starting_at in span]


def read_bill(
    source: _Billed,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    by: Iterable[str] | None = (),
    group_by: CostDimensions = ("workspace_id", "description"),
) -> Bill:
    """Read the bill of a range once, summed up by day and `by`, and tell its days apart.

    With `by=None` every line stays as it is.
    Lines of days that are not billed yet are left out. A range of which no day has closed has no
    line and no billed day; `days.require()` makes that an error. Raises what reading a report does.
    """
    report = source.cost(starting_at, ending_at, group_by=group_by)
    query = report.query
    try:
        lines: Sequence[CostRow] = list(report) if by is None else report.by("day", *by)
    except InvalidQuery:
        # The question itself was checked when it was put: no day of the range has closed.
        none = Days(
            starting_at=query.starting_at,
            ending_at=query.ending_at,
            settled_until=query.starting_at,
            billed_until=query.starting_at,
        )
        return Bill(days=none, lines=())
    start, end = query.starting_at, query.ending_at
    settled = max(start, min(end, floor(report.settled_until or end, DAY)))
    last = max((line.starting_at for line in lines), default=start - DAY)
    overdue = floor((report.read_at or utc_now()) - LATE, DAY)
    billed = max(start, min(settled, max(last + DAY, overdue)))
    days = Days(starting_at=start, ending_at=end, settled_until=settled, billed_until=billed)
    return Bill(days=days, lines=[line for line in lines if line.starting_at in days.billed])


def uneven(
    starting_at: Moment, ending_at: Moment | None, settled_until: dt.datetime | None = None
) -> str | None:
    """Say which days a bill has in whole that a range touches in part; None if there are none.

    A last day that has not settled is no such day: of that there is no bill. Nor is there one if
    the range has no end but the present.
    """
    start = parse_moment(starting_at, "starting_at")
    end = floor(start, DAY) if ending_at is None else parse_moment(ending_at, "ending_at")
    parts = []
    if (first := floor(start, DAY)) != start:
        parts.append((first, f"it begins at {rfc3339(start)}"))
    if (last := floor(end, DAY)) != end and (settled_until is None or last + DAY <= settled_until):
        parts.append((last, f"it ends at {rfc3339(end)}"))
    if not parts:
        return None
    days = " and ".join(dict.fromkeys(f"{day:%Y-%m-%d}" for day, _ in parts))
    return (
        f"The bill has whole UTC days, so this range has all of {days}, "
        f"though {' and '.join(why for _, why in parts)}."
    )
