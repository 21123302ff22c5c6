"""Replay `check` day by day, and print what it told against what was so.

`make alerts-replay`. Twelve simulated organisations live for half a year; each morning `check` runs
with a memory, but for some mornings that are left out. What it told is compared with the ledger:
budgets that were passed, and what was made to happen to the organisation (jumps, steps, outages,
a launch, a stop, a start). Then made series of `series.py` say how often a day on which nothing
happens is told as a jump, and how often a real one is found.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import attrs
import series
from anthropic_usage import UsageClient
from anthropic_usage.analysis.alerts import Alert, Memory
from anthropic_usage.analysis.budgets import Budget, Budgets, check
from anthropic_usage.analysis.jumps import EVERYTHING, events
from anthropic_usage.directory import Directory
from anthropic_usage.moments import DAY, monday, next_month
from anthropic_usage.simulator import Simulator

FIRST, LAST = dt.date(2026, 4, 1), dt.date(2026, 9, 30)
"""The half year that is replayed; there is a history before it."""
HISTORY = 120
LEVEL = 40
"""How much busier a small simulated organisation is made."""
SETTLES = 14
"""Days for which what follows on an event belongs to it."""
FALSE_AT_MOST, FOUND_AT_LEAST = 1.0, 90.0
"""Percentages of days, and of real jumps."""
DEFAULTS = Budgets()

Factors = Mapping[dt.date, Fraction]


@attrs.frozen(kw_only=True)
class Story:
    """What happens to an organisation."""

    name: str
    factors: Factors
    """By how much its days are busier than usual."""
    up: tuple[dt.date, ...] = ()
    """Days on which `check` should tell of a jump, or of something new."""


def stories() -> list[Story]:
    """Return what happens to each of the twelve."""
    every = [
        FIRST - HISTORY * DAY + step * DAY for step in range((LAST - FIRST).days + HISTORY + 1)
    ]
    told = dt.date(2026, 6, 16)

    def factors(change: dict[dt.date, Fraction] | None = None) -> Factors:
        return {day: (change or {}).get(day, Fraction(1)) for day in every}

    def since(day: dt.date, factor: Fraction) -> dict[dt.date, Fraction]:
        return {other: factor for other in every if other >= day}

    def grown(rate: Fraction) -> dict[dt.date, Fraction]:
        return {day: 1 + rate * (day - every[0]).days for day in every}

    def before(day: dt.date, factor: Fraction) -> dict[dt.date, Fraction]:
        return {other: factor for other in every if other < day}

    lone = (dt.date(2026, 5, 12), dt.date(2026, 7, 31), dt.date(2026, 9, 14))
    outage = {told + step * DAY: Fraction(0) for step in range(4)}
    zero, four = Fraction(0), Fraction(4)
    return [
        *(Story(name=f"calm {number}", factors=factors()) for number in (1, 2, 3)),
        Story(name="growth", factors=factors(grown(Fraction(1, 100)))),
        Story(name="lone days x4", factors=factors(dict.fromkeys(lone, four)), up=lone),
        Story(name="lone days x6", factors=factors(dict.fromkeys(lone, Fraction(6))), up=lone),
        Story(name="step x4", factors=factors(since(told, four)), up=(told,)),
        Story(name="step down", factors=factors(since(told, Fraction(1, 4)))),
        Story(name="launch x20", factors=factors(before(told, Fraction(1, 20))), up=(told,)),
        Story(name="outage of 4 days", factors=factors(outage)),
        Story(name="stop", factors=factors(since(told, zero))),
        Story(name="start", factors=factors(before(told, zero)), up=(told,)),
    ]


@attrs.define(kw_only=True)
class Outcome:
    """What was told of an organisation, against what was so."""

    runs: int = 0
    due: int = 0
    """Budgets passed and events."""
    told: Counter[str] = attrs.field(factory=Counter)
    missed: list[str] = attrs.field(factory=list)
    false: list[str] = attrs.field(factory=list)
    projections: Counter[bool] = attrs.field(factory=Counter)
    """Forecast alerts, by whether the budget was passed in the end."""
    repeats: list[str] = attrs.field(factory=list)
    ends: int = 0


def replay(seed: int, story: Story) -> Outcome:
    """Live an organisation's half year."""
    start = min(story.factors)
    simulator = Simulator(
        seed=seed,
        size=0.05,
        days=(LAST - start).days + 200,
        now=dt.datetime.combine(LAST + 2 * DAY, dt.time(), dt.UTC),
    )
    for day, factor in story.factors.items():
        simulator.restate(day, factor * LEVEL)
    every = [FIRST + step * DAY for step in range((LAST - FIRST).days + 2)]
    bills = {day: _bill(simulator, day) for day in every[:-1]}
    budgets = _budgets(bills)
    rng = random.Random(seed)
    # The last morning is not left out, or its day would be judged by nobody.
    mornings = [day for day in every[1:-1] if rng.random() > 0.07] + every[-1:]
    outcome, seen = Outcome(runs=len(mornings)), list[tuple[dt.date, Alert]]()
    with (
        tempfile.TemporaryDirectory() as folder,
        simulator.serve() as server,
        UsageClient(Simulator.DEMO_KEY, base_url=server.url, clock=lambda: simulator.now) as client,
    ):
        directory = Directory.read(client)
        path = Path(folder) / "state.json"
        for today in mornings:
            simulator.now = dt.datetime.combine(today, dt.time(6), dt.UTC)
            memory = Memory.read(path)
            found = check(
                client,
                budgets,
                directory=directory,
                today=today,
                unjudged_from=memory.judged_before,
                begun=memory.begun,
            )
            news, over = memory.news(found.alerts, found.over)
            memory.keep(found.billed_until)
            seen += [(today, alert) for alert in news]
            outcome.ends += len(over)
    _judge(outcome, story, seen, _due(budgets, bills, mornings), bills, simulator)
    return outcome


