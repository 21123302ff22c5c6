"""Daily amounts, projected: a robust blend of weekday means and a damped trend, with an interval.

A history is first freed of what will not come again: a level it has left, a lone credit, purchase
or outage. Peaks that come with the end of each month are kept for the ends of months. Then each
of a few simple methods is weighed by how well it would have done on the same history, and the
interval comes from how far their blend was off. Which methods, and all constants here, were chosen
by `make backtest`. Floats are right here: a projection is no more exact than that.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import attrs

from ..moments import DAY, next_month

__all__ = ["LEAST_DAYS", "STOPPED_DAYS", "Estimate", "estimate"]

LEAST_DAYS = 7
"""With fewer days of history there is no projection."""
STOPPED_DAYS = 14
"""After so many days of nothing a thing has stopped."""

_WEEK = 7
_TINY = 1e-9
_EVENT = 5
"""A departure of up to so many days can be a lone event; a longer one is a level."""
_GONE = 11
"""After so many days of unheard of nothing, nothing more is expected."""
_SETTLED = 4
"""Days that a new level needs to be told from an event."""
_LEAST_SHIFT, _CLEAR, _BETTER = 0.25, 7.0, 0.75
"""A change of level: its least logarithm, its size in errors, its misfit as a share of a line's."""
_WIDER = (1.0, 1.2, 1.6, 2.0)
"""How much wider the interval is after so many changes of level: they may go on."""
_NARROWER, _LENGTHENING = 0.9, 0.35
"""The interval beside past errors, and how it widens with the days ahead beyond those tried."""
_HORIZON, _ORIGINS, _STRIDE = 14, 70, 2
"""The methods are tried on sums of up to so many days, that far back, every so many days."""
_PRIOR = {"1 weeks": 0.6, "2 weeks": 0.6, "4 weeks": 1.0, "8 weeks": 1.0, "trend": 1.0}
_FADING, _FLOOR, _POWER = 0.98, 0.03, 3.0
"""How fast old errors lose weight; a method's weight is 1 / (share of error + floor) ** power."""

Weights = Mapping[str, float]


@attrs.frozen
class Estimate:
    """A sum of days to come: at the least, most likely, and at the most."""

    low: float
    middle: float
    high: float


def estimate(
    daily: Sequence[float], days: int, level: float, until: dt.date | None = None
) -> Estimate | None:
    """Estimate the sum of the `days` that follow on `daily`; None for too little history.

    `until` is the first of these days; without it, peaks at the ends of months cannot be told.
    `level` is the share of truths that should lie within.
    """
    if len(daily) < LEAST_DAYS:
        return None
    if not any(daily[-STOPPED_DAYS:]) and len(daily) >= STOPPED_DAYS:
        return _stopped(daily, days)
    quiet = _sudden_quiet(daily)
    if quiet:
        return _perhaps_stopped(daily, quiet, days, level, until)
    factors = _calendar(daily, days, until)
    flat = [amount / factor for amount, factor in zip(daily, factors, strict=False)]
    ahead = factors[len(daily) :]
    leveled, changes = _on_one_level(flat)
    calm = _without_events(leveled)
    return _blended(calm, leveled, ahead, level, changes)


def _sudden_quiet(daily: Sequence[float]) -> int:
    """Return for how many days there has been nothing, if that is unheard of before; else 0."""
    runs = _runs([int(not amount) for amount in daily], 1)
    if not runs or runs[-1][1] < len(daily):
        return 0
    quiet = runs[-1][1] - runs[-1][0]
    longest = max((end - start for start, end in runs[:-1]), default=0)
    known = len(daily) - quiet >= LEAST_DAYS or quiet >= len(daily) // 2
    return quiet if known and quiet >= 2 and quiet > 1.5 * longest else 0


def _perhaps_stopped(
    daily: Sequence[float], quiet: int, days: int, level: float, until: dt.date | None
) -> Estimate | None:
    """An outage, or the end: the longer nothing has come, the less is to come."""
    awake = list(daily[:-quiet])
    if len(awake) < LEAST_DAYS:
        return _stopped(daily, days)
    usual = _profile(awake[-28:], statistics.median)
    awake += [usual[step % _WEEK] for step in range(quiet)]
    again = estimate(awake, days, level, until)
    if again is None or quiet < 3:
        return again
    share = min(1.0, max(0.0, (_GONE - quiet) / (_GONE - _EVENT)))
    return Estimate(0.0, again.middle * share, again.high)


