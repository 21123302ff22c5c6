"""What a period will have cost when it ends.

Projections come from an exponential smoothing model with a weekly season (statsmodels' ETS), whose
simulated futures give the interval. Floats live in the model only: what was billed stays exact, and
a projection is rounded to the cent because it is no more exact than that.
"""

from __future__ import annotations

import datetime as dt
import math
import warnings
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import attrs

from ..errors import InvalidQuery
from ..moments import DAY, floor, next_month, utc_now
from ..money import ZERO, add, total
from ..sinks.columns import require
from .source import Source

__all__ = ["Forecast", "Projection", "forecast", "project"]

_WEEK = 7
_ENOUGH = 3 * _WEEK
"""Days that a weekly pattern needs to be told from noise."""
_HISTORY = 12 * _WEEK
_FUTURES = 2000
_SEED = 20_260_101
_CENT = Decimal("0.01")


@attrs.frozen(kw_only=True)
class Projection:
    """The rest of a period, in US dollars."""

    days: int
    """How many days are still without a bill."""
    low: Decimal
    middle: Decimal
    high: Decimal
    method: str
    """`weekly pattern`, `run rate` or `nothing left`."""
    note: str = ""


@attrs.frozen(kw_only=True)
class Forecast:
    """A period's bill so far and what it will be, in US dollars."""

    name: str
    id: str | None
    first_day: dt.date
    last_day: dt.date
    billed_until: dt.date
    """The first day without a bill."""
    billed: Decimal
    rest: Projection
    level: float
    """How often the truth lies between `low` and `high`, if the pattern holds."""
    history: tuple[tuple[dt.date, Decimal], ...]
    """The bills of the days before `billed_until`."""

    @property
    def low(self) -> Decimal:
        """The whole period at the least."""
        return add(self.billed, self.rest.low)

    @property
    def middle(self) -> Decimal:
        """The whole period, most likely."""
        return add(self.billed, self.rest.middle)

    @property
    def high(self) -> Decimal:
        """The whole period at the most."""
        return add(self.billed, self.rest.high)


def forecast(
    source: Source,
    *,
    month: str | None = None,
    by: str | None = None,
    level: float = 0.8,
    today: dt.date | None = None,
    since: dt.date | None = None,
) -> list[Forecast]:
    """Project the bill of a calendar month (`YYYY-MM`; this one, if left out) to its end.

    Returns the organisation's forecast first, then, with `by` (`workspace_id` or `model`), one for
    each group, largest first. Reads twelve weeks before the month too, but nothing before `since`.
    Raises InvalidQuery for a month that has not begun, MissingExtra without the extra `forecast`.
    """
    if by not in (None, "workspace_id", "model"):
        raise InvalidQuery(f"cannot forecast by {by!r}: choose workspace_id or model")
    if not 0.5 <= level < 1:
        raise InvalidQuery(f"level={level!r} must be from 0.5 up to and without 1")
    today = today or utc_now().date()
    first = _first_of(month, today)
    if first > today:
        raise InvalidQuery(f"{first:%Y-%m} has not begun")
    following = next_month(first)
    group_by = {"workspace_id": ("workspace_id",), "model": ("description",)}.get(by or "", ())
    start = first - _HISTORY * DAY
    if since is not None:
        start = min(first, max(start, since))
    report = source.cost(start, following, group_by=group_by)
    rows = report.by("day", *(() if by is None else (by,)))
    settled = report.settled_until or report.query.ending_at
    until = max(first, min(following, floor(settled, DAY).date()))
    series: dict[str | None, dict[dt.date, Decimal]] = {}
    everything: dict[dt.date, Decimal] = {}
    for row in rows:
        if row.day >= until:
            continue
        everything[row.day] = add(everything.get(row.day, ZERO), row.amount_usd)
        if by is not None:
            own = series.setdefault(getattr(row, by), {})
            own[row.day] = add(own.get(row.day, ZERO), row.amount_usd)
    made = [_forecast("everything", None, everything, first, following, until, level)]
    groups = [
        _forecast(str(key or "-"), key, days, first, following, until, level)
        for key, days in series.items()
    ]
    return made + sorted(groups, key=lambda group: (-group.middle, group.name))