Bill = Mapping[tuple[str | None, str | None], Decimal]


def _bill(simulator: Simulator, day: dt.date) -> Bill:
    """Return a day's bill by workspace and model, in dollars, as the ledger has it."""
    cost = simulator.ledger.cost(day, day + DAY, by=("workspace_id", "model"))
    return {(space, model): cents / 100 for (space, model), cents in cost.items()}


def _of(budget: Budget, bill: Bill) -> Decimal:
    return sum(
        (
            amount
            for (space, model), amount in bill.items()
            if budget.subject is None
            or budget.value == {"workspace": space, "model": model}[budget.subject]
        ),
        Decimal(0),
    )


def _budgets(bills: Mapping[dt.date, Bill]) -> Budgets:
    """Return budgets that are sometimes passed: at what is usual in a period."""
    spaces, models = Counter[str](), Counter[str]()
    for bill in bills.values():
        for (space, model), amount in bill.items():
            spaces[space or ""] += int(amount * 100)
            models[model or ""] += int(amount * 100)
    largest = {
        "workspace": next(name for name, _ in spaces.most_common() if name),
        "model": next(name for name, _ in models.most_common() if name),
    }
    made = []
    for name, period, subject in (
        ("the month", "month", None),
        ("the week", "week", None),
        ("the day", "day", None),
        ("a workspace", "month", "workspace"),
        ("a model", "week", "model"),
    ):
        value = largest[subject] if subject else None
        budget = Budget(name=name, amount=Decimal(1), period=period, subject=subject, value=value)
        sums = sorted(_sums(budget, bills).values())
        share = 0.95 if period == "day" else 0.6
        amount = max(sums[int(share * (len(sums) - 1))].quantize(Decimal(1)), Decimal(1))
        made.append(attrs.evolve(budget, amount=amount, warn_at=(80, 100)))
    return Budgets(budgets=tuple(made))


def _first_day(budget: Budget, day: dt.date) -> dt.date:
    return {"day": day, "week": monday(day), "month": day.replace(day=1)}[budget.period]


def _last_day(budget: Budget, first: dt.date) -> dt.date:
    ends = {"day": first, "week": first + 6 * DAY, "month": next_month(first) - DAY}
    return ends[budget.period]


def _sums(budget: Budget, bills: Mapping[dt.date, Bill]) -> dict[dt.date, Decimal]:
    sums: dict[dt.date, Decimal] = {}
    for day, bill in bills.items():
        first = _first_day(budget, day)
        sums[first] = sums.get(first, Decimal(0)) + _of(budget, bill)
    return sums


def _due(
    budgets: Budgets, bills: Mapping[dt.date, Bill], mornings: Sequence[dt.date]
) -> dict[tuple[str, dt.date, Decimal], dt.date]:
    """Return the morning on which each passed percentage is due, by budget, period and dollars.

    Of several that one morning finds, the highest is told.
    """
    due: dict[tuple[str, dt.date, Decimal], dt.date] = {}
    for budget in budgets.budgets:
        spent: dict[dt.date, Decimal] = {}
        found: dict[tuple[dt.date, dt.date], Decimal] = {}
        for day in sorted(bills):
            first = _first_day(budget, day)
            # A week that began before the ledger was asked is not judged here.
            if first < FIRST:
                continue
            before = spent.get(first, Decimal(0))
            spent[first] = before + _of(budget, bills[day])
            morning = next(other for other in mornings if other > day)
            for percent in budget.warn_at:
                limit = budget.amount * percent / 100
                if before < limit <= spent[first]:
                    found[first, morning] = limit
        due |= {(budget.name, first, limit): at for (first, at), limit in found.items()}
    return due


