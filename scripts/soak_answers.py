"""Ask what organisations spent, and compare each answer with a ledger of fractions.

`make soak-answers`. Two hundred invented organisations and months, each with a bill on terms of its
own (discounts of parts, rounded amounts, null dimensions, late days, credits, mistakes, aliases,
parts that are refused), are put before `report`, `chargeback` in its three groupings and
`reconcile`, at hours around midnight UTC and the ends of months. What is right is reckoned here,
from the events and the price list of the simulator, in `Fraction`, with nothing of the facade.
Prints how many figures were compared and each that is wrong, with the seed that shows it again:
`--seed N --count 1`.
"""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
from anthropic_usage import Retry, UsageClient
from anthropic_usage.analysis.chargeback import Chargeback, chargeback
from anthropic_usage.analysis.reconcile import reconcile
from anthropic_usage.analysis.spend import Spend, spend
from anthropic_usage.engine import flow
from anthropic_usage.simulator import Billing, Credit, Discount, Simulator, Surcharge
from anthropic_usage.simulator.bill import TOKEN_DIMENSIONS, CostLine
from anthropic_usage.simulator.books import POSITIONS
from anthropic_usage.simulator.calendar import MINUTES_PER_DAY, day_of
from anthropic_usage.simulator.events import MEASURES
from anthropic_usage.simulator.prices import Price, load_prices

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
PRICES = load_prices()
FIRST_PRICED = {
    "claude-fable-5-2": dt.date(2026, 11, 9),
    "claude-mythos-5-2": dt.date(2026, 11, 9),
}
"""The day from which public lists have a price, of models that are used here before it."""
BILLED_TIERS = ("standard", "batch")
KINDS = {
    "uncached_input_tokens": "uncached_input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_creation_1h_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_creation_5m_input_tokens",
}
PARTS = ("cost", "usage", "fast_mode", "claude_code")
CENT = Fraction(1, 100)
A_LINE = Fraction(1, 2 * 10**8)
"""How far a line of the bill that was rounded is from the truth, in dollars, at the most."""
CellKey = tuple[Any, ...]
"""Workspace, model, token type, tier, context window, place."""


@attrs.frozen(kw_only=True)
class Case:
    """An organisation, the terms of its bill, and when it is asked about which days."""

    seed: int
    options: dict[str, Any]
    billing: Billing
    now: dt.datetime
    start: dt.datetime
    end: dt.datetime
    refused: tuple[str, ...] = ()

    def simulator(self, *, plain: bool = False) -> Simulator:
        """Return its simulator; a `plain` one has a bill without nulls and aliases."""
        billing = self.billing
        if plain:
            billing = attrs.evolve(billing, nulls=(), null_percent=0, aliases=False)
        return Simulator(**self.options, now=self.now, billing=billing)


