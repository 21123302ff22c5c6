"""What a period will have cost when it ends.

`projection` says how the days to come are estimated. What was billed stays exact; a projection is
rounded to the cent because it is no more exact than that.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from ..errors import InvalidQuery
from ..moments import DAY, next_month, utc_now
from ..money import ZERO, add, quantize, subtract, total
from ..reports.dimensions import CostDimensions
from .days import read_bill
from .projection import LEAST_DAYS, STOPPED_DAYS, estimate
from .source import Source

__all__ = ["BACKTEST", "Forecast", "Projection", "forecast", "project"]

BACKTEST = "the 80% interval held 82% of 1,293 forecasts in the backtest of 2026-11-25"
"""What `make backtest` found, in a line."""

_HISTORY = 84
_BLEND = "blend of weekday means and damped trend"
_NOTHING_LEFT, _STOPPED, _TOO_LITTLE = "nothing left", "stopped", "too little history"
_REMAINDER = "what the others leave of the whole"


@attrs.frozen(kw_only=True)
class Projection:
    """The rest of a period, in US dollars; None where there is too little history to say."""

    days: int
    """How many days are still without a bill."""
    low: Decimal | None
    middle: Decimal | None
    high: Decimal | None
    method: str
    """`blend of weekday means and damped trend`, `stopped`, `too little history`, `what the others
    leave of the whole` or `nothing left`."""
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a projection."""
        return self.middle is not None


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
    """How often the truth should lie between `low` and `high`."""
    history: tuple[tuple[dt.date, Decimal], ...]
    """The bills of the days before `billed_until`."""

    @property
    def low(self) -> Decimal | None:
        """The whole period at the least; None if there is too little history."""
        return None if self.rest.low is None else add(self.billed, self.rest.low)

    @property
    def middle(self) -> Decimal | None:
        """The whole period, most likely; None if there is too little history."""
        return None if self.rest.middle is None else add(self.billed, self.rest.middle)

    @property
    def high(self) -> Decimal | None:
        """The whole period at the most; None if there is too little history."""
        return None if self.rest.high is None else add(self.billed, self.rest.high)


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
    each group, largest first; their middles add up to the organisation's. Reads twelve weeks before
    the month too, but nothing before `since`. Raises InvalidQuery for a month that has not begun.
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
    finer: dict[str | None, CostDimensions] = {
        "workspace_id": "workspace_id",
        "model": "description",
    }
    start = first - _HISTORY * DAY
    if since is not None:
        start = min(first, max(start, since))
    bill = read_bill(
        source, start, following, by=() if by is None else (by,), group_by=finer.get(by, ())
    )
    # A caller's `today` may lie before the source's: what came later was not known then.
    until = max(first, min(following, today, bill.days.billed_until.date()))
    series: dict[str | None, dict[dt.date, Decimal]] = {}
    everything: dict[dt.date, Decimal] = {}
    for row in bill.lines:
        if row.day >= until:
            continue
        everything[row.day] = add(everything.get(row.day, ZERO), row.amount_usd)
        if by is not None:
            own = series.setdefault(getattr(row, by), {})
            own[row.day] = add(own.get(row.day, ZERO), row.amount_usd)

    def made(name: str, key: str | None, days: Mapping[dt.date, Decimal]) -> Forecast:
        history = _filled(days, start, until)
        return Forecast(
            name=name,
            id=key,
            first_day=first,
            last_day=following - DAY,
            billed_until=until,
            billed=total(amount for day, amount in history if day >= first),
            rest=project(
                [amount for _, amount in history], (following - until).days, level, until=until
            ),
            level=level,
            history=tuple(history),
        )

    whole = made("everything", None, everything)
    groups = _reconciled(whole, [made(str(key or "-"), key, own) for key, own in series.items()])
    groups.sort(
        key=lambda group: (-(group.billed if group.middle is None else group.middle), group.name)
    )
    return [whole, *groups]


def _first_of(month: str | None, today: dt.date) -> dt.date:
    if month is None:
        return today.replace(day=1)
    try:
        return dt.date.fromisoformat(f"{month}-01")
    except ValueError:
        raise InvalidQuery(f"month={month!r} is no month; give one like 2026-03") from None


def _filled(
    days: Mapping[dt.date, Decimal], start: dt.date, until: dt.date
) -> list[tuple[dt.date, Decimal]]:
    """Return every day from the first that cost anything up to `until`; a day unbilled is 0.

    If none did, every day that was read is a known zero.
    """
    first = min((day for day, amount in days.items() if amount), default=start)
    every = (first + step * DAY for step in range((until - first).days))
    return [(day, days.get(day, ZERO)) for day in every]


