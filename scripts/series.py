"""Daily bills as organisations have them: twenty-odd kinds made from a seed, and real activity.

The real ones are commits a day of three public repositories, for want of public bills: people work
as they do, with weekends, holidays, releases and lulls.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import pathlib
import random
from collections.abc import Callable, Iterator

import attrs

ACTIVITY = pathlib.Path(__file__).parent.parent / "tests" / "analysis" / "activity"
BEFORE = 92
"""Days of history that a made series has before its month, as far as it is not a short one."""
_DAY = dt.timedelta(days=1)


@attrs.frozen(kw_only=True)
class Series:
    """Dollars a day up to the end of a month."""

    kind: str
    first_day: dt.date
    daily: tuple[float, ...]
    month: int
    """The place of the month's first day."""
    event: int | None = None
    """The place of the day on which it changed, if it did."""


@attrs.define
class _Making:
    """A calm organisation, to be bent."""

    random: random.Random
    first_day: dt.date
    month: int
    daily: list[float]
    event: int | None = None

    def place(self, low: int, high: int) -> int:
        """Pick a day, counted from the month's first, and remember it."""
        self.event = self.month + self.random.randint(low, high)
        return self.event

    def scale(self, place: int, factor: float) -> None:
        """Multiply all days from a place on."""
        self.daily[place:] = [amount * factor for amount in self.daily[place:]]


def _month(rng: random.Random) -> tuple[dt.date, int]:
    """Pick a month of 2024 to 2026; return its first day and its length."""
    first = dt.date(rng.choice((2024, 2025, 2026)), rng.randint(1, 12), 1)
    return first, ((first + 31 * _DAY).replace(day=1) - first).days


def _calm(rng: random.Random, noise: float, weekend: float) -> _Making:
    first, length = _month(rng)
    start = first - BEFORE * _DAY
    level = math.exp(rng.uniform(math.log(20), math.log(3000)))
    daily = []
    for place in range(BEFORE + length):
        weekday = (start + place * _DAY).weekday()
        pattern = weekend if weekday >= 5 else 1.0 + 0.05 * (2 - abs(weekday - 2))
        daily.append(level * pattern * math.exp(rng.gauss(0, noise)))
    return _Making(random=rng, first_day=start, month=BEFORE, daily=daily)


def _usual(rng: random.Random) -> _Making:
    return _calm(rng, rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.9))


def _flat(rng: random.Random) -> _Making:
    return _calm(rng, rng.choice((0.0, 0.05, 0.1)), 1.0)


def _trend(rng: random.Random, low: float, high: float) -> _Making:
    making = _usual(rng)
    rate = rng.uniform(low, high)
    making.daily = [a * math.exp(rate * (p - BEFORE)) for p, a in enumerate(making.daily)]
    return making


def _step(rng: random.Random, low: int, high: int) -> _Making:
    making = _usual(rng)
    factor = math.exp(rng.choice((-1, 1)) * rng.uniform(math.log(1.3), math.log(3)))
    making.scale(making.place(low, high), factor)
    return making


def _launch(rng: random.Random) -> _Making:
    making = _usual(rng)
    place = making.place(-28, -8)
    before = rng.choice((0.0125, 0.05, 0.1))
    making.daily[:place] = [amount * before for amount in making.daily[:place]]
    return making


def _stop(rng: random.Random) -> _Making:
    making = _usual(rng)
    making.scale(making.place(-28, -6), 0.0)
    return making


def _outage(rng: random.Random) -> _Making:
    making = _usual(rng)
    place = making.place(-21, 5)  # what is still to come, no history knows
    for step in range(rng.randint(2, 5)):
        making.daily[place + step] = 0.0
    return making


def _once(rng: random.Random, low: float, high: float) -> _Making:
    """One day with a credit or a purchase of several days' bills."""
    making = _usual(rng)
    place = making.place(-21, 3)
    making.daily[place] += rng.uniform(low, high) * abs(sum(making.daily[:28])) / 28
    return making


def _spiky(rng: random.Random) -> _Making:
    making = _calm(rng, 0.3, rng.uniform(0.4, 1.0))
    making.daily = [
        amount * (rng.uniform(3, 8) if rng.random() < 0.07 else 1) for amount in making.daily
    ]
    return making


