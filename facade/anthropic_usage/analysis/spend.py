"""What was spent in a range and in the same span before it, and what for."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from ..directory import Directory
from ..errors import AnthropicUsageError, PermissionDenied
from ..moments import Moment, utc_now
from ..money import ZERO, add, divide, quantize, subtract, total
from ..reports import COST, CostRow, UsageRow
from .chargeback import split_cents
from .charges import charge_kind, charge_name, kind_name
from .days import Bill, Days, Span, read_bill, uneven
from .owners import OwnerMap
from .people import People, people
from .priced import PricedUsage, read_priced_usage
from .prices import WEB_SEARCH, PriceTable, add_costs
from .source import Source, optional, reason

__all__ = ["Caching", "Coding", "DaySpend", "KeySpend", "Slice", "Spend", "spend"]

_BILLED_TIERS = ("standard", "batch")
_UNBILLED_TIERS = ("priority",)
"""Tiers of which the documentation says that the cost report leaves them out."""
_LINE = ("workspace_id", "model", "cost_type", "token_type", "description")


@attrs.frozen(kw_only=True)
class Slice:
    """Billed US dollars of one model, workspace or kind of charge, now and in the span before."""

    id: str | None
    name: str
    billed: Decimal
    amount_usd: Decimal
    """The same in whole cents, which add up to the bill as `chargeback` splits it."""
    before: Decimal | None
    """None if nothing is compared."""


@attrs.frozen(kw_only=True)
class DaySpend:
    """A day's bill in US dollars, and its parts: models, and what is charged without one."""

    day: dt.date
    billed: Decimal
    by_model: Mapping[str, Decimal]


@attrs.frozen(kw_only=True)
class KeySpend:
    """What an API key's use costs by the list, in US dollars; the bill does not name keys."""

    id: str | None
    name: str
    low: Decimal | None
    high: Decimal | None
    """None if no token of the key has a price."""
    tokens: int
    unpriced_tokens: int
    """Tokens without a list price, which the amounts leave out."""


@attrs.frozen(kw_only=True)
class Caching:
    """Prompt caching: tokens, and US dollars saved against sending all input afresh."""

    read_tokens: int
    input_tokens: int
    """All input: uncached, cache writes and cache reads."""
    efficiency: float | None
    """Cache reads as a share of all input; None where there was no input."""
    before: float | None
    """The same in the span before; None too if nothing is compared."""
    saved_low: Decimal | None
    saved_high: Decimal | None
    """None if no model that was used has a price."""
    unpriced_tokens: int
    """Tokens without a list price, which the amounts leave out."""


@attrs.frozen(kw_only=True)
class Coding:
    """What Claude Code did, for people and API keys together.

    Only the estimated cost of API customers overlaps the bill.
    """

    people: int
    """People who did anything at all."""
    sessions: int
    lines_added: int
    lines_removed: int
    commits: int
    pull_requests: int
    accepted: int
    rejected: int
    estimated_cost: Decimal
    """Of everybody."""
    estimated_api: Decimal
    """Of those on the API, people and keys: a part of the bill."""
    estimated_subscription: Decimal
    """Of those on a subscription: no part of the bill."""
    people_on_api: int
    cost_per_person: Decimal | None
    """The estimated cost of the people on the API, for each of them."""
    who: People
    """The same for whoever answers for a team: people, teams, weeks, and keys apart from them."""

    def without_names(self) -> Coding:
        """Return the same without anything about any one person."""
        return attrs.evolve(self, who=self.who.without_names())


