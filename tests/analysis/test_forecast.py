"""A month's end is projected from what was billed, and says how far it can be trusted."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

import backtest
import pytest
from anthropic_usage import CostRow, InvalidQuery, Report, UsageClient
from anthropic_usage.analysis.forecast import forecast, project
from anthropic_usage.reports import COST
from anthropic_usage.simulator import Server, Simulator
from support import bucket, report_of

TODAY = dt.date(2026, 11, 20)
WEEK = [Decimal(n) for n in (100, 110, 120, 115, 105, 40, 30)]


def test_a_month_to_its_end(client: UsageClient, served: tuple[Simulator, Server]) -> None:
    (result,) = forecast(client, today=TODAY)
    start, until = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (1, 20))
    assert result.billed == served[0].ledger.cost(start, until)[()] / 100
    assert (result.billed_until, result.rest.days) == (until.date(), 11)
    assert result.rest.method == "blend of weekday means and damped trend"
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
    assert sum(group.middle for group in groups) == everything.middle
    assert [everything] == forecast(client, today=TODAY)
    assert all(group.low <= group.middle <= group.high for group in groups)
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


def test_weekdays_matter() -> None:
    weekend_next = project(WEEK * 4 + WEEK[:5], 2)
    weekdays_next = project(WEEK * 4, 2)
    assert weekend_next.high < weekdays_next.low


@pytest.mark.parametrize("known", range(7))
def test_too_little_history_is_no_number(known: int) -> None:
    few = project([Decimal("1.10")] * known, 10)
    assert (few.low, few.middle, few.high) == (None, None, None)
    assert few.method == "too little history"
    assert few.note.startswith("too little history")
    assert project([Decimal("1.10")] * 7, 10).middle == 11


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


def amounts(daily: list[float]) -> list[Decimal]:
    return [Decimal(str(round(amount, 2))) for amount in daily]


def noisy(level: float, days: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [level * rng.lognormvariate(0, 0.12) for _ in range(days)]


def test_a_backtest_keeps_its_bounds() -> None:
    """Months of every kind and real ones: figures that the README of the analyses shows."""
    methods = {name: backtest.METHODS[name] for name in ("project", "weekdays")}
    outcomes = backtest.run(8, 20_000, methods)
    assert list(backtest.failures(outcomes, list(methods))) == []
    figures = backtest.summary(outcomes, "project")
    assert figures is not None
    assert figures["median"] < 6.7
    assert figures["mean"] < 13.2
    assert 76 <= figures["coverage"] <= 84


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("since", [7, 10, 14, 28])
@pytest.mark.parametrize(("before", "after"), [(5, 400), (100, 250), (400, 150), (0.5, 30)])
def test_a_new_level_is_the_level_from_its_second_week(
    before: float, after: float, since: int, seed: int
) -> None:
    daily = noisy(before, 56, seed) + noisy(after, since, seed + 50)
    made = project(amounts(daily), 16)
    assert made.low is not None
    assert made.middle is not None
    assert made.high is not None
    assert after * 16 / 1.3 < made.middle < after * 16 * 1.3
    assert made.high < after * 16 * 2


def test_a_launch_without_noise() -> None:
    made = project([Decimal(5)] * 56 + [Decimal(400)] * 28, 6)
    assert made.middle == 2400


@pytest.mark.parametrize("quiet", [14, 24, 55])
def test_what_has_stopped_costs_nothing_more(quiet: int) -> None:
    made = project(amounts(noisy(100, 84 - quiet) + [0.0] * quiet), 6)
    assert (made.low, made.middle, made.method) == (0, 0, "stopped")
    assert made.high is not None
    assert made.high < 200


@pytest.mark.parametrize("ago", [0, 1, 6, 20])
@pytest.mark.parametrize("size", [-8.0, 5.0, 10.0, 100.0])
@pytest.mark.parametrize("history", [12, 30, 84])
def test_one_odd_day_does_not_bend_the_month(size: float, ago: int, history: int) -> None:
    daily = noisy(100, history)
    if ago < history:
        daily[-1 - ago] += size * 100
    made = project(amounts(daily), 20)
    assert made.middle is not None
    assert 1800 < made.middle < 2250


def test_peaks_at_the_ends_of_months_come_again_there() -> None:
    days = [dt.date(2026, 8, 1) + step * dt.timedelta(1) for step in range(122)]
    daily = [40.0 if (day + dt.timedelta(2)).day <= 2 else 10.0 for day in days]
    made = project(amounts(daily[:106]), 16, until=days[106])
    assert made.middle == pytest.approx(sum(daily[106:]), rel=0.03)


class Billed:
    """A bill of workspaces, each a list of dollars a day up to and with 20 November 2026."""

    def __init__(self, **workspaces: list[float]) -> None:
        self.workspaces = workspaces

    def cost(self, starting_at: object, ending_at: object = None, **_: object) -> Report[CostRow]:
        now = dt.datetime(2026, 11, 21, 6, tzinfo=dt.UTC)
        query = COST.ask(starting_at, ending_at, group_by="workspace_id")  # type: ignore[arg-type]
        data = []
        day = query.starting_at
        while day < min(query.ending_at, now.replace(hour=0)):
            ago = (now - day).days
            lines = [
                {"currency": "USD", "amount": f"{100 * daily[-ago]:.6f}", "workspace_id": name}
                for name, daily in self.workspaces.items()
                if ago <= len(daily) and daily[-ago]
            ]
            data.append(bucket(day, lines))
            day += dt.timedelta(1)
        return report_of(query, data, now=now)


@pytest.mark.parametrize(
    "workspaces",
    [
        {"a": noisy(100, 80, 1), "b": noisy(5, 80, 2)},
        {"a": noisy(100, 80, 1), "gone": noisy(50, 30, 2) + [0.0] * 50},
        {"a": noisy(100, 80, 1), "young": noisy(30, 3, 2)},
        {"a": noisy(100, 80, 1), "credit": [-800.0, *[0.0] * 25]},
        {"a": [3.0] * 80, "b": [2.0] * 80},
        {"a": noisy(100, 5, 1)},
    ],
)
def test_groups_add_up_whatever_they_do(workspaces: dict[str, list[float]]) -> None:
    today = dt.date(2026, 11, 21)
    whole, *groups = forecast(Billed(**workspaces), by="workspace_id", today=today)  # type: ignore[arg-type]
    made = {group.id: group for group in groups}
    if whole.middle is None:
        assert made["a"].middle is None
        return
    assert sum(group.middle or 0 for group in groups) == whole.middle
    for name in ("gone", "credit"):
        if name in made:
            assert made[name].rest.middle == 0
    if "young" in made:
        assert "too little history" in made["young"].rest.note
        assert made["young"].rest.low == 0


def test_a_bill_of_zeros_is_known_to_be_zero() -> None:
    (whole,) = forecast(Billed(a=[]), today=dt.date(2026, 11, 21))  # type: ignore[arg-type]
    assert (whole.low, whole.middle, whole.high) == (0, 0, 0)


@pytest.mark.parametrize("month", ["2024-02", "2025-02", "2026-02", "2026-01", "2025-12"])
def test_months_of_every_length(client: UsageClient, month: str) -> None:
    first = dt.date.fromisoformat(f"{month}-01")
    (result,) = forecast(Billed(a=noisy(10, 1200)), month=month, today=dt.date(2026, 11, 21))  # type: ignore[arg-type]
    assert (result.first_day, result.rest.days) == (first, 0)
    assert (result.last_day + dt.timedelta(1)).day == 1
    assert (result.last_day - first).days + 1 == {2: 28 + (first.year == 2024)}.get(first.month, 31)
    assert result.low == result.middle == result.high