def _first_of(month: str | None, today: dt.date) -> dt.date:
    if month is None:
        return today.replace(day=1)
    try:
        return dt.date.fromisoformat(f"{month}-01")
    except ValueError:
        raise InvalidQuery(f"month={month!r} is no month; give one like 2026-03") from None


def _forecast(
    name: str,
    id_: str | None,
    days: dict[dt.date, Decimal],
    first: dt.date,
    following: dt.date,
    until: dt.date,
    level: float,
) -> Forecast:
    history = _filled(days, until)
    return Forecast(
        name=name,
        id=id_,
        first_day=first,
        last_day=following - DAY,
        billed_until=until,
        billed=total(amount for day, amount in history if day >= first),
        rest=project([amount for _, amount in history], (following - until).days, level),
        level=level,
        history=tuple(history),
    )


def _filled(days: dict[dt.date, Decimal], until: dt.date) -> list[tuple[dt.date, Decimal]]:
    """Return every day from the first that cost anything up to `until`; a day unbilled is 0."""
    paid = [day for day, amount in days.items() if amount]
    if not paid:
        return []
    first = min(paid)
    every = (first + step * DAY for step in range((until - first).days))
    return [(day, days.get(day, ZERO)) for day in every]


def project(daily: Sequence[Decimal], days: int, level: float = 0.8) -> Projection:
    """Project daily amounts `days` further, and sum these up.

    With three weeks of history the weekly pattern is used; with less, the mean of what is there,
    without an interval, and the note says so.
    """
    if days <= 0:
        return Projection(days=0, low=ZERO, middle=ZERO, high=ZERO, method="nothing left")
    if not daily:
        note = "nothing was billed yet, so there is nothing to project from"
        return Projection(days=days, low=ZERO, middle=ZERO, high=ZERO, method="run rate", note=note)
    if len(daily) < _ENOUGH:
        rate = total(daily) / len(daily) * days
        amount = rate.quantize(_CENT, ROUND_HALF_EVEN)
        note = f"too little data for an interval: {len(daily)} days, {_ENOUGH} are needed"
        return Projection(
            days=days, low=amount, middle=amount, high=amount, method="run rate", note=note
        )
    low, middle, high = _weekly(daily, days, level)
    return Projection(days=days, low=low, middle=middle, high=high, method="weekly pattern")


def _weekly(daily: Sequence[Decimal], days: int, level: float) -> tuple[Decimal, ...]:
    """Return the quantiles of the sum of simulated futures."""
    numpy: Any = require("numpy", "forecast")
    ets: Any = require("statsmodels.tsa.exponential_smoothing.ets", "forecast")
    values = numpy.asarray([float(amount) for amount in daily])
    if float(values.std()) <= 1e-9 * max(1.0, float(values.mean())):
        amount = _cents(float(values.mean()) * days)
        return amount, amount, amount
    # Days of a business differ by factors rather than by dollars, where no day is free of cost.
    positive = bool((values > 0).all())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: the interval says how good the fit is
        model = ets.ETSModel(
            values,
            error="mul" if positive else "add",
            seasonal="mul" if positive else "add",
            seasonal_periods=_WEEK,
        )
        fitted = model.fit(disp=False)
        # The errors of the past, drawn anew: no shape of theirs has to be assumed.
        errors = numpy.random.default_rng(_SEED).choice(fitted.resid, size=(days, _FUTURES))
        paths = fitted.simulate(days, anchor="end", repetitions=_FUTURES, random_errors=errors)
    sums = numpy.clip(numpy.asarray(paths).reshape(days, -1), 0, None).sum(axis=0)
    sums = sums[numpy.isfinite(sums)]
    tail = (1 - level) / 2
    quantiles = numpy.quantile(sums, [tail, 0.5, 1 - tail])
    return tuple(_cents(float(value)) for value in quantiles)


def _cents(value: float) -> Decimal:
    if not math.isfinite(value):
        raise InvalidQuery("these amounts have no projection: they are too large for it")
    return Decimal(repr(value)).quantize(_CENT, ROUND_HALF_EVEN)