def _judge(
    outcome: Outcome,
    story: Story,
    seen: Sequence[tuple[dt.date, Alert]],
    due: Mapping[tuple[str, dt.date, Decimal], dt.date],
    bills: Mapping[dt.date, Bill],
    simulator: Simulator,
) -> None:
    ids: Counter[tuple[str, Decimal | None]] = Counter()
    heard: dict[tuple[str, dt.date, Decimal], dt.date] = {}
    jumps: set[dt.date] = set()
    for today, alert in seen:
        outcome.told[alert.kind] += 1
        said = f"{today}: {alert.kind} {alert.message}"
        if alert.kind == "budget":
            assert alert.threshold is not None  # noqa: S101
            assert alert.amount is not None  # noqa: S101
            key = (alert.subject, dt.date.fromisoformat(alert.id.split(":")[2]), alert.threshold)
            if key[1] < FIRST:
                continue
            # Past the last percentage, each further half of a budget is told again.
            step = int(alert.amount / alert.threshold * 100) // 50
            ids[alert.id, alert.threshold + step] += 1
            if key not in heard:
                heard[key] = today
                if due.get(key) != today:
                    outcome.false.append(said)
        elif alert.kind in ("jump", "new"):
            assert alert.day is not None  # noqa: S101
            ids[alert.id, alert.amount] += 1
            real = [day for day in story.up if day <= alert.day < day + SETTLES * DAY]
            jumps.update(real)
            known = _is_new if alert.kind == "new" else _is_jump
            if not real and not known(alert, simulator):
                outcome.false.append(said)
        elif alert.kind == "forecast":
            ids[alert.id, alert.amount] += 1
            first = dt.date.fromisoformat(alert.id.split(":")[2])
            outcome.projections[
                any(k[:2] == (alert.subject, first) for k in due if _whole(k, alert))
            ] += 1
        else:
            ids[alert.id, alert.amount] += 1
            if not _is_drop(alert, simulator):
                outcome.false.append(said)
    outcome.due = len(due) + len(story.up)
    outcome.missed += [
        f"{at}: {key[0]} past {key[2]}" for key, at in due.items() if key not in heard
    ]
    outcome.missed += [f"{day}: the event of that day" for day in story.up if day not in jumps]
    outcome.repeats += [f"{name} ({count} times)" for (name, _), count in ids.items() if count > 1]


def _whole(key: tuple[str, dt.date, Decimal], alert: Alert) -> bool:
    return key[2] == alert.threshold


def _ledger(alert: Alert, simulator: Simulator, first: dt.date, days: int) -> list[Decimal]:
    """Return what an alert's subject cost on some days."""
    _, kind, *rest = alert.id.split(":")
    by = {"workspace": ("workspace_id",), "model": ("model",)}.get(kind, ())
    key = (rest[0] if len(rest) > 1 else None,) if by else ()
    every = (first + step * DAY for step in range(days))
    return [simulator.ledger.cost(day, day + DAY, by=by).get(key, Decimal(0)) for day in every]


def _is_new(alert: Alert, simulator: Simulator) -> bool:
    """Tell whether something cost nothing in the eight weeks before it was told."""
    begun = dt.date.fromisoformat(alert.id.rpartition(":")[2])
    return not any(_ledger(alert, simulator, begun - 56 * DAY, 56))


def _is_jump(alert: Alert, simulator: Simulator) -> bool:
    """Tell whether, seen from later, a day is like none before, or another level begins with it."""
    assert alert.day is not None  # noqa: S101
    before = _ledger(alert, simulator, alert.day - 28 * DAY, 28)
    since = _ledger(alert, simulator, alert.day, 7)
    return since[0] > max(before) * 3 / 2 or sum(since) / 7 > sum(before) / 28 * 3 / 2


def _is_drop(alert: Alert, simulator: Simulator) -> bool:
    """Tell whether the cache rate fell as far as an alert says."""
    assert alert.day is not None  # noqa: S101
    assert alert.amount is not None  # noqa: S101
    end, rates = alert.day + DAY, []
    for first, until in ((end - 35 * DAY, end - 7 * DAY), (end - 7 * DAY, end)):
        used = simulator.ledger.usage(first, until)[()]
        reads = used["cache_read_input_tokens"]
        writes = used["cache_creation_1h_input_tokens"] + used["cache_creation_5m_input_tokens"]
        rates.append(Decimal(100 * reads) / (reads + writes + used["uncached_input_tokens"]))
    return rates[0] - rates[1] >= Decimal(10) and abs(rates[0] - rates[1] - alert.amount) < 1