def _sparse(rng: random.Random) -> _Making:
    making = _calm(rng, 0.5, 1.0)
    share = rng.uniform(0.15, 0.4)
    making.daily = [amount if rng.random() < share else 0.0 for amount in making.daily]
    return making


def _one_weekday(rng: random.Random) -> _Making:
    making = _calm(rng, 0.15, 1.0)
    chosen = rng.randrange(7)
    for place in range(len(making.daily)):
        if (making.first_day + place * _DAY).weekday() != chosen:
            making.daily[place] = 0.0
    return making


def _month_end(rng: random.Random) -> _Making:
    making = _usual(rng)
    days, factor = rng.randint(1, 3), rng.uniform(2.5, 5)
    for place in range(len(making.daily)):
        if (making.first_day + (place + days) * _DAY).day <= days:
            making.daily[place] *= factor
    return making


def _walk(rng: random.Random) -> _Making:
    making = _usual(rng)
    level = 0.0
    for place in range(len(making.daily)):
        level += rng.gauss(0, 0.06)
        making.daily[place] *= math.exp(level)
    return making


def _autoregression(rng: random.Random) -> _Making:
    making = _usual(rng)
    level = 0.0
    for place in range(len(making.daily)):
        level = 0.8 * level + rng.gauss(0, 0.15)
        making.daily[place] *= math.exp(level)
    return making


def _short(rng: random.Random, low: int, high: int) -> _Making:
    making = _usual(rng)
    days = rng.randint(low, high)
    cut = making.month - days
    making.daily = making.daily[cut:]
    making.first_day += cut * _DAY
    making.month = days
    return making


def _zero(rng: random.Random) -> _Making:
    making = _flat(rng)
    making.scale(0, 0.0)
    return making


def _negative(rng: random.Random) -> _Making:
    making = _usual(rng)
    mean = sum(making.daily) / len(making.daily)
    making.daily = [a - mean * rng.uniform(1, 2) * (rng.random() < 0.15) for a in making.daily]
    return making


KINDS: dict[str, Callable[[random.Random], _Making]] = {
    "flat": _flat,
    "weekday pattern": _usual,
    "growth": lambda rng: _trend(rng, 0.005, 0.02),
    "decline": lambda rng: _trend(rng, -0.02, -0.005),
    "step before the month": lambda rng: _step(rng, -21, -7),
    "step inside the month": lambda rng: _step(rng, 3, 18),
    "launch": _launch,
    "stop": _stop,
    "outage": _outage,
    "one credit": lambda rng: _once(rng, -8, -3),
    "one outlier": lambda rng: _once(rng, 4, 12),
    "spiky": _spiky,
    "sparse": _sparse,
    "one weekday only": _one_weekday,
    "month-end peaks": _month_end,
    "random walk": _walk,
    "AR(1)": _autoregression,
    "history of 3 to 9 days": lambda rng: _short(rng, 3, 9),
    "history of 10 to 20 days": lambda rng: _short(rng, 10, 20),
    "history of 21 to 40 days": lambda rng: _short(rng, 21, 40),
    "all zero": _zero,
    "negative days": _negative,
}


def made(kind: str, seed: int) -> Series:
    """Make a series; the same seed makes the same."""
    making = KINDS[kind](random.Random(f"{kind} {seed}"))
    return Series(
        kind=kind,
        first_day=making.first_day,
        daily=tuple(round(amount, 4) for amount in making.daily),
        month=making.month,
        event=making.event,
    )


def real() -> Iterator[Series]:
    """Yield each month of the recorded activity that has enough before it."""
    for path in sorted(ACTIVITY.glob("*.json")):
        document = json.loads(path.read_text())
        start = dt.date.fromisoformat(document["start"])
        daily = document["daily"]
        first = (start + (BEFORE + 31) * _DAY).replace(day=1)
        while (following := (first + 31 * _DAY).replace(day=1)) <= start + len(daily) * _DAY:
            month = (first - start).days
            cut = max(0, month - BEFORE)
            yield Series(
                kind=f"real: {path.stem}",
                first_day=start + cut * _DAY,
                daily=tuple(map(float, daily[cut : (following - start).days])),
                month=month - cut,
            )
            first = following
