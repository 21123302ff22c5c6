"""One truth about days: what is billed, late and quiet, whenever and of whatever one asks."""

from __future__ import annotations

import datetime as dt

import pytest
from anthropic_usage import CostRow, InvalidQuery, Report, UsageClient
from anthropic_usage.analysis.days import Span, read_bill, uneven
from anthropic_usage.reports import COST
from anthropic_usage.simulator import Server, Simulator
from hypothesis import given
from hypothesis import strategies as st
from support import DAY, bucket, report_of, utc

LINE = {"currency": "USD", "amount": "100"}


class Billed:
    """A bill that has lines on the given days of November 2026, as read at a moment."""

    def __init__(self, days: set[int], now: dt.datetime) -> None:
        self.days, self.now = days, now

    def cost(self, starting_at: object, ending_at: object = None, **_: object) -> Report[CostRow]:
        query = COST.ask(starting_at, ending_at)  # type: ignore[arg-type]
        data = []
        day = query.starting_at
        while day < query.ending_at and day + DAY <= self.now:
            data.append(bucket(day, [LINE] if day.day in self.days else []))
            day += DAY
        return report_of(query, data, now=self.now)


@given(
    st.sets(st.integers(1, 30)),
    st.datetimes(dt.datetime(2026, 11, 2), dt.datetime(2026, 12, 5), timezones=st.just(dt.UTC)),
    st.integers(1, 29),
    st.integers(1, 30),
)
def test_every_settled_day_is_billed_or_late(
    billed: set[int], now: dt.datetime, first: int, length: int
) -> None:
    start = utc(2026, 11, first)
    end = min(start + length * DAY, utc(2026, 12, 1))
    bill = read_bill(Billed(billed, now), start, end)
    days = bill.days
    for day in Span(start, end).dates:
        closed = dt.datetime.combine(day + DAY, dt.time(), dt.UTC)
        settled = closed + DAY / 24 <= now
        behind = not any(
            day <= other.date() and other < end and other + DAY <= now
            for other in (utc(2026, 11, number) for number in billed)
        )
        late = settled and behind and closed > now - 2 * DAY
        assert (day in days.late) == late, day
        assert (day in days.billed.dates) == (settled and not late), day
    assert len(days.before) == len(days.billed)
    assert days.before.end == start
    assert {line.day for line in bill.lines} <= set(days.billed.dates)
    assert days.whole == (len(days.billed) == len(Span(start, end)))
    assert days.whole == (not days.sentences())


@pytest.mark.parametrize("hour", range(24))
def test_an_empty_day_is_late_for_two_days_and_then_quiet(hour: int) -> None:
    for day, until, late in ((18, 17, [17]), (19, 17, [17, 18]), (20, 18, [18, 19])):
        now = utc(2026, 11, day, hour, 30)
        days = read_bill(Billed(set(range(1, 17)), now), "2026-11-01", "2026-12-01").days
        settled = [number for number in late if number < day - (hour < 1)]
        assert days.billed_until == utc(2026, 11, until)
        assert [each.day for each in days.late] == settled
        for number in settled:
            assert f"2026-11-{number}" in days.sentences()[1]


def test_a_range_of_which_nothing_closed_has_no_billed_day(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    days = read_bill(client, "2026-11-20", "2026-11-25").days
    assert not len(days.billed)
    assert days.before == Span(utc(2026, 11, 20), utc(2026, 11, 20))
    assert "No day of this range has a bill yet" in days.sentences()[0]
    with pytest.raises(InvalidQuery, match=r"no day from 2026-11-20 .* closes at 2026-11-21T00"):
        days.require()


@pytest.mark.parametrize(
    ("start", "end", "settled", "says"),
    [
        ("2026-10-01", "2026-11-01", None, None),
        (
            "2026-10-01T00:00:00+02:00",
            "2026-11-01T00:00:00+01:00",
            None,
            "2026-09-30 and 2026-10-31",
        ),
        ("2026-10-01", "2026-11-01T10:00:00Z", utc(2026, 11, 1), None),
        (
            "2026-10-01",
            "2026-11-01T10:00:00Z",
            utc(2026, 11, 2),
            "all of 2026-11-01, though it ends",
        ),
        ("2026-10-01T10:00:00Z", "2026-10-01T12:00:00Z", None, "all of 2026-10-01, though it beg"),
    ],
)
def test_a_range_within_days_says_what_is_in_it(
    start: str, end: str, settled: dt.datetime | None, says: str | None
) -> None:
    said = uneven(start, end, settled)
    assert said is None if says is None else said is not None and says in said