def fired(daily: Sequence[float], first: dt.date, start: int) -> Iterator[tuple[int, str]]:
    """Yield the place and kind of what is told of a series, each morning from `start` on."""
    for place in range(start, len(daily)):
        today = first + (place + 1) * DAY
        begun = max(0, place - (today - DAY).day - 84)
        known = {first + at * DAY: Decimal(f"{daily[at]:.2f}") for at in range(begun, place + 1)}
        found = events(
            {EVERYTHING: known},
            first + begun * DAY,
            today,
            factor=DEFAULTS.jump_factor or Decimal(2),
            least_usd=DEFAULTS.jump_usd,
        )
        yield from ((place, event.kind) for event in found if today - DAY in event.days)


def detector(count: int, first_seed: int = 0) -> dict[str, float]:
    """Return percentages: of days told in vain, by kind, and of real jumps found."""
    rates = {}
    for name, kind, young in (
        ("calm", "weekday pattern", False),
        ("spiky", "spiky", False),
        ("sparse", "sparse", False),
        ("young", "weekday pattern", True),
    ):
        told = days = 0
        for seed in range(count):
            one = series.made(kind, 20_000 + first_seed + seed)
            daily = ([0.0] * 60 if young else []) + list(one.daily)
            first = one.first_day - (60 * DAY if young else dt.timedelta())
            start = 60 if young else 0
            told += sum(kind == "jump" for _, kind in fired(daily, first, start))
            days += len(daily) - start
        rates[name] = 100 * told / days
    found = asked = 0
    for seed in range(4 * count):
        one = series.made("weekday pattern", 30_000 + first_seed + seed)
        rng = random.Random(seed)
        place = rng.randrange(60, len(one.daily))
        daily = [*one.daily[:place], one.daily[place] * 2.5]
        # What is below the floor in dollars is no jump, by definition.
        if daily[-1] - one.daily[place] < float(DEFAULTS.jump_usd) * 2:
            continue
        asked += 1
        found += any(kind == "jump" for _, kind in fired(daily, one.first_day, place))
    rates["x2.5 found"] = 100 * found / asked
    return rates


def main() -> int:
    """Print both tables, and what is out of bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--organisations", type=int, default=12)
    parser.add_argument("--series", type=int, default=30, help="made series of each kind")
    parser.add_argument("--seed", type=int, default=0, help="add this to the seeds of series")
    options = parser.parse_args()
    broken = []
    print(
        "| organisation | runs | due | told: budget, forecast, jump, new, cache | ends | missed | "
        "false | repeats | forecasts that came true |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    whole = Outcome()
    for seed, story in enumerate(stories()[: options.organisations]):
        one = replay(seed, story)
        _print(story.name, one)
        for sentence in one.false:
            print(f"false: {story.name}: {sentence}", file=sys.stderr)
        for name in ("missed", "repeats"):
            broken += [f"{story.name}: {name}: {what}" for what in getattr(one, name)]
        whole = Outcome(
            runs=whole.runs + one.runs,
            due=whole.due + one.due,
            told=whole.told + one.told,
            missed=whole.missed + one.missed,
            false=whole.false + one.false,
            projections=whole.projections + one.projections,
            repeats=whole.repeats + one.repeats,
            ends=whole.ends + one.ends,
        )
    _print("all", whole)
    if 100 * len(whole.false) > FALSE_AT_MOST * whole.runs:
        broken.append(f"{len(whole.false)} false alerts in {whole.runs} runs")
    print("\n| jumps | percent |\n|---|---:|")
    for name, rate in detector(options.series, options.seed).items():
        print(f"| {name} | {rate:.2f} |")
        good = rate >= FOUND_AT_LEAST if "found" in name else rate <= FALSE_AT_MOST
        if not good:
            broken.append(f"jumps: {name}: {rate:.2f} %")
    for sentence in broken:
        print(f"out of bounds: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def _print(name: str, one: Outcome) -> None:
    told = ", ".join(str(one.told[kind]) for kind in ("budget", "forecast", "jump", "new", "cache"))
    cells = (
        name, one.runs, one.due, told, one.ends, len(one.missed), len(one.false), len(one.repeats),
        f"{one.projections[True]} of {one.projections.total()}",
    )  # fmt: skip
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
