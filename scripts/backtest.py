"""Forecast months that are over, and print how far off that was.

`make backtest`. Made series of every kind (`series.py`) and months of real activity are forecast on
day 1, 7, 15 and 22, by `analysis.forecast.project` and by three yardsticks: the mean of the last
four weeks by weekday, the month's run rate, and, with `--ets` where statsmodels is installed, plain
exponential smoothing with a weekly season. The error is that of the month's total, as a share of
it, or of a tenth of a usual month where the total is less than that. Seeds below 10,000 were used
to choose the method; the table is made of others.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import attrs
import series
from anthropic_usage.analysis.forecast import project

DAYS = (1, 7, 15, 22)
LEVEL = 0.8
FIRST_SEED = 10_000
HELD, HELD_IN_EACH, BUT = (76, 84), 65, "step inside the month"
"""Percentages that the interval must hold over all, and in each kind but one."""
OURS = "project"

Sums = tuple[float, float, float]
Method = Callable[[Sequence[float], int, dt.date], Sums | None]


@attrs.frozen(kw_only=True)
class Outcome:
    """How one forecast of a month went; None where a method gives no number."""

    method: str
    kind: str
    day: int
    error: float | None = None
    held: bool = False
    pinball: float = 0.0


def ours(daily: Sequence[float], days: int, until: dt.date) -> Sums | None:
    """Project as the product does."""
    made = project([Decimal(repr(amount)) for amount in daily], days, LEVEL, until=until)
    if made.low is None or made.middle is None or made.high is None:
        return None
    return float(made.low), float(made.middle), float(made.high)


def weekdays(daily: Sequence[float], days: int, until: dt.date) -> Sums:
    """Go on with the mean of the last four weeks, by weekday."""
    recent = daily[-28:]
    amount = 0.0
    for step in range(days):
        same = recent[(len(recent) + step) % 7 :: 7]
        amount += statistics.fmean(same or recent or [0.0])
    return amount, amount, amount


def run_rate(daily: Sequence[float], days: int, until: dt.date) -> Sums:
    """Go on with the mean of the month so far; on its first day, of four weeks."""
    recent = daily[-(until.day - 1 or 28) :] or [0.0]
    amount = statistics.fmean(recent) * days
    return amount, amount, amount


def smoothing(daily: Sequence[float], days: int, until: dt.date) -> Sums | None:
    """Simulate futures of exponential smoothing with a weekly season."""
    import numpy
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    if len(daily) < 21:
        return None
    values: Any = numpy.asarray(daily)
    if float(values.std()) <= 1e-9 * max(1.0, float(values.mean())):
        amount = float(values.mean()) * days
        return amount, amount, amount
    form = "mul" if bool((values > 0).all()) else "add"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ETSModel(values, error=form, seasonal=form, seasonal_periods=7)
        fitted = model.fit(disp=False)
        errors = numpy.random.default_rng(1).choice(fitted.resid, size=(days, 1000))
        paths = fitted.simulate(days, anchor="end", repetitions=1000, random_errors=errors)
    sums = numpy.asarray(paths).reshape(days, -1).clip(0, None).sum(axis=0)
    low, middle, high = numpy.quantile(sums[numpy.isfinite(sums)], [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)


METHODS: dict[str, Method] = {OURS: ours, "weekdays": weekdays, "run rate": run_rate}


def forecasts(one: series.Series, methods: dict[str, Method]) -> Iterator[Outcome]:
    """Forecast a month on each of the days, by each method."""
    truth = sum(one.daily[one.month :])
    for day in DAYS:
        place = one.month + day - 1
        past = one.daily[:place]
        paid = next((start for start, amount in enumerate(past) if amount), 0)
        billed = sum(past[one.month :])
        usual = 30 * statistics.fmean(map(abs, past[-84:])) if past else 0.0
        size = max(abs(truth), 0.1 * usual) or 1.0
        for name, method in methods.items():
            sums = method(
                past[paid:], len(one.daily) - place, one.first_day + place * dt.timedelta(1)
            )
            if sums is None:
                yield Outcome(method=name, kind=one.kind, day=day)
                continue
            low, middle, high = (billed + amount for amount in sums)
            near = 1e-6 * size + 0.01  # amounts are rounded to the cent
            yield Outcome(
                method=name,
                kind=one.kind,
                day=day,
                error=abs(middle - truth) / size,
                held=low - near <= truth <= high + near,
                pinball=_pinball(truth, {0.1: low, 0.5: middle, 0.9: high}) / size,
            )


def _pinball(truth: float, quantiles: dict[float, float]) -> float:
    losses = [
        max(share * (truth - value), (share - 1) * (truth - value))
        for share, value in quantiles.items()
    ]
    return statistics.fmean(losses)


def run(count: int, seed: int, methods: dict[str, Method]) -> list[Outcome]:
    """Forecast `count` series of each kind, and the real months."""
    made = (series.made(kind, seed + n) for kind in series.KINDS for n in range(count))
    return [
        outcome
        for group in (made, series.real())
        for one in group
        for outcome in forecasts(one, methods)
    ]


def summary(outcomes: Sequence[Outcome], method: str) -> dict[str, float] | None:
    """Return a method's figures over some outcomes, in percent."""
    own = [outcome for outcome in outcomes if outcome.method == method]
    errors = [outcome.error for outcome in own if outcome.error is not None]
    if not errors:
        return None
    known = [outcome for outcome in own if outcome.error is not None]
    return {
        "median": 100 * statistics.median(errors),
        "mean": 100 * statistics.fmean(errors),
        "coverage": 100 * statistics.fmean(outcome.held for outcome in known),
        "pinball": 100 * statistics.fmean(outcome.pinball for outcome in known),
        "count": len(known),
    }