def invent(seed: int) -> Case:
    """Draw a case."""
    dice = random.Random(seed)
    first = dt.datetime(2026, dice.randint(2, 11), 1, tzinfo=dt.UTC)
    start = first + DAY * dice.choice((0, 0, 0, 6, 14, 27))
    following = (first + 31 * DAY).replace(day=1)
    end = min(start + DAY * dice.choice((1, 2, 7, 10, 31)), following)
    near = dice.choice((start + DAY, end, end, end + DAY, end + 2 * DAY, end + 20 * DAY))
    shift = dice.choice((-60, -1, 0, 1, 15, 59, 60, 61, 90, 12 * 60, 23 * 60, 24 * 60 - 1))
    now = max(near + dt.timedelta(minutes=shift), start + dt.timedelta(minutes=5))
    options = {"seed": seed, "size": dice.choice((0.1, 0.35, 1.0)), "days": dice.randint(40, 200)}
    days = [(start + step * DAY).date() for step in range((end - start) // DAY)]
    simulator = Simulator(**options, now=now)
    keys = list(_used(simulator, days, now))
    billing = Billing(
        discounts=tuple(_discounts(dice, days, keys)),
        surcharges=tuple(
            Surcharge(
                day=dice.choice(days),
                cents=Decimal(dice.randint(1, 50000)),
                place=dice.randint(0, 99),
            )
            for _ in range(dice.choice((0, 0, 0, 1, 3)))
        ),
        credits=tuple(
            Credit(
                day=dice.choice(days),
                cents=-Decimal(dice.randint(1, 10**7)).scaleb(-2),
                description=dice.choice(("Promotional credit", "Refund", "Credit: outage")),
                workspace_id=dice.choice([None, *(key[0] for key in keys)]),
            )
            for _ in range(dice.choice((0, 0, 1, 2)))
        ),
        rounded=dice.random() < 0.6,
        nulls=frozenset(name for name in TOKEN_DIMENSIONS if dice.random() < 0.06),
        null_percent=dice.choice((0, 0, 0, 5, 30)),
        late={
            day: dice.choice((5, 20, 40, 60)) * HOUR for day in days[-3:] if dice.random() < 0.25
        },
        aliases=dice.random() < 0.3,
        long_percent=dice.choice((0, 0, 40)),
    )
    refused = tuple(part for part in PARTS if dice.random() < 0.06)
    return Case(
        seed=seed, options=options, billing=billing, now=now, start=start, end=end, refused=refused
    )


def _used(simulator: Simulator, days: Iterable[dt.date], now: dt.datetime) -> Iterator[Any]:
    """Yield the workspaces and models that are used."""
    found = {
        (dims[POSITIONS["workspace_id"]], dims[POSITIONS["model"]])
        for day in days
        for _, dims, _ in simulator.books.cells(
            day_of(day) * MINUTES_PER_DAY, MINUTES_PER_DAY, int(now.timestamp())
        )
    }
    yield from sorted(found, key=str)


def _discounts(dice: random.Random, days: list[dt.date], keys: list[Any]) -> Iterator[Discount]:
    kind = dice.choice(("none", "none", "all", "all", "day", "models", "workspaces"))
    share = Decimal(dice.choice((dice.randint(1, 60), 15, 30))).scaleb(-2)
    if kind == "all":
        yield Discount(share=share)
    elif kind == "day":
        yield Discount(share=share, since=dice.choice(days))
    elif keys and kind == "models":
        yield Discount(share=share, models=frozenset({dice.choice(keys)[1]}))
    elif keys and kind == "workspaces":
        yield Discount(share=share, workspaces=frozenset({dice.choice(keys)[0]}))


# The ledger.


@attrs.define
class Cell:
    """What was used of something that the bill can tell from other things, on a day."""

    counts: collections.Counter[str | None] = attrs.field(factory=collections.Counter)
    listed: dict[str | None, Fraction] = attrs.field(
        factory=lambda: collections.defaultdict(Fraction)
    )
    """Dollars at list by key, in the cheapest reading of rows that leave the price open."""
    true: dict[str | None, Fraction] = attrs.field(
        factory=lambda: collections.defaultdict(Fraction)
    )
    """Dollars at list by key."""
    billed: Fraction = Fraction(0)
    open: bool = False
    """Whether rows leave open how much of it cost what."""
    banded: bool = False
    """Whether it is open how many tokens were in long prompts."""
    sent: collections.Counter[str | None] = attrs.field(factory=collections.Counter)
    """Tokens of input beside it, by key."""
    threshold: int = 0
    told: bool = True
    """Whether the bill tells at which ratio to the list it is."""

    def may_be_long(self) -> list[str | None]:
        """Return the keys that sent enough for a long prompt."""
        return [key for key in self.listed if self.sent[key] > self.threshold]

    @property
    def certain(self) -> bool:
        """Whether there is one way to say which key had how many tokens in long prompts."""
        more = self.true != self.listed
        return not more or (self.told and len(self.may_be_long()) == 1)


@attrs.define(kw_only=True)
class Day:
    """A day's truth."""

    date: dt.date
    lines: list[CostLine]
    """As the bill has them."""
    plain: list[CostLine]
    """The same without nulls and aliases."""
    cells: dict[CellKey, Cell] = attrs.field(factory=lambda: collections.defaultdict(Cell))
    tokens: collections.Counter[str] = attrs.field(factory=collections.Counter)
    searches: dict[Any, collections.Counter[str | None]] = attrs.field(
        factory=lambda: collections.defaultdict(collections.Counter)
    )
    by_key: collections.Counter[str | None] = attrs.field(factory=collections.Counter)
    unbilled: collections.Counter[str] = attrs.field(factory=collections.Counter)
    """Tokens of other tiers."""
    beside: collections.Counter[str] = attrs.field(factory=collections.Counter)
    """What they cost at standard prices, in the cheapest reading."""

    @property
    def billed(self) -> Fraction:
        """Dollars."""
        return sum((dollars(line.amount) for line in self.lines), Fraction(0))


def dollars(cents: Decimal) -> Fraction:
    """Return dollars."""
    return Fraction(cents) / 100


class Truth:
    """What the answers of a case are to be."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._simulator, self._plain = case.simulator(), case.simulator(plain=True)
        self._days: dict[dt.date, Day] = {}
        self.settled = self._settled()
        self.billed_until = self._billed_until()

    def day(self, date: dt.date) -> Day:
        """Return a day's truth."""
        if date not in self._days:
            self._days[date] = self._reckoned(date)
        return self._days[date]

    def span(self, start: dt.datetime, end: dt.datetime) -> list[Day]:
        """Return the truth of several days."""
        return [self.day((start + step * DAY).date()) for step in range((end - start) // DAY)]

    @property
    def billed(self) -> list[Day]:
        """The days of the range that are billed."""
        return self.span(self.case.start, self.billed_until)

    def _settled(self) -> dt.datetime:
        last = (self.case.now - HOUR).replace(hour=0, minute=0, second=0, microsecond=0)
        return max(self.case.start, min(self.case.end, last))

    def _billed_until(self) -> dt.datetime:
        """Return the end of the last day that has its bill, or is too old to expect one."""
        until = self.case.start
        now = int(self.case.now.timestamp())
        closed = self.case.now.replace(hour=0, minute=0, second=0, microsecond=0)
        day = self.case.start
        while day < min(self.case.end, closed):
            there = bool(self._simulator.ledger.cost_lines(day_of(day), now))
            if (
                there
                or self.case.now.replace(hour=0, minute=0, second=0, microsecond=0) - (day + DAY)
                >= 2 * DAY
            ):
                until = day + DAY
            day += DAY
        return min(until, self.settled)

    def _reckoned(self, date: dt.date) -> Day:
        number, now = day_of(date), int(self.case.now.timestamp())
        day = Day(
            date=date,
            lines=self._simulator.ledger.cost_lines(number, now),
            plain=self._plain.ledger.cost_lines(number, now),
        )
        for stream, dims, measures in self._simulator.books.cells(
            number * MINUTES_PER_DAY, MINUTES_PER_DAY, now
        ):
            named = {name: dims[place] for name, place in POSITIONS.items()}
            counts = dict(zip(MEASURES, measures, strict=True))
            long = self.case.billing.is_long(stream)
            day.tokens.update(counts)
            day.by_key[named["api_key_id"]] += sum(measures[:5])
            if searches := counts["web_search_requests"]:
                day.searches[named["workspace_id"]][named["api_key_id"]] += searches
            if named["service_tier"] not in BILLED_TIERS:
                price = PRICES.of(named["model"], date.isoformat())
                tier = str(named["service_tier"])
                day.unbilled[tier] += sum(measures[:5])
                if not unpriced(price.model, date):
                    day.beside[tier] += sum(
                        (
                            counts[measure] * list_rate(price, kind, named)
                            for kind, measure in KINDS.items()
                        ),
                        Fraction(0),
                    )
                continue
            self._count(day, named, counts, long=long)
        for where, cell in day.cells.items():
            for (workspace, model, kind, *rest), other in day.cells.items():
                if "input" in kind and (workspace, model, *rest) == (*where[:2], *where[3:]):
                    cell.sent.update(other.counts)
        for line in day.plain:
            if line.cost_type == "tokens":
                day.cells[cell_of(line)].billed += dollars(line.amount)
        return day

    def _count(
        self, day: Day, named: dict[str, Any], counts: dict[str, int], *, long: bool
    ) -> None:
        price = PRICES.of(named["model"], day.date.isoformat())
        known = FIRST_PRICED.get(price.model, day.date) <= day.date
        threshold = price.hidden_threshold
        sent = sum(count for name, count in counts.items() if "input" in name)
        unread = "fast_mode" in self.case.refused and price.entry.fast is not None
        for kind, measure in KINDS.items():
            if not (tokens := counts[measure]):
                continue
            rate = list_rate(price, kind, named)
            band = price.entry.long_context
            more = Fraction(1)
            if threshold is not None and band is not None and long and sent > threshold:
                out = kind == "output_tokens"
                more = Fraction(band.output_multiplier if out else band.input_multiplier)
            cell = day.cells[
                (
                    named["workspace_id"],
                    price.model,
                    kind,
                    named["service_tier"],
                    named["context_window"],
                    named["inference_geo"],
                )
            ]
            key = named["api_key_id"]
            cell.counts[key] += tokens
            cell.banded |= threshold is not None
            cell.threshold = threshold or 0
            discounts = self.case.billing.discounts
            cell.told &= not self.case.billing.surcharges and all(
                one == Discount(share=one.share) for one in discounts
            )
            cell.listed[key] += tokens * rate
            cell.true[key] += tokens * rate * more
            # Without a price, or a reading of the fast mode, what it costs within a cell is open.
            cell.open |= (
                threshold is not None or unread or (not known and price.entry.fast is not None)
            )


def list_rate(price: Price, kind: str, named: Mapping[str, Any]) -> Fraction:
    """Return dollars a token."""
    entry = price.entry
    rate = Fraction(entry.usd_per_mtok[kind]) / 10**6
    if named["service_tier"] == "batch":
        rate *= Fraction(entry.batch_multiplier)
    if named["inference_geo"] == "us" and entry.us_geo_multiplier:
        rate *= Fraction(entry.us_geo_multiplier)
    if named["speed"] == "fast" and entry.fast is not None:
        rate *= Fraction(entry.fast.multiplier)
    band = entry.long_context
    if named["context_window"] == "200k-1M" and band is not None:
        out = kind == "output_tokens"
        rate *= Fraction(band.output_multiplier if out else band.input_multiplier)
    return rate


def cell_of(line: CostLine) -> CellKey:
    """Return which cell a line without nulls is for."""
    return (line.workspace_id, *(getattr(line, name) for name in TOKEN_DIMENSIONS))


def owed(day: Day, aliases: Mapping[str, str]) -> tuple[dict[Any, Fraction], dict[Any, Fraction]]:
    """Return what each key owes at the least and at the most, in dollars.

    The two are one where only one assignment of the day's lines to its use agrees with the bill.
    """
    least: dict[Any, Fraction] = collections.defaultdict(Fraction)
    most: dict[Any, Fraction] = collections.defaultdict(Fraction)
    for line in day.lines:
        if line.cost_type == "web_search":
            counts = day.searches[line.workspace_id]
            for key, count in counts.items():
                part = dollars(line.amount) * count / sum(counts.values())
                least[key] += part
                most[key] += part
    for lines, cells in components(day, aliases):
        amount = sum((dollars(line.amount) for line in lines), Fraction(0))
        sure = certain(lines, cells, aliases)
        keys = {key for cell in cells for key in day.cells[cell].listed}
        listed = sum((sum(day.cells[cell].listed.values()) for cell in cells), Fraction(0))
        is_open = any(day.cells[cell].open or day.cells[cell].banded for cell in cells)
        at_list = not is_open and abs(amount - listed) <= A_LINE * len(lines)
        for key in keys:
            if at_list:
                low = high = sum(
                    (
                        day.cells[cell].listed[key]
                        for cell in cells
                        if key in day.cells[cell].listed
                    ),
                    Fraction(0),
                )
            elif not sure:
                low, high = (
                    (amount, amount)
                    if len(keys) == 1
                    else (min(amount, Fraction(0)), max(amount, Fraction(0)))
                )
            else:
                low = high = Fraction(0)
                for where in cells:
                    part = shares(day.cells[where], key)
                    low, high = low + part[0], high + part[1]
            least[key] += low
            most[key] += high
    return least, most


def shares(cell: Cell, key: str | None) -> tuple[Fraction, Fraction]:
    """Return what a key owes of a cell, at the least and at the most."""
    if key not in cell.listed:
        return Fraction(0), Fraction(0)
    if len(cell.listed) == 1:
        return cell.billed, cell.billed
    if cell.open or not cell.certain:
        return min(cell.billed, Fraction(0)), max(cell.billed, Fraction(0))
    part = cell.billed * cell.true[key] / sum(cell.true.values())
    return part, part


def fits(line: CostLine, cell: CellKey, aliases: Mapping[str, str]) -> bool:
    """Tell whether a line can be for a cell: what it names is the cell's."""
    named = zip((getattr(line, name) for name in TOKEN_DIMENSIONS), cell[1:], strict=True)
    return line.workspace_id == cell[0] and all(
        said is None or said in (value, aliases.get(value, value)) for said, value in named
    )


def components(
    day: Day, aliases: Mapping[str, str]
) -> Iterator[tuple[list[CostLine], list[CellKey]]]:
    """Yield lines for tokens with the cells that they may be for, in parts without a common one."""
    left = [line for line in day.lines if line.cost_type == "tokens"]
    cells = list(day.cells)
    while left:
        lines = [left.pop()]
        reached: list[CellKey] = []
        for line in lines:
            reached += [cell for cell in cells if cell not in reached and fits(line, cell, aliases)]
            more = [one for one in left if any(fits(one, cell, aliases) for cell in reached)]
            lines += more
            left = [one for one in left if all(one is not taken for taken in more)]
        yield lines, reached


def certain(lines: list[CostLine], cells: list[CellKey], aliases: Mapping[str, str]) -> bool:
    """Tell whether what can only be one way leaves nothing open."""
    taken: set[CellKey] = set()
    left = [(line, {cell for cell in cells if fits(line, cell, aliases)}) for line in lines]
    while left:
        forced = [options - taken for _, options in left if len(options - taken) == 1]
        if not forced:
            return False
        now = set().union(*forced)
        left = [
            (line, options)
            for line, options in left
            if not (options - taken) <= now or len(options - taken) != 1
        ]
        taken |= now
    return True


# The checks.


@attrs.define
class Tally:
    """What was compared, and what is wrong."""

    seed: int = 0
    compared: collections.Counter[str] = attrs.field(factory=collections.Counter)
    wrong: list[str] = attrs.field(factory=list)

    def same(self, what: str, got: object, right: object) -> None:
        """Compare one figure."""
        self.compared[what] += 1
        if got != right:
            self.wrong.append(f"seed {self.seed}, {what}: {got} is {right}")

    def within(self, what: str, got: Fraction, low: Fraction, high: Fraction) -> None:
        """Compare a figure with the least and the most that it can be."""
        self.compared[what] += 1
        if not low <= got <= high:
            self.wrong.append(
                f"seed {self.seed}, {what}: {float(got):.8f} is "
                f"{float(low):.8f} to {float(high):.8f}"
            )


def whole(amount: Any) -> Fraction | None:
    """Return an amount as a fraction."""
    return None if amount is None else Fraction(amount)


def check_report(case: Case, truth: Truth, client: UsageClient, tally: Tally) -> None:
    """Compare `report`."""
    refused = set(case.refused)
    answer = attempt(lambda: spend(client, case.start, case.end))
    if {"cost", "usage"} <= refused:
        tally.same("report refused", answer is None, True)
        return
    if answer is None:
        tally.same("report", "no answer", "an answer")
        return
    notes = " ".join(answer.notes)
    if "cost" in refused:
        tally.same("report refused: bill", answer.billed, None)
        counted = case.end
    else:
        until = truth.billed_until
        counted = until if until > case.start else case.end
        tally.same("report days: billed until", answer.billed_until, until)
        late = [day.date for day in truth.span(until, truth.settled)]
        tally.same("report days: late", list(answer.late), late)
        days = truth.billed
        tally.same("report: billed", whole(answer.billed), total(days))
        before = truth.span(case.start - len(days) * DAY, case.start)
        tally.same("report: before", whole(answer.before), total(before))
        tally.same(
            "report: by day",
            {one.day: Fraction(one.billed) for one in answer.by_day},
            {day.date: day.billed for day in days},
        )
        for name, parts, of in (
            ("workspace", answer.by_workspace, lambda line: line.workspace_id),
            ("model", answer.by_model, None),
            ("kind", answer.by_kind, None),
        ):
            sums = sum((Fraction(part.billed) for part in parts), Fraction(0))
            tally.same(f"report: sum by {name}", sums, total(days))
            if of is not None:
                right = by(days, of)
                got = {
                    part.id: Fraction(part.billed)
                    for part in parts
                    if part.billed or part.id in right
                }
                tally.same(f"report: by {name}", got, right)
        for credit in {
            line.description for day in days for line in day.lines if line.cost_type is None
        }:
            named = any(credit in part.name for part in answer.by_kind)
            tally.same("report: description of a credit", named, True)
    check_usage(case, truth, answer, counted, tally)
    for part, name in (("cost", "bill"), ("usage", "usage"), ("claude_code", "Claude Code")):
        if part in refused:
            tally.same(f"report refused: {part} in notes", name in notes and "403" in notes, True)
    if "claude_code" in refused:
        tally.same("report refused: coding", answer.coding, None)
    elif answer.coding is not None:
        sums = truth._simulator.ledger.claude_code(case.start, min(counted, case.now + DAY))
        sessions = sum(one["num_sessions"] for one in sums.values())
        tally.same("report: sessions", answer.coding.sessions, sessions)


def check_usage(
    case: Case, truth: Truth, answer: Spend, counted: dt.datetime, tally: Tally
) -> None:
    """Compare what `report` says of tokens."""
    if "usage" in case.refused:
        tally.same("report refused: tokens", (dict(answer.tokens), answer.caching), ({}, None))
        return
    days = truth.span(case.start, min(counted, case.now + DAY))
    right: collections.Counter[str] = collections.Counter()
    for day in days:
        right.update(day.tokens)
    got = {name: now for name, (now, _) in answer.tokens.items()}
    tally.same("report: tokens", got, {name: right[name] for name in got})
    if answer.compared_from is not None:
        before: collections.Counter[str] = collections.Counter()
        for day in truth.span(answer.compared_from, case.start):
            before.update(day.tokens)
        then = {name: count for name, (_, count) in answer.tokens.items()}
        tally.same("report: tokens before", then, {name: before[name] for name in then})
    keys: collections.Counter[str | None] = collections.Counter()
    for day in days:
        keys.update(day.by_key)
    tally.same("report: keys", {key.id: key.tokens for key in answer.keys}, dict(keys))
    listed: dict[Any, list[Fraction]] = collections.defaultdict(lambda: [Fraction(0)] * 2)
    for day in days:
        for cell in day.cells.values():
            for key, amount in cell.true.items():
                listed[key][0] += cell.listed[key]
                listed[key][1] += amount
    for key in answer.keys:
        if key.low is not None and not key.unpriced_tokens and key.high is not None:
            searches = sum(one[key.id] for day in days for one in day.searches.values())
            amount = Fraction(searches, 100) + listed[key.id][1]
            tally.within("report: list of a key", amount, Fraction(key.low), Fraction(key.high))
    reads = right["cache_read_input_tokens"]
    every = reads + sum(
        count for name, count in right.items() if "input" in name and "read" not in name
    )
    if answer.caching is not None:
        tally.same(
            "report: cache efficiency", answer.caching.efficiency, reads / every if every else None
        )


def total(days: Iterable[Day]) -> Fraction:
    """Return the bill of days."""
    return sum((day.billed for day in days), Fraction(0))


def by(days: Iterable[Day], of: Callable[[CostLine], Any]) -> dict[Any, Fraction]:
    """Return the bill of days by something."""
    sums: dict[Any, Fraction] = collections.defaultdict(Fraction)
    for day in days:
        for line in day.lines:
            sums[of(line)] += dollars(line.amount)
    return dict(sums)


def check_chargeback(case: Case, truth: Truth, client: UsageClient, tally: Tally) -> None:
    """Compare `chargeback` in its three groupings."""
    days = truth.billed
    for grouping in ("workspace", "api_key", "model"):
        answer = attempt(lambda by=grouping: chargeback(client, case.start, case.end, by=by))
        if "cost" in case.refused or not days:
            tally.same("chargeback refused", answer, None)
            continue
        if answer is None:
            tally.same("chargeback", f"{grouping}: no answer", "an answer")
            continue
        exact = total(days)
        tally.same("chargeback: billed", Fraction(answer.exact_usd), exact)
        tally.same(
            "chargeback: cents of the bill", Fraction(answer.billed_usd), round(exact * 100) * CENT
        )
        parts = sum((Fraction(line.exact_usd) for line in answer.lines), Fraction(0))
        tally.same("chargeback: sum", parts, exact)
        cents = sum((Fraction(line.amount_usd) for line in answer.lines), Fraction(0))
        tally.same("chargeback: sum of cents", cents, Fraction(answer.billed_usd))
        tally.same("chargeback days: settled", answer.settled, truth.billed_until >= case.end)
        if grouping == "workspace":
            right = by(days, lambda line: line.workspace_id)
            tally.same(
                "chargeback: by workspace",
                {line.id: Fraction(line.exact_usd) for line in answer.lines},
                right,
            )
        elif grouping == "model":
            check_models(case, days, answer, tally)
        elif "usage" not in case.refused:
            check_keys(days, answer, tally)


def check_models(case: Case, days: list[Day], answer: Chargeback, tally: Tally) -> None:
    """Compare parts by model; what the bill itself leaves open is not."""
    if any(line.cost_type == "tokens" and line.model is None for day in days for line in day.lines):
        return
    right: dict[Any, Fraction] = collections.defaultdict(Fraction)
    for day in days:
        for line in day.plain:
            if line.model:
                right[PRICES.aliases.get(line.model)] += dollars(line.amount)
    got: dict[Any, Fraction] = collections.defaultdict(Fraction)
    for part in answer.lines:
        if part.id is not None:
            got[PRICES.aliases.get(part.id, part.id)] += Fraction(part.exact_usd)
    tally.same("chargeback: by model", dict(got), dict(right))


def check_keys(days: list[Day], answer: Chargeback, tally: Tally) -> None:
    """Compare parts by key."""
    least: dict[Any, Fraction] = collections.defaultdict(Fraction)
    most: dict[Any, Fraction] = collections.defaultdict(Fraction)
    lines = 0
    for day in days:
        lines += len(day.lines)
        low, high = owed(day, PRICES.aliases)
        for key in low:
            least[key] += low[key]
            most[key] += high[key]
    got = {line.id: Fraction(line.exact_usd) for line in answer.lines if line.id is not None}
    for key in {*got, *filter(None, most)}:
        # A mistake in a line is charged to its keys; half a cent is what printing may round.
        if least[key] == most[key]:
            tally.within(
                "chargeback: key",
                got.get(key, Fraction(0)),
                least[key] - CENT / 2,
                most[key] + CENT / 2,
            )
        else:
            tally.within(
                "chargeback: key among several assignments",
                got.get(key, Fraction(0)),
                least[key] - CENT / 2,
                most[key] + CENT / 2,
            )


def check_reconcile(case: Case, truth: Truth, client: UsageClient, tally: Tally) -> None:
    """Compare `reconcile`: what it names is what the ledger did."""
    days = truth.billed
    answer = attempt(lambda: reconcile(client, case.start, case.end))
    if not days or {"cost", "usage"} & {*case.refused}:
        tally.same("reconcile refused", answer, None)
        return
    if answer is None:
        tally.same("reconcile", "no answer", "an answer")
        return
    named = {residual.name: Fraction(residual.amount) for residual in answer.residuals}
    tally.same("reconcile days: until", answer.ending_at, truth.billed_until)
    tally.same("reconcile: billed", Fraction(answer.billed), total(days))
    whole_sum = Fraction(answer.list_cost) + sum(named.values())
    tally.same("reconcile: list and residuals", whole_sum, total(days))
    cells = sum((Fraction(cell.billed) for cell in answer.cells), Fraction(0))
    tally.same("reconcile: sum of cells", cells, total(days))
    for residual in answer.residuals:
        if residual.parts:
            parts = sum((Fraction(part.amount) for part in residual.parts), Fraction(0))
            tally.same("reconcile: parts of a residual", parts, Fraction(residual.amount))
    right = Residuals.of(case, days)
    slack = A_LINE * sum(len(day.lines) for day in days)
    if right.open:
        of_list = [
            sum((one[name] for name in right.open & {*one}), Fraction(0))
            for one in (named, right.amounts)
        ]
        tally.within(
            "reconcile: what nulls mix",
            of_list[0],
            of_list[1] - slack,
            of_list[1] + slack,
        )
    for name in {*right.amounts, *named} - right.open - right.unknown:
        off = named.get(name, Fraction(0)), right.amounts.get(name, Fraction(0))
        tally.within(f"reconcile: {right.kind(name)}", off[0], off[1] - slack, off[1] + slack)


@attrs.define
class Residuals:
    """What the ledger did to a bill, in dollars, by the name that it is to have."""

    amounts: collections.Counter[str] = attrs.field(factory=collections.Counter)
    open: set[str] = attrs.field(factory=set)
    """Names among which nothing says how much is whose: where lines are for several uses, each on
    terms of its own. Their sum is right."""
    unknown: set[str] = attrs.field(factory=set)
    """Names that take what the reading of prices leaves open."""

    @staticmethod
    def kind(name: str) -> str:
        """Return a name without what is in it."""
        return "other lines" if name.startswith("other") else name

    @classmethod
    def of(cls, case: Case, days: list[Day]) -> Residuals:
        """Reckon them."""
        found = cls()
        for day in days:
            found._count(case, day)
        terms = case.billing
        names = {"discount", "unexplained", "rounding", "unpriced", "web search"}
        mixed = bool(terms.nulls or terms.null_percent)
        apart = terms.surcharges or any(one != Discount(share=one.share) for one in terms.discounts)
        banded = mixed and any(cell.banded for day in days for cell in day.cells.values())
        if "fast_mode" in case.refused or banded:
            # The list cost itself is the cheapest reading of what was used.
            found.unknown = names | {"price band", "no bill"}
        elif (mixed and (apart or found.amounts["unpriced"])) or hidden(terms, days):
            found.open = names
        return found

    def _count(self, case: Case, day: Day) -> None:
        amounts = self.amounts
        used = any(cell.true for cell in day.cells.values())
        for line in day.plain:
            if line.cost_type is None:
                amounts[f"other: {line.description}"] += dollars(line.amount)
            elif line.cost_type in ("code_execution", "session_usage"):
                amounts[line.cost_type.replace("_", " ")] += dollars(line.amount)
        for tier, cost in day.beside.items():
            amounts[f"{tier.replace('_', ' ')} tier"] -= cost
        if not any(line.cost_type in ("tokens", "web_search") for line in day.lines):
            if used:
                amounts["no bill"] -= sum(
                    (amount for cell in day.cells.values() for amount in cell.true.values()),
                    Fraction(day.tokens["web_search_requests"], 100),
                )
            return
        for extra in case.billing.surcharges:
            if extra.day == day.date:
                lines = [line for line in day.plain if line.cost_type == "tokens"]
                line = lines[extra.place % len(lines)]
                amounts["unpriced" if unpriced(line.model, day.date) else "unexplained"] += dollars(
                    extra.cents
                )
        searches = {line.workspace_id: line for line in day.plain if line.cost_type == "web_search"}
        for key, cell in day.cells.items():
            listed = sum(cell.true.values(), Fraction(0))
            share = taken_off(case, day.date, key[1], key[0])
            if unpriced(key[1], day.date):
                amounts["unpriced"] += listed * (1 - share)
            else:
                amounts["discount"] -= listed * share
        for workspace, line in searches.items():
            share = taken_off(case, day.date, None, workspace)
            amounts["discount"] -= dollars(line.amount) / (1 - share) * share


def hidden(terms: Billing, days: list[Day]) -> bool:
    """Tell whether a discount is of so few lines that a mistake in one of them hides it."""
    mistaken = sum(extra.day in {day.date for day in days} for extra in terms.surcharges)
    return any(
        sum(discount.holds(day_of(day.date), line) for day in days for line in day.plain)
        < mistaken + 3
        for discount in terms.discounts
        if mistaken
    )


def unpriced(model: str | None, date: dt.date) -> bool:
    """Tell whether public lists have no price of a model yet."""
    return FIRST_PRICED.get(str(model), date) > date


def taken_off(case: Case, date: dt.date, model: str | None, workspace: str | None) -> Fraction:
    """Return the share that is taken off the list."""
    line = CostLine(workspace, "", "tokens", Decimal(0), model)
    for discount in case.billing.discounts:
        if discount.holds(day_of(date), line):
            return Fraction(discount.share)
    return Fraction(0)


def attempt(ask: Callable[[], Any]) -> Any:
    """Return an answer; None if it was refused."""
    from anthropic_usage import AnthropicUsageError

    try:
        return ask()
    except AnthropicUsageError:
        return None


def run(first: int, count: int) -> Tally:
    """Put cases before every answer."""
    flow.STALE = dt.timedelta.max / 2  # the organisations live in their own time
    tally = Tally()
    for seed in range(first, first + count):
        tally.seed = seed
        case = invent(seed)
        truth = Truth(case)
        simulator = case.simulator()
        simulator.faults = [f"403@{part}" for part in case.refused]
        with (
            simulator.serve() as server,
            UsageClient(
                Simulator.DEMO_KEY,
                base_url=server.url,
                retry=Retry(attempts=2, base=0.001),
                clock=lambda at=case.now: at,
            ) as client,
        ):
            check_report(case, truth, client, tally)
            check_chargeback(case, truth, client, tally)
            check_reconcile(case, truth, client, tally)
    return tally


def main() -> int:
    """Print what was compared and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    began = time.monotonic()
    tally = run(options.seed, options.count)
    for line in tally.wrong[:40]:
        print(line)
    for what, count in sorted(tally.compared.items()):
        print(f"{count:8,}  {what}")
    print(
        f"soak-answers: {options.count} organisations, {sum(tally.compared.values()):,} figures, "
        f"{len(tally.wrong)} wrong, {time.monotonic() - began:.0f} s"
    )
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
