"""What was spent in a range and in the same span before it, and what for."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs

from ..directory import Directory
from ..errors import PermissionDenied
from ..moments import DAY, Moment, floor, utc_now
from ..money import ZERO, add, total
from ..query import CostQuery
from ..rows import ClaudeCodeRow, CostRow, UsageRow
from .priced import priced_usage
from .prices import PriceTable, add_costs
from .source import Source

__all__ = ["Caching", "Coding", "DaySpend", "KeySpend", "Slice", "Spend", "spend"]

_BILLED_TIERS = ("standard", "batch")
_KINDS = {
    "web_search": "Web search",
    "code_execution": "Code execution",
    "session_usage": "Session usage",
}


@attrs.frozen(kw_only=True)
class Slice:
    """Billed US dollars of one model, workspace or kind of charge, now and in the span before."""

    id: str | None
    name: str
    billed: Decimal
    before: Decimal


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
    low: Decimal
    high: Decimal
    tokens: int


@attrs.frozen(kw_only=True)
class Caching:
    """Prompt caching: tokens, and US dollars saved against sending all input afresh."""

    read_tokens: int
    input_tokens: int
    """All input: uncached, cache writes and cache reads."""
    efficiency: float | None
    """Cache reads as a share of all input; None where there was no input."""
    before: float | None
    """The same in the span before."""
    saved_low: Decimal
    saved_high: Decimal


@attrs.frozen(kw_only=True)
class Coding:
    """What Claude Code did; its estimated cost overlaps the bill."""

    people: int
    sessions: int
    lines_added: int
    lines_removed: int
    commits: int
    pull_requests: int
    accepted: int
    rejected: int
    estimated_cost: Decimal
    cost_per_person: Decimal | None


@attrs.frozen(kw_only=True)
class Spend:
    """A range's spend, all amounts in US dollars, exact."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    billed_until: dt.datetime
    """The end of the last day that has a bill."""
    compared_from: dt.datetime
    """Where the span before begins: as many days before `starting_at` as have a bill since."""
    organization: str | None
    billed: Decimal
    before: Decimal
    by_day: tuple[DaySpend, ...]
    by_model: tuple[Slice, ...]
    by_workspace: tuple[Slice, ...]
    by_kind: tuple[Slice, ...]
    tokens: Mapping[str, tuple[int, int]]
    """Tokens, and web searches, by kind: now and in the span before."""
    caching: Caching
    keys: tuple[KeySpend, ...]
    coding: Coding
    unbilled: Mapping[str, int]
    """Tokens of service tiers that the cost report never bills, by tier."""
    notes: tuple[str, ...]
    """What the figures do not say by themselves."""

    @property
    def change(self) -> float | None:
        """The change against the span before, as a share of it; None if that was nothing."""
        return float((self.billed - self.before) / self.before) if self.before else None


def spend(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    directory: Directory | None = None,
    prices: PriceTable | None = None,
    organization: str | None = None,
    compare: bool = True,
) -> Spend:
    """Return the spend of a range of whole UTC days and, to compare, of as many days before it.

    Reads usage and cost of both spans and Claude Code of the range itself. A range without a closed
    day is answered with usage alone, and says so.
    """
    prices = prices or PriceTable.bundled()
    directory = directory or Directory()
    asked = CostQuery.create(starting_at, ending_at or utc_now())
    start, end = asked.starting_at, asked.ending_at
    earlier = start - (end - start) if compare else start

    bill = source.cost(earlier, end, group_by=("workspace_id", "description"))
    lines = bill.by("day", "workspace_id", "model", "cost_type")
    settled = bill.settled_until or end
    billed_until = max(start, min(end, floor(settled, DAY)))
    compared_from = start - (billed_until - start) if compare else start
    now = [line for line in lines if start <= line.starting_at < billed_until]
    before = [line for line in lines if compared_from <= line.starting_at < start]

    usage = priced_usage(source, earlier, end, by="api_key_id", prices=prices)
    used = [row for row in usage if row.starting_at >= start]
    used_before = [row for row in usage if row.starting_at < start]
    missing = []
    try:
        coding = source.claude_code(start, end).by("actor", "actor_type")
    except PermissionDenied as error:
        coding = []
        missing.append(f"No figures of Claude Code, which this key may not read: {error}")
    unbilled = _unbilled(used)
    return Spend(
        starting_at=start,
        ending_at=end,
        billed_until=billed_until,
        compared_from=compared_from,
        organization=organization,
        billed=_sum(now),
        before=_sum(before),
        by_day=_by_day(now),
        by_model=_slices(now, before, _model_of, _model_of),
        by_workspace=_slices(
            now,
            before,
            lambda line: line.workspace_id,
            lambda line: directory.workspace(line.workspace_id),
        ),
        by_kind=_slices(now, before, lambda line: line.cost_type, _kind_of),
        tokens=_tokens(used, used_before),
        caching=_caching(used, used_before, prices),
        keys=_keys(used, directory, prices),
        coding=_coding(coding),
        unbilled=unbilled,
        notes=(*missing, *_notes(start, end, billed_until, unbilled, used, prices)),
    )


def _sum(lines: Iterable[CostRow]) -> Decimal:
    return total(line.amount_usd for line in lines)