def groups(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes by kind, by day, and all."""
    made: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        real = outcome.kind.startswith("real")
        for name in (outcome.kind, f"day {outcome.day}", "real" if real else "made", "all"):
            made.setdefault(name, []).append(outcome)
    last = [*(f"day {day}" for day in DAYS), "made", "real", "all"]
    return {name: made[name] for name in [*(n for n in made if n not in last), *last]}


def table(outcomes: Sequence[Outcome], methods: Sequence[str]) -> Iterator[str]:
    """Yield the table as Markdown."""
    heads = [f"{OURS}: median / mean", "held", "pinball"]
    for name in methods:
        if name != OURS:
            heads.append(f"{name}: median / mean")
    if "ETS" in methods:
        heads.append("ETS held")
    yield f"| | n | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) + 1)}"
    for name, part in groups(outcomes).items():
        own = summary(part, OURS)
        cells = ["0", "no number", "", ""]
        if own:
            cells = [
                f"{own['count']:.0f}",
                f"{own['median']:.1f} / {own['mean']:.1f}",
                f"{own['coverage']:.0f} %",
                f"{own['pinball']:.2f}",
            ]
        for method in methods:
            other = summary(part, method)
            if method != OURS:
                cells.append(f"{other['median']:.1f} / {other['mean']:.1f}" if other else "-")
        if "ETS" in methods:
            other = summary(part, "ETS")
            cells.append(f"{other['coverage']:.0f} %" if other else "-")
        yield f"| {name} | {' | '.join(cells)} |"


def failures(outcomes: Sequence[Outcome], methods: Sequence[str]) -> Iterator[str]:
    """Yield the bounds that are not kept."""
    for name, part in groups(outcomes).items():
        own = summary(part, OURS)
        if own is None:
            continue
        low, high = HELD
        if name == "all" and not low <= own["coverage"] <= high:
            yield f"over all the interval holds {own['coverage']:.0f} %, not {low} to {high}"
        if own["coverage"] < HELD_IN_EACH and name != BUT:
            yield f"{name}: the interval holds {own['coverage']:.0f} %"
        known = {(o.kind, o.day) for o in part if o.method == OURS and o.error is not None}
        others = [
            figures["mean"]
            for method in methods
            if method in ("weekdays", "ETS")
            and (figures := summary([o for o in part if (o.kind, o.day) in known], method))
        ]
        if others and own["mean"] > max(1.5 * min(others), 1.0):
            best = min(others)
            yield f"{name}: mean error {own['mean']:.1f} %, the better yardstick {best:.1f} %"


def main() -> int:
    """Print the table, and what is out of bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--series", type=int, default=12, help="made series of each kind")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument(
        "--ets", action="store_true", help="beside statsmodels' ETS, 1 s a forecast"
    )
    options = parser.parse_args()
    methods = dict(METHODS)
    if options.ets:
        methods["ETS"] = smoothing
    outcomes = run(options.series, options.seed, methods)
    print("\n".join(table(outcomes, list(methods))))
    broken = list(failures(outcomes, list(methods)))
    for sentence in broken:
        print(f"out of bounds: {sentence}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