@attrs.frozen(kw_only=True)
class Spend:
    """A range's spend, all amounts in US dollars, exact, all parts over the same days."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    billed_until: dt.datetime
    """The end of the last day that has its bill."""
    counted_until: dt.datetime
    """The end of the last day whose use is counted: `billed_until`, unless no day has a bill."""
    late: tuple[dt.date, ...]
    """Days whose bill is empty and can still come."""
    compared_from: dt.datetime | None
    """Where the span before begins: as many days before `starting_at` as have a bill since; None
    if nothing is compared."""
    organization: str | None
    billed: Decimal | None
    """None if the bill could not be read."""
    before: Decimal | None
    """None if nothing is compared."""
    by_day: tuple[DaySpend, ...]
    """Every billed day."""
    by_model: tuple[Slice, ...]
    by_workspace: tuple[Slice, ...]
    by_kind: tuple[Slice, ...]
    tokens: Mapping[str, tuple[int, int | None]]
    """Tokens, and web searches, by kind: now and in the span before."""
    caching: Caching | None
    """None, as `tokens` and `keys` are empty, if the usage could not be read."""
    keys: tuple[KeySpend, ...]
    coding: Coding | None
    """None if what Claude Code did could not be read."""
    unbilled: Mapping[str, int]
    """Tokens of service tiers other than standard and batch, by tier."""
    notes: tuple[str, ...]
    """What the figures do not say by themselves."""

    @property
    def change(self) -> float | None:
        """The change against the span before, as a share of it; None if there is no such share."""
        if self.billed is None or self.before is None or self.before <= 0 or self.billed < 0:
            return None
        return float(divide(subtract(self.billed, self.before), self.before))

    @property
    def billed_days(self) -> int:
        """How many days have their bill."""
        return len(Span(self.starting_at, self.billed_until))

    @property
    def whole(self) -> bool:
        """Whether every day of the range has its bill."""
        return self.billed_until >= self.ending_at


def spend(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    directory: Directory | None = None,
    prices: PriceTable | None = None,
    organization: str | None = None,
    compare: bool = True,
    owners: OwnerMap | None = None,
) -> Spend:
    """Return the spend of a range of whole UTC days and, to compare, of as many days before it.

    Everything is of the billed days of the range; one without any is answered with its usage alone,
    and says so. A report that is refused or broken costs its own part, and `notes` say why: of the
    bill, of the usage, of Claude Code. With `owners` those who used Claude Code are in teams.
    Raises the error if neither bill nor usage can be read, and IncompleteReport if a lake lacks the
    span before.
    """
    prices = prices or PriceTable.bundled()
    directory = directory or Directory()
    asked = COST.ask(starting_at, ending_at or utc_now())
    start, end = asked.starting_at, asked.ending_at
    missing: list[str] = []

    bill, no_bill = optional(lambda: read_bill(source, start, end, by=_LINE), _no_bill(start, end))
    days = bill.days
    compare = compare and no_bill is None
    earlier: Sequence[CostRow] = ()
    if compare and len(days.billed):
        span = days.before
        earlier = read_bill(source, span.start, span.end, by=_LINE).lines
    if no_bill is not None:
        missing.append(f"The bill could not be read: {reason(no_bill)}")
    counted = days.billed if len(days.billed) else Span(start, end)
    first = days.before.start if compare else start
    usage, no_usage = optional(
        lambda: read_priced_usage(source, first, counted.end, by="api_key_id", prices=prices), None
    )
    if usage is None and no_usage is not None:
        if no_bill is not None:
            raise no_bill
        missing.append(f"The usage could not be read: {reason(no_usage)}")
    rows = usage or PricedUsage()
    missing += rows.missing
    used = [row for row in rows if row.starting_at in counted]
    used_before = [row for row in rows if row.starting_at in days.before] if compare else None
    who, no_coding = optional(lambda: people(source, start, counted.end, owners=owners), None)
    if isinstance(no_coding, PermissionDenied):
        missing.append(
            f"No figures of Claude Code, which this key may not read: {reason(no_coding)}"
        )
    elif no_coding is not None:
        missing.append(f"No figures of Claude Code, which could not be read: {reason(no_coding)}")

    now, before = bill.lines, earlier if compare else None
    unbilled = _unbilled(used)
    return Spend(
        starting_at=start,
        ending_at=end,
        billed_until=days.billed_until,
        counted_until=counted.end,
        late=days.late,
        compared_from=days.before.start if compare else None,
        organization=organization,
        billed=_sum(now) if no_bill is None else None,
        before=None if before is None else _sum(before),
        by_day=_by_day(days.billed, now),
        by_model=_slices(now, before, charge_name, charge_name),
        by_workspace=_slices(
            now,
            before,
            lambda line: line.workspace_id,
            lambda line: directory.workspace(line.workspace_id),
        ),
        by_kind=_slices(now, before, lambda line: charge_kind(line) or kind_name(line), kind_name),
        tokens={} if usage is None else _tokens(used, used_before),
        caching=None if usage is None else _caching(used, used_before, prices),
        keys=_keys(used, directory, prices),
        coding=None if who is None else _coding(who),
        unbilled=unbilled,
        notes=(
            *missing,
            *_notes(starting_at, ending_at, days, no_bill, counted, unbilled, used, prices),
        ),
    )


def _no_bill(start: dt.datetime, end: dt.datetime) -> Bill:
    """Return the bill of which nothing is known."""
    days = Days(starting_at=start, ending_at=end, settled_until=start, billed_until=start)
    return Bill(days=days, lines=())


def _sum(lines: Iterable[CostRow]) -> Decimal:
    return total(line.amount_usd for line in lines)


def _by_day(span: Span, lines: Iterable[CostRow]) -> tuple[DaySpend, ...]:
    days: dict[dt.date, dict[str, Decimal]] = {day: {} for day in span.dates}
    for line in lines:
        parts = days[line.day]
        name = charge_name(line)
        parts[name] = add(parts.get(name, ZERO), line.amount_usd)
    return tuple(
        DaySpend(day=day, billed=total(parts.values()), by_model=parts)
        for day, parts in days.items()
    )


def _slices(
    now: Iterable[CostRow],
    before: Iterable[CostRow] | None,
    id_of: Callable[[CostRow], str | None],
    name_of: Callable[[CostRow], str],
) -> tuple[Slice, ...]:
    """Sum up by something, largest first."""
    sums: dict[str | None, list[Decimal]] = {}
    names: dict[str | None, str] = {}
    for place, lines in enumerate((now, before or ())):
        for line in lines:
            pair = sums.setdefault(id_of(line), [ZERO, ZERO])
            pair[place] = add(pair[place], line.amount_usd)
            names[id_of(line)] = name_of(line)
    order = sorted(
        sums, key=lambda key: (*(amount.copy_negate() for amount in sums[key]), names[key])
    )
    billed = [sums[key][0] for key in order]
    cents = split_cents(billed, quantize(total(billed), 2))
    return tuple(
        Slice(
            id=key,
            name=names[key],
            billed=sums[key][0],
            amount_usd=amount,
            before=None if before is None else sums[key][1],
        )
        for key, amount in zip(order, cents, strict=True)
    )


def _tokens(
    now: list[UsageRow], before: list[UsageRow] | None
) -> Mapping[str, tuple[int, int | None]]:
    return {
        name: (
            sum(getattr(row, name) for row in now),
            None if before is None else sum(getattr(row, name) for row in before),
        )
        for name in UsageRow.MEASURES
    }


def _caching(now: list[UsageRow], before: list[UsageRow] | None, prices: PriceTable) -> Caching:
    with_cache = add_costs(map(prices.cost, now))
    without = add_costs(map(prices.without_caching, now))
    # Both ends of a price band move together: the same tokens are in it, cached or not.
    ends = sorted((subtract(without.low, with_cache.low), subtract(without.high, with_cache.high)))
    unpriced = with_cache.unpriced_tokens
    unknown = bool(unpriced) and not any(kind != WEB_SEARCH for kind in with_cache.by_kind)
    return Caching(
        read_tokens=sum(row.cache_read_input_tokens for row in now),
        input_tokens=sum(row.input_tokens for row in now),
        efficiency=_efficiency(now),
        before=None if before is None else _efficiency(before),
        saved_low=None if unknown else ends[0],
        saved_high=None if unknown else ends[1],
        unpriced_tokens=unpriced,
    )


def _efficiency(rows: list[UsageRow]) -> float | None:
    everything = sum(row.input_tokens for row in rows)
    reads = sum(row.cache_read_input_tokens for row in rows)
    return reads / everything if everything else None


def _keys(
    rows: Iterable[UsageRow], directory: Directory, prices: PriceTable
) -> tuple[KeySpend, ...]:
    groups: dict[str | None, list[UsageRow]] = defaultdict(list)
    for row in rows:
        groups[row.api_key_id].append(row)
    keys = []
    for key, uses in groups.items():
        cost = add_costs(map(prices.cost, uses))
        unknown = bool(cost.unpriced_tokens) and not cost.by_kind
        keys.append(
            KeySpend(
                id=key,
                name=directory.api_key(key),
                low=None if unknown else cost.low,
                high=None if unknown else cost.high,
                tokens=sum(row.total_tokens for row in uses),
                unpriced_tokens=cost.unpriced_tokens,
            )
        )
    return tuple(
        sorted(keys, key=lambda key: ((key.high or ZERO).copy_negate(), -key.tokens, key.name))
    )


def _coding(who: People) -> Coding:
    done = who.total
    paying = [payer for payer in who.payers if payer.who == "people"]
    on_api = next((payer for payer in paying if payer.customer_type == "api"), None)
    return Coding(
        people=who.active,
        sessions=done.sessions,
        lines_added=done.lines_added,
        lines_removed=done.lines_removed,
        commits=done.commits,
        pull_requests=done.pull_requests,
        accepted=done.accepted,
        rejected=done.rejected,
        estimated_cost=done.estimated_cost_usd,
        estimated_api=done.api_cost_usd,
        estimated_subscription=done.subscription_cost_usd,
        people_on_api=on_api.number if on_api else 0,
        cost_per_person=on_api.each_usd if on_api else None,
        who=who,
    )


def _unbilled(rows: Iterable[UsageRow]) -> Mapping[str, int]:
    tiers: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.service_tier is not None and row.service_tier not in _BILLED_TIERS:
            tiers[row.service_tier] += row.total_tokens
    return dict(sorted(tiers.items()))


def _notes(
    starting_at: Moment,
    ending_at: Moment | None,
    days: Days,
    no_bill: AnthropicUsageError | None,
    counted: Span,
    unbilled: Mapping[str, int],
    used: list[UsageRow],
    prices: PriceTable,
) -> Iterable[str]:
    if within := uneven(starting_at, ending_at, days.settled_until):
        yield within
    if no_bill is None:
        yield from days.sentences()
        if not len(days.billed):
            yield "Tokens are counted, dollars are not."
    for known, text in (
        (True, "are not in the bill: the cost report leaves out"),
        (False, "may be in the bill or not, for no public page says whether it has"),
    ):
        tiers = {t: n for t, n in unbilled.items() if (t in _UNBILLED_TIERS) == known}
        if tiers:
            names = ", ".join(tier.replace("_", " ") for tier in tiers)
            yield f"{sum(tiers.values()):,} tokens {text} {names}."
    costs = add_costs(map(prices.cost, used))
    if costs.unpriced_tokens:
        missing = [why for why in costs.reasons if why.startswith("no price")]
        models = sorted({why.split(" for ")[1].split(" on ")[0] for why in missing})
        yield (
            f"{costs.unpriced_tokens:,} tokens have no list price ({', '.join(models)}); estimates "
            "leave them out."
        )
    if counted.end > max(days.settled_until, days.billed_until):
        yield "Usage of the last hours can still grow."