def _model_of(line: CostRow) -> str:
    return line.model or _kind_of(line)


def _kind_of(line: CostRow) -> str:
    if line.cost_type in (None, "tokens"):
        return "Tokens"
    return _KINDS.get(line.cost_type or "", line.cost_type or "")


def _by_day(lines: Iterable[CostRow]) -> tuple[DaySpend, ...]:
    days: dict[dt.date, dict[str, Decimal]] = defaultdict(dict)
    for line in lines:
        parts = days[line.day]
        parts[_model_of(line)] = add(parts.get(_model_of(line), ZERO), line.amount_usd)
    return tuple(
        DaySpend(day=day, billed=total(parts.values()), by_model=parts)
        for day, parts in sorted(days.items())
    )


def _slices(
    now: Iterable[CostRow],
    before: Iterable[CostRow],
    id_of: Callable[[CostRow], str | None],
    name_of: Callable[[CostRow], str],
) -> tuple[Slice, ...]:
    """Sum up by something, largest first."""
    sums: dict[str | None, list[Decimal]] = {}
    names: dict[str | None, str] = {}
    for place, lines in enumerate((now, before)):
        for line in lines:
            pair = sums.setdefault(id_of(line), [ZERO, ZERO])
            pair[place] = add(pair[place], line.amount_usd)
            names[id_of(line)] = name_of(line)
    slices = [
        Slice(id=key, name=names[key], billed=pair[0], before=pair[1]) for key, pair in sums.items()
    ]
    return tuple(sorted(slices, key=lambda part: (-part.billed, -part.before, part.name)))


def _tokens(now: list[UsageRow], before: list[UsageRow]) -> Mapping[str, tuple[int, int]]:
    return {
        name: (
            sum(getattr(row, name) for row in now),
            sum(getattr(row, name) for row in before),
        )
        for name in UsageRow.MEASURES
    }


def _caching(now: list[UsageRow], before: list[UsageRow], prices: PriceTable) -> Caching:
    with_cache = add_costs(map(prices.cost, now))
    without = add_costs(map(prices.without_caching, now))
    reads = sum(row.cache_read_input_tokens for row in now)
    everything = sum(row.input_tokens for row in now)
    # Both ends of a price band move together: the same tokens are in it, cached or not.
    ends = sorted((add(without.low, -with_cache.low), add(without.high, -with_cache.high)))
    return Caching(
        read_tokens=reads,
        input_tokens=everything,
        efficiency=reads / everything if everything else None,
        before=_efficiency(before),
        saved_low=ends[0],
        saved_high=ends[1],
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
        tokens = sum(row.total_tokens for row in uses)
        keys.append(
            KeySpend(
                id=key, name=directory.api_key(key), low=cost.low, high=cost.high, tokens=tokens
            )
        )
    return tuple(sorted(keys, key=lambda key: (-key.high, -key.tokens, key.name)))


def _coding(rows: list[ClaudeCodeRow]) -> Coding:
    def count(name: str) -> int:
        return sum(getattr(row, name) for row in rows)

    people = len({row.actor for row in rows if row.actor_type == "user_actor"})
    by_people = total(row.estimated_cost_usd for row in rows if row.actor_type == "user_actor")
    return Coding(
        people=people,
        sessions=count("num_sessions"),
        lines_added=count("lines_added"),
        lines_removed=count("lines_removed"),
        commits=count("commits_by_claude_code"),
        pull_requests=count("pull_requests_by_claude_code"),
        accepted=count("accepted"),
        rejected=count("rejected"),
        estimated_cost=total(row.estimated_cost_usd for row in rows),
        cost_per_person=by_people / people if people else None,
    )


def _unbilled(rows: Iterable[UsageRow]) -> Mapping[str, int]:
    tiers: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.service_tier is not None and row.service_tier not in _BILLED_TIERS:
            tiers[row.service_tier] += row.total_tokens
    return dict(sorted(tiers.items()))


def _notes(
    start: dt.datetime,
    end: dt.datetime,
    billed_until: dt.datetime,
    unbilled: Mapping[str, int],
    used: list[UsageRow],
    prices: PriceTable,
) -> Iterable[str]:
    if billed_until <= start:
        yield (
            "No day of this range has a bill yet: the cost report holds completed UTC days only. "
            "Tokens are counted, dollars are not."
        )
    elif billed_until < min(end, utc_now()):
        yield f"The bill reaches up to {billed_until - DAY:%Y-%m-%d}; later days have none yet."
    if unbilled:
        tokens = sum(unbilled.values())
        tiers = ", ".join(tier.replace("_", " ") for tier in unbilled)
        yield f"{tokens:,} tokens are not in the bill: the cost report leaves out {tiers}."
    costs = add_costs(map(prices.cost, used))
    if costs.unpriced_tokens:
        missing = [why for why in costs.reasons if why.startswith("no price")]
        models = sorted({why.split(" for ")[1].split(" on ")[0] for why in missing})
        yield (
            f"{costs.unpriced_tokens:,} tokens have no list price ({', '.join(models)}); estimates "
            "leave them out."
        )
    if end > billed_until:
        yield "Usage of the last hours can still grow."