def _stopped(daily: Sequence[float], days: int) -> Estimate:
    """Nothing, or at the most what the share of awake days would make of it."""
    awake = [amount for amount in daily if amount > 0]
    quiet = next(place for place, amount in enumerate(reversed(daily)) if amount) if awake else 0
    if not awake:
        return Estimate(0.0, 0.0, 0.0)
    again = statistics.fmean(daily) * days * STOPPED_DAYS / (quiet + STOPPED_DAYS) / 2
    return Estimate(0.0, 0.0, max(0.0, again))


# What will not come again, and what comes with the calendar -----------------------------------


def _calendar(daily: Sequence[float], days: int, until: dt.date | None) -> list[float]:
    """Return a factor for each past and coming day: how far ends of months stand out."""
    count = len(daily) + days
    if until is None:
        return [1.0] * count
    start = until - len(daily) * DAY
    places = [_from_end(start + step * DAY) for step in range(count)]
    usual = _weekday_medians(daily)
    factors = {}
    for place in (1, 2, 3):
        seen = [
            daily[day] / usual[day]
            for day in range(len(daily))
            if places[day] == place and usual[day] > _TINY
        ]
        if len(seen) >= 2 and min(seen) > 1.6:
            factors[place] = math.exp(statistics.fmean(map(math.log, seen)))
    return [factors.get(place, 1.0) for place in places]


def _from_end(day: dt.date) -> int:
    """Return 1 for the last day of a month, 2 for the day before it, and so on."""
    return (next_month(day.replace(day=1)) - day).days


def _weekday_medians(daily: Sequence[float], reach: int = 4) -> list[float]:
    """Return for each day the median of the same weekday of the weeks around it."""
    count = len(daily)
    medians = []
    for day in range(count):
        near = [
            daily[other]
            for week in range(-reach, reach + 1)
            if week and 0 <= (other := day + week * _WEEK) < count
        ]
        medians.append(statistics.median(near) if near else daily[day])
    return medians


def _on_one_level(daily: Sequence[float]) -> tuple[list[float], int]:
    """Bring what came before a lasting change of level to the level after it; count the changes."""
    current = list(daily)
    changes = 0
    while changes < 3 and (change := _change(current)) is not None:
        changes += 1
        place, ratio = change
        if ratio is None:
            current = current[place:]
        else:
            current[:place] = [amount * ratio for amount in current[:place]]
    return current, changes


def _change(daily: Sequence[float]) -> tuple[int, float | None] | None:
    """Return the day of the clearest change of level and its ratio; None as ratio: from nothing."""
    count = len(daily)
    best: tuple[float, int, float | None] | None = None
    for place in range(max(_WEEK, count - 63), count - _SETTLED + 1):
        found = _change_at(daily, place)
        if found and (best is None or found[0] > best[0]):
            best = (found[0], place, found[1])
    return None if best is None else (best[1], best[2])


def _change_at(daily: Sequence[float], place: int) -> tuple[float, float | None] | None:
    before = daily[max(0, place - 28) : place]
    after = daily[place : place + 28]
    scale = statistics.fmean(map(abs, after))
    if sum(amount <= 0 for amount in after) > 0.2 * len(after):
        return None
    usual = _profile(before, statistics.median)
    nothing = max(usual) < 0.02 * scale
    if not nothing and sum(amount <= 0 for amount in before) > 0.2 * len(before):
        return None
    floor = 0.05 * statistics.fmean(map(abs, before)) if not nothing else 0.001 * scale

    def logs(days: Sequence[float], offset: int) -> list[float]:
        return [
            math.log(max(amount, floor) / max(usual[(offset + step) % _WEEK], floor))
            for step, amount in enumerate(days)
        ]

    # `usual[w]` belongs to days whose distance to `place` is w modulo a week.
    earlier = logs(before, -len(before))
    later = logs(after, 0)
    shift = statistics.median(later) - statistics.median(earlier)
    if abs(shift) < _LEAST_SHIFT:
        return None
    noise = max(_spread(earlier), _spread(later), 0.03)
    score = abs(shift) / (noise * math.sqrt(1 / len(earlier) + 1 / len(later)))
    if score < _CLEAR or _off_levels(earlier, later) > _BETTER * _off_line(earlier + later):
        return None
    apart = abs(shift) / (_off_levels(earlier, later) / len(earlier + later) + 0.02)
    return apart, None if nothing else math.exp(shift)


