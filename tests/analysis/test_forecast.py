"""A month's end is projected from what was billed, and says how far it can be trusted."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from anthropic_usage import InvalidQuery, UsageClient
from anthropic_usage.analysis.forecast import forecast, project
from anthropic_usage.simulator import Server, Simulator

TODAY = dt.date(2026, 11, 20)
WEEK = [Decimal(n) for n in (100, 110, 120, 115, 105, 40, 30)]


def test_a_month_to_its_end(client: UsageClient, served: tuple[Simulator, Server]) -> None:
    (result,) = forecast(client, today=TODAY)
    start, until = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (1, 20))
    assert result.billed == served[0].ledger.cost(start, until)[()] / 100
    assert (result.billed_until, result.rest.days) == (until.date(), 11)
    assert result.rest.method == "weekly pattern"
    assert result.billed < result.low < result.middle < result.high
    # Eleven days of much the same: between half and twice the mean of the month so far.
    mean = result.billed / 19 * 11
    assert mean / 2 < result.rest.middle < mean * 2


def test_it_says_the_same_each_time(client: UsageClient) -> None:
    assert forecast(client, today=TODAY) == forecast(client, today=TODAY)


@pytest.mark.parametrize("by", ["workspace_id", "model"])
def test_groups_add_up_to_what_was_billed(client: UsageClient, by: str) -> None:
    everything, *groups = forecast(client, by=by, today=TODAY)
    assert sum(group.billed for group in groups) == everything.billed
    assert [group.middle for group in groups] == sorted(
        (group.middle for group in groups), reverse=True
    )


def test_a_month_that_is_over_is_its_bill(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    (result,) = forecast(client, month="2026-10", today=TODAY)
    start, end = dt.datetime(2026, 10, 1, tzinfo=dt.UTC), dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    assert result.low == result.high == served[0].ledger.cost(start, end)[()] / 100
    assert result.rest.method == "nothing left"


def test_past_months_come_true_as_often_as_the_interval_says() -> None:
    """A backtest: the truth is in most of the intervals, and near the middle."""
    hits, errors = 0, []
    now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
    months = [(seed, month) for seed in (1, 4, 5, 7) for month in (7, 8, 10)]
    for seed, month in months:
        simulator = Simulator(seed=seed, size=0.5, now=now)
        first = dt.date(2026, month, 1)
        start, end = (dt.datetime(2026, m, 1, tzinfo=dt.UTC) for m in (month, month + 1))
        truth = simulator.ledger.cost(start, end)[()] / 100
        cut = first.replace(day=12)
        simulator.now = dt.datetime.combine(cut, dt.time(12), dt.UTC)
        with (
            simulator.serve() as server,
            UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client,
        ):
            (result,) = forecast(client, month=f"2026-{month:02}", today=cut)
        hits += result.low <= truth <= result.high
        errors.append(abs(float(result.middle / truth - 1)))
    assert hits >= len(months) * 0.6
    assert sum(errors) / len(errors) < 0.12


def test_weekdays_matter() -> None:
    weekend_next = project(WEEK * 4 + WEEK[:5], 2)
    weekdays_next = project(WEEK * 4, 2)
    assert weekend_next.high < weekdays_next.low


def test_too_little_data_says_so() -> None:
    few = project([Decimal("1.10"), Decimal("1.30")], 10)
    assert (few.low, few.middle, few.high) == (12, 12, 12)
    assert few.method == "run rate"
    assert "21 are needed" in few.note
    none = project([], 3)
    assert none.middle == 0
    assert "nothing was billed yet" in none.note


@pytest.mark.parametrize("amount", [Decimal(0), Decimal("3.3")])
def test_a_flat_series_has_no_doubt(amount: Decimal) -> None:
    flat = project([amount] * 40, 10)
    assert flat.low == flat.high == 10 * amount


def test_a_series_with_gaps_stays_above_zero() -> None:
    gaps = project([Decimal(n % 3 * 7) for n in range(60)], 5)
    assert 0 <= gaps.low <= gaps.middle <= gaps.high


@pytest.mark.parametrize(
    "question", [{"month": "2026-13"}, {"month": "soon"}, {"by": "colour"}, {"level": 1.0}]
)
def test_wrong_questions(client: UsageClient, question: dict[str, object]) -> None:
    with pytest.raises(InvalidQuery):
        forecast(client, today=TODAY, **question)  # type: ignore[arg-type]


def test_a_month_to_come_is_refused(client: UsageClient) -> None:
    with pytest.raises(InvalidQuery, match="has not begun"):
        forecast(client, month="2027-01", today=TODAY)