def project(
    daily: Sequence[Decimal], days: int, level: float = 0.8, *, until: dt.date | None = None
) -> Projection:
    """Project daily amounts `days` further, and sum these up.

    `until` is the first of the days to come: with it, peaks at the ends of months are known for
    what they are. With less than a week of history there is no projection: its amounts are None.
    After two weeks of nothing a thing has stopped, and is projected at 0.
    """
    if days <= 0:
        return Projection(days=0, low=ZERO, middle=ZERO, high=ZERO, method=_NOTHING_LEFT)
    made = estimate([float(amount) for amount in daily], days, level, until)
    if made is None:
        billed = f"{len(daily)} {'day' if len(daily) == 1 else 'days'} billed"
        note = f"too little history: {billed}, {LEAST_DAYS} are needed for a projection"
        return Projection(
            days=days, low=None, middle=None, high=None, method=_TOO_LITTLE, note=note
        )
    stopped = not any(daily[-STOPPED_DAYS:])
    low, middle, high = map(_cents, (made.low, made.middle, made.high))
    return Projection(
        days=days, low=low, middle=middle, high=high, method=_STOPPED if stopped else _BLEND
    )


def _cents(value: float) -> Decimal:
    if not math.isfinite(value):
        raise InvalidQuery("these amounts have no projection: they are too large for it")
    return quantize(Decimal(repr(value)), 2)


def _reconciled(whole: Forecast, groups: Sequence[Forecast]) -> list[Forecast]:
    """Move the groups' projections so that they add up to the whole's, the least sure ones most.

    This is the weighted least squares of hierarchical forecasting (MinT with a diagonal of squared
    half widths) with the whole held fast, so that it is the same with and without groups. What is
    too young for a projection of its own gets what the others leave.
    """
    if whole.rest.middle is None or not whole.rest.days or not groups:
        return list(groups)
    rests = [_start(group, whole.rest) for group in groups]
    middles = [rest.middle or ZERO for rest in rests]
    weights = [_doubt(rest) for rest in rests]
    if not any(weights):
        weights = [abs(float(middle)) for middle in middles]
    if not any(weights):
        weights = [1.0] * len(rests)
    floors = [
        middle >= 0 and _never_negative(group)
        for group, middle in zip(groups, middles, strict=True)
    ]
    moved = _moved(middles, weights, floors, whole.rest.middle)
    return [
        attrs.evolve(group, rest=_shifted(rest, middle, floor))
        for group, rest, middle, floor in zip(groups, rests, moved, floors, strict=True)
    ]


def _doubt(rest: Projection) -> float:
    """Return the weight with which a projection gives way; what has stopped does not."""
    if rest.method == _STOPPED or rest.high is None or rest.low is None:
        return 0.0
    return float(subtract(rest.high, rest.low)) ** 2


def _never_negative(group: Forecast) -> bool:
    return all(amount >= 0 for _, amount in group.history)


def _start(group: Forecast, whole: Projection) -> Projection:
    """Return a group's own projection, or what its few days come to, with all doubt."""
    if group.rest.known:
        return group.rest
    days = [float(amount) for _, amount in group.history]
    rate = _cents(max(0.0, sum(days) / max(len(days), 1)) * group.rest.days)
    high = max(quantize(rate * 2, 2), whole.high or ZERO)
    return attrs.evolve(group.rest, low=ZERO, middle=rate, high=high, method=_REMAINDER)


def _moved(
    middles: Sequence[Decimal], weights: Sequence[float], floors: Sequence[bool], goal: Decimal
) -> list[Decimal]:
    """Return middles that add up to the goal to the cent; those with a floor stay at 0 or above."""
    moved = list(middles)
    free = [place for place, weight in enumerate(weights) if weight > 0]
    while free:
        gap = float(subtract(goal, total(moved)))
        share = sum(weights[place] for place in free)
        for place in free:
            moved[place] = add(moved[place], _cents(gap * weights[place] / share))
        below = [place for place in free if floors[place] and moved[place] < 0]
        for place in below:
            moved[place] = ZERO
        free = [place for place in free if place not in below]
        if not below:
            break
    left = subtract(goal, total(moved))
    largest = max(range(len(moved)), key=lambda place: (weights[place], moved[place]))
    for place in (largest, *range(len(moved))):
        if left and not (floors[place] and add(moved[place], left) < 0):
            moved[place] = add(moved[place], left)
            left = ZERO
    return moved


def _shifted(rest: Projection, middle: Decimal, floor: bool) -> Projection:
    """Return a projection around another middle."""
    assert rest.low is not None  # noqa: S101
    assert rest.middle is not None  # noqa: S101
    assert rest.high is not None  # noqa: S101
    by = subtract(middle, rest.middle)
    low, high = add(rest.low, by), add(rest.high, by)
    if floor:
        low = max(low, ZERO)
    return attrs.evolve(rest, low=min(low, middle), middle=middle, high=max(high, middle))