def _off_levels(earlier: Sequence[float], later: Sequence[float]) -> float:
    """Return how far days are off two levels, on the whole."""
    return sum(
        sum(abs(value - middle) for value in values)
        for values in (earlier, later)
        for middle in (statistics.median(values),)
    )


def _off_line(values: Sequence[float]) -> float:
    """Return how far days are off a steady growth, on the whole."""
    half = len(values) // 2
    slope = (statistics.median(values[-half:]) - statistics.median(values[:half])) / max(half, 1)
    level = [value - slope * day for day, value in enumerate(values)]
    middle = statistics.median(level)
    return sum(abs(value - middle) for value in level)


def _spread(values: Sequence[float]) -> float:
    """Return a deviation that a few outliers do not bend."""
    middle = statistics.median(values)
    return 1.4826 * statistics.median(abs(value - middle) for value in values)


def _without_events(daily: Sequence[float]) -> list[float]:
    """Put a lone credit, purchase or outage back to what is usual on its weekdays."""
    count = len(daily)
    if count < 3 * _WEEK:
        return _without_odd_day(daily)
    if sum(not amount for amount in daily[-56:]) > 0.2 * len(daily[-56:]):
        return list(daily)
    usual = _weekday_medians(daily)
    offs = []
    for day in range(count):
        near = [
            daily[other]
            for week in range(-4, 5)
            if week and 0 <= (other := day + week * _WEEK) < count
        ]
        off = daily[day] - usual[day]
        wide = _spread(near) + 0.08 * abs(usual[day]) + _TINY
        offs.append(off if abs(off) > 4 * wide else 0.0)
    calm = list(daily)
    for sign in (1, -1):
        runs = _runs([int(off * sign > 0) for off in offs], 1)
        sizes = {run: max(map(abs, offs[run[0] : run[1]])) for run in runs if run[1] > count - 56}
        large = [run for run, size in sizes.items() if size > 0.3 * max(sizes.values())]
        if len(large) != 1:
            continue  # nothing, or more than once: that is how this history is
        ((start, end),) = large
        if end - start <= (1 if end == count else _EVENT):
            calm[start:end] = usual[start:end]
    return calm


def _without_odd_day(daily: Sequence[float]) -> list[float]:
    """Put the one day of a short history back that has nothing in common with the others."""
    for day in (daily.index(min(daily)), daily.index(max(daily))):
        others = [*daily[:day], *daily[day + 1 :]]
        if daily[day] < 0 <= min(others) or 0 <= 4 * max(others) < daily[day]:
            return [*daily[:day], statistics.median(others), *daily[day + 1 :]]
    return list(daily)


def _runs(signs: Sequence[int], sign: int) -> list[tuple[int, int]]:
    """Return where runs of a sign start and end."""
    runs: list[tuple[int, int]] = []
    for day, own in enumerate(signs):
        if own != sign:
            continue
        if runs and runs[-1][1] == day:
            runs[-1] = (runs[-1][0], day + 1)
        else:
            runs.append((day, day + 1))
    return runs


# The methods, and their blend --------------------------------------------------------------


def _profile(
    daily: Sequence[float], mean: Callable[[Sequence[float]], float] = statistics.fmean
) -> list[float]:
    """Return the mean of each weekday, the weekday of the next day first."""
    count = len(daily)
    profile = []
    for step in range(_WEEK):
        same = daily[(count + step) % _WEEK :: _WEEK]
        profile.append(mean(same) if same else mean(daily))
    return profile


def _candidates(daily: Sequence[float], ahead: Sequence[float]) -> dict[str, float]:
    """Return the sum of the days ahead by each method; `ahead` weighs the days."""
    counts = [sum(ahead[step::_WEEK]) for step in range(_WEEK)]

    def expected(profile: Sequence[float]) -> float:
        return sum(map(lambda count, amount: count * amount, counts, profile))

    made = {}
    for weeks in (1, 2, 4, 8):
        if weeks == 1 or len(daily) > _WEEK * weeks // 2:
            made[f"{weeks} weeks"] = expected(_profile(daily[-_WEEK * weeks :]))
    trend = _trend(daily, ahead)
    if trend is not None:
        made["trend"] = trend
    return made


def _trend(daily: Sequence[float], ahead: Sequence[float]) -> float | None:
    """Return what a damped growth by the week comes to; None where weeks have no growth."""
    count = len(daily)
    weeks = [
        sum(daily[count - _WEEK * (back + 1) : count - _WEEK * back])
        for back in reversed(range(min(count // _WEEK, 8)))
    ]
    if len(weeks) < 4 or min(weeks) <= 0:
        return None
    logs = [math.log(week) for week in weeks]
    slopes = [
        (logs[late] - logs[early]) / (late - early)
        for early in range(len(logs))
        for late in range(early + 1, len(logs))
    ]
    growth = min(max(statistics.median(slopes), -0.3), 0.2)
    pattern = _profile(daily[-28:])
    whole = sum(pattern)
    if whole <= 0:
        return None
    base = math.exp(statistics.fmean((logs[-1], logs[-2] + growth)))
    amount = 0.0
    for step, weight in enumerate(ahead):
        week = step / _WEEK + 0.5
        reach = (1 - 0.93**week) / (1 - 0.93) * 0.93**0.5
        amount += weight * base * pattern[step % _WEEK] / whole * math.exp(growth * reach)
    return amount


def _blended(
    calm: Sequence[float],
    seen: Sequence[float],
    ahead: Sequence[float],
    level: float,
    changes: int,
) -> Estimate:
    """Blend the methods by their past errors, and tell how far the blend was off."""
    count, days = len(calm), len(ahead)
    scale = max(statistics.fmean(map(abs, calm[-28:])), _TINY)
    horizon = min(days, _HORIZON)
    tried = []
    for back in range(horizon, min(count - _WEEK, _ORIGINS) + 1, _STRIDE):
        past = calm[: count - back]
        truth = sum(calm[count - back : count - back + horizon])
        real = sum(seen[count - back : count - back + horizon])
        tried.append((back, truth, real, _candidates(past, [1.0] * horizon)))
    weights = _weights(tried, scale * horizon)
    candidates = _candidates(calm, ahead)
    middle = _mix(candidates, weights)
    size = max(abs(middle), 0.2 * scale * days)
    misses = [
        abs(real - (mixed := _mix(made, weights))) / max(abs(mixed), 0.2 * scale * horizon)
        for _, _, real, made in tried
    ]
    half = _half(misses, days / horizon, level) * size * _WIDER[changes]
    half *= _WIDER[1] if max(ahead) > 1 else 1.0
    spread = [abs(value - middle) for value in candidates.values()]
    steady = not changes and len(misses) >= _SETTLED and max(misses) < _TINY
    half = 0.0 if steady else max(half, 0.25 * max(spread), 0.02 * size)
    low, high = middle - half, middle + half
    if min(seen[-28:]) >= 0:
        low, middle = max(low, 0.0), max(middle, 0.0)
    return Estimate(low, middle, max(high, middle))


def _weights(
    tried: Sequence[tuple[int, float, float, Mapping[str, float]]], size: float
) -> dict[str, float]:
    """Weigh each method by its mean error on the same history."""
    errors: dict[str, list[tuple[float, float]]] = {}
    for back, truth, _, made in tried:
        for name, value in made.items():
            errors.setdefault(name, []).append((_FADING**back, abs(value - truth)))
    weights = {} if errors else dict(_PRIOR)
    for name, pairs in errors.items():
        error = sum(w * e for w, e in pairs) / sum(w for w, _ in pairs)
        weights[name] = _PRIOR[name] / (error / size + _FLOOR) ** _POWER
    return weights


def _mix(made: Mapping[str, float], weights: Weights) -> float:
    known = {name: weights.get(name, 0.0) for name in made}
    whole = sum(known.values())
    if whole <= 0:
        return statistics.fmean(made.values())
    return sum(made[name] * weight for name, weight in known.items()) / whole


def _half(misses: Sequence[float], stretch: float, level: float) -> float:
    """Return half the width of the interval as a share of its middle."""
    if len(misses) < 5:
        return 0.12 * (level / 0.8) ** 2
    ranked = sorted(misses)
    place = min(len(ranked) - 1, math.ceil(level * (len(ranked) + 1)) - 1)
    return float(ranked[place] * _NARROWER * stretch**_LENGTHENING)
