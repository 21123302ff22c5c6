"""Each charge of a bill beside the use that it is for: what a reconciliation compares.

A line of a bill is for the use of its day that agrees with it in all that it names; a null agrees
with any value. Lines that are for the same use, and the uses that one line is for, are compared as
one. Use of tiers that are not known to be billed stands beside what it may have been billed with.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import attrs
import msgspec

from ..money import ZERO, add, times, total
from ..reports import CostRow, UsageRow
from .charges import charge_kind, charge_name, kind_name
from .prices import KINDS, MEASURE_OF, WEB_SEARCH, PriceTable

__all__ = ["DIMENSIONS", "Match", "match_bill"]

DIMENSIONS = (
    "workspace_id",
    "model",
    "kind",
    "service_tier",
    "inference_geo",
    "context_window",
)
"""What a charge and its use agree in, beside the day."""

_WORKSPACE, _MODEL, _KIND, _TIER, _GEO, _WINDOW = range(6)
_GIVEN_UP = (_GEO, _WINDOW, _TIER)
"""In this order, for a line whose use goes by another name in one of them."""
_BILLED = ("standard", "batch", None)
_TOKENS, _SEARCHES = "tokens", "web_search"
_ROUNDING = Decimal("0.000000005")
"""Dollars by which a line may be off: real bills are rounded to six decimals of a cent."""

Values = tuple[str | None, ...]


@attrs.define(eq=False)
class Match:
    """What was billed for a use, and what that use costs by the list, in US dollars."""

    day: dt.date
    values: Values
    """Of `DIMENSIONS`; None where it is several, or none. What is billed by itself has its kind
    only."""
    own: Values = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.values, takes_self=True)
    )
    """The values of the use itself, whatever it is compared as one with."""
    billed: Decimal = ZERO
    rounding: Decimal = ZERO
    """How far `billed` may be from the exact amount, because its lines are rounded."""
    lines: int = 0
    credit: Decimal = ZERO
    """The part of `billed` that are lines below zero."""
    said: tuple[str, ...] = ()
    """Descriptions of the lines."""
    left_out: frozenset[int] = frozenset()
    """Places in `values` of what a line does not name."""
    fixed: Decimal = ZERO
    """What the use costs as far as it has one price."""
    open: dict[tuple[Decimal, Decimal], int] = attrs.field(factory=dict)
    """Tokens of which each has one of two prices, by these."""
    spread: tuple[Decimal, Decimal] = (ZERO, ZERO)
    """What the rest costs, at the least and at the most."""
    used: bool = False
    unpriced: bool = False
    beside: dict[str, Match] = attrs.field(factory=dict)
    """Use of tiers that may be billed with it, at standard prices, by tier."""
    counted: bool = True
    """Whether the usage report counts such use; it does tokens and web searches."""

    @property
    def low(self) -> Decimal:
        """What the use costs by the list, at the least."""
        return total(
            [self.fixed, self.spread[0], *(times(rate, n) for (rate, _), n in self.open.items())]
        )

    @property
    def high(self) -> Decimal:
        """What the use costs by the list, at the most."""
        return total(
            [self.fixed, self.spread[1], *(times(rate, n) for (_, rate), n in self.open.items())]
        )

    @property
    def exact(self) -> bool:
        """Whether the use has one cost, and no other may have been billed with it."""
        return not self.open and self.spread[0] == self.spread[1] and not self.beside

    def bill(self, line: CostRow) -> None:
        """Count a line of the bill."""
        self.billed = add(self.billed, line.amount_usd)
        self.rounding = add(self.rounding, _ROUNDING)
        self.lines += 1
        if line.cost_type != _SEARCHES:
            named = (line.workspace_id, line.model, line.token_type, *_detail(line))
            self.left_out |= {at for at, value in enumerate(named) if at and value is None}
        if line.amount_usd < 0:
            self.credit = add(self.credit, line.amount_usd)
        if line.description and line.description not in self.said:
            self.said = (*self.said, line.description)

    def take(self, other: Match) -> None:
        """Compare another use as one with this."""
        self.values = tuple(
            mine if mine == its else None
            for mine, its in zip(self.values, other.values, strict=True)
        )
        self.fixed = add(self.fixed, other.fixed)
        for rates, tokens in other.open.items():
            self.open[rates] = self.open.get(rates, 0) + tokens
        self.spread = tuple(map(add, self.spread, other.spread))  # type: ignore[assignment]
        self.used = self.used or other.used
        self.unpriced = self.unpriced or other.unpriced
        self.left_out |= other.left_out

    def with_beside(self, factors: Mapping[str, Decimal]) -> Match:
        """Return the charge with the use of other tiers in it, at shares of the list."""
        whole = attrs.evolve(self, open=dict(self.open), beside={})
        for tier, factor in factors.items():
            if factor and tier in self.beside:
                whole.take(self.beside[tier]._at(factor))
        return whole

    def _at(self, factor: Decimal) -> Match:
        return Match(
            self.day,
            self.values,
            fixed=times(self.fixed, factor),
            open={
                (times(low, factor), times(high, factor)): tokens
                for (low, high), tokens in self.open.items()
            },
            spread=(times(self.spread[0], factor), times(self.spread[1], factor)),
        )

    def use(self, tokens: int, rates: Sequence[Decimal], band: tuple[Decimal, Decimal]) -> None:
        """Count use that has one of the `rates`; none says that it has no price."""
        self.used = True
        if len(rates) == 1:
            self.fixed = add(self.fixed, band[0])
        elif len(rates) == 2:
            self.open[rates[0], rates[1]] = self.open.get((rates[0], rates[1]), 0) + tokens
        elif rates:
            self.spread = (add(self.spread[0], band[0]), add(self.spread[1], band[1]))
        else:
            self.unpriced = True


def match_bill(
    lines: Iterable[CostRow], usage: Iterable[UsageRow], prices: PriceTable
) -> tuple[list[Match], dict[str, int], dict[str, Decimal]]:
    """Put the bill's lines and the use side by side, in time order.

    Also returns tokens and their cost at standard prices, at the least, of the tiers that are not
    known to be billed.
    """
    lines, usage = list(lines), list(usage)
    names = {*(line.model for line in lines), *(row.model for row in usage)}
    known = [name for name in names if name]
    models = {name: prices.canonical(name, known) for name in known}
    named_tiers = {line.service_tier for line in lines if charge_kind(line) == _TOKENS}
    tokens: dict[str, int] = defaultdict(int)
    costs: dict[str, Decimal] = defaultdict(lambda: ZERO)
    days: dict[dt.date, _Day] = {}
    # What one side lacks in the whole answer is not compared.
    anywhere = not any(line.workspace_id for line in lines)

    def day_of(day: dt.date) -> _Day:
        return days.setdefault(day, _Day(day, prices, anywhere))

    for row in usage:
        tier = row.service_tier
        doubtful = tier not in _BILLED and tier not in named_tiers
        if doubtful and tier is not None and row.total_tokens:
            tokens[tier] += row.total_tokens
        for use in _uses(row, models, prices, doubtful=tier if doubtful else None):
            day_of(row.day).put(use)
            if use.beside:
                costs[str(tier)] = add(costs[str(tier)], use.beside[str(tier)].low)
    for line in lines:
        day_of(line.day).lines.append(line)
    matches = [match for day in sorted(days) for match in days[day].matches(models)]
    return matches, dict(tokens), dict(costs)


def _uses(
    row: UsageRow, models: Mapping[str, str], prices: PriceTable, doubtful: str | None
) -> Iterator[Match]:
    """Yield what was used of each kind."""
    # A tier that the bill names, or may have billed as another, has the standard prices.
    batch = row.service_tier in _BILLED
    at_list = row if batch else msgspec.structs.replace(row, service_tier="standard")
    model = row.model and models[row.model]
    rates, bands = prices.rates(at_list), prices.cost(at_list).by_kind
    if row.web_search_requests:
        search = Match(row.day, (row.workspace_id, None, WEB_SEARCH, None, None, None))
        search.use(row.web_search_requests, [prices.web_search_usd], bands[WEB_SEARCH])
        yield search
    for kind, measure in MEASURE_OF.items():
        if not (count := getattr(row, measure)):
            continue
        place = (
            row.workspace_id,
            model,
            kind,
            row.service_tier,
            row.inference_geo,
            row.context_window,
        )
        match = Match(row.day, place)
        of_it = match if doubtful is None else Match(row.day, place)
        of_it.use(count, sorted(rates[kind]), bands.get(kind, (ZERO, ZERO)))
        if doubtful is not None:
            match.beside = {doubtful: of_it}
        yield match


class _Day:
    """The uses and the lines of a day, until they are matched."""

    def __init__(self, day: dt.date, prices: PriceTable, anywhere: bool) -> None:
        self._day = day
        self._anywhere = anywhere
        self._prices = prices
        self.lines: list[CostRow] = []
        self._uses: dict[Values, Match] = {}
        self._beside: list[Match] = []
        self._parent: dict[int, Match] = {}

    def put(self, use: Match) -> None:
        """Add use, as one with what agrees with it in everything."""
        if use.beside:
            self._beside.append(use)
        elif use.values in self._uses:
            self._uses[use.values].take(use)
        else:
            self._uses[use.values] = use

    def matches(self, models: Mapping[str, str]) -> list[Match]:
        """Return what is compared, in the order of its names."""
        uses = list(self._uses.values())
        found: list[tuple[CostRow, Match]] = []
        left: list[tuple[CostRow, Values]] = []
        own: dict[Values, Match] = {}
        for line in self.lines:
            values = _values(line, models)
            if values is None:
                # Nothing that the usage report counts, or a credit for nothing in particular.
                place = (line.workspace_id, line.model, _kind_of(line), None, None, None)
                own.setdefault(place, Match(self._day, place, counted=False)).bill(line)
            elif fits := self._fits(values, uses):
                found.append((line, self._joined(fits)))
            else:
                left.append((line, values))
        taken = {id(self._root(match)) for _, match in found}
        free = [use for use in uses if id(self._root(use)) not in taken]
        for line, values in left:
            fits = self._loosely(values, free)
            if fits:
                found.append((line, self._joined(fits)))
                continue
            match = own.get(values)
            if match is None:
                match = own[values] = Match(self._day, values)
                match.unpriced = bool(
                    line.model and not self._prices.prices_of(line.model, self._day)
                )
            match.bill(line)
        for line, match in found:
            self._root(match).bill(line)
        whole = [use for use in uses if self._root(use) is use]
        whole += own.values()
        for use in self._beside:
            self._stand(use, whole)
        return sorted(whole, key=lambda match: tuple(map(str, match.values)))

    def _fits(self, values: Values, uses: Sequence[Match]) -> list[Match]:
        """Return the uses that agree with a line in all that it names."""
        same = self._uses.get(values)
        if same is not None and None not in values[_MODEL:] and not self._anywhere:
            return [same]
        if values[_KIND] == WEB_SEARCH and same is not None and not self._anywhere:
            return [same]
        # A use may leave out what the line names.
        return _agreeing(values, uses, anywhere=self._anywhere) or _agreeing(
            values, uses, anywhere=self._anywhere, either=True
        )

    def _loosely(self, values: Values, free: Sequence[Match]) -> list[Match]:
        """Return uses that no line is for, and that agree with one but for how it names them."""
        if values[_WORKSPACE] is None and (fits := _agreeing(values, free, anywhere=True)):
            return fits
        kept = list(values)
        if values[_KIND] != WEB_SEARCH and values[_MODEL] is not None:
            for at in _GIVEN_UP:
                kept[at] = None
                if fits := _agreeing(kept, free):
                    return fits
        return []

    def _root(self, match: Match) -> Match:
        while id(match) in self._parent:
            match = self._parent[id(match)]
        return match

    def _joined(self, fits: Sequence[Match]) -> Match:
        """Compare several uses as one."""
        first = self._root(fits[0])
        for other in fits[1:]:
            root = self._root(other)
            if root is not first:
                first.take(root)
                self._parent[id(root)] = first
        return first

    def _stand(self, use: Match, whole: Sequence[Match]) -> None:
        """Put use of a doubtful tier beside what it may have been billed with."""
        values = list(use.values)
        for tier in ("standard", None):
            values[_TIER] = tier
            for match in whole:
                if match.counted and match.lines and self._alike(values, match):
                    for name, part in use.beside.items():
                        match.beside.setdefault(name, Match(part.day, part.values)).take(part)
                    return

    def _alike(self, values: Sequence[str | None], match: Match) -> bool:
        """Tell whether a charge may be for use too that has these values."""
        return (self._anywhere or values[_WORKSPACE] == match.values[_WORKSPACE]) and all(
            at in match.left_out or mine is None or its is None or mine == its
            for at, (mine, its) in enumerate(zip(values, match.values, strict=True))
            if at != _WORKSPACE
        )


def _agreeing(
    values: Sequence[str | None],
    uses: Iterable[Match],
    *,
    anywhere: bool = False,
    either: bool = False,
) -> list[Match]:
    """Return the uses that agree in all that is named.

    No workspace is the default one, but `anywhere`; `either` side may leave a value out.
    """
    named = [
        at
        for at, value in enumerate(values)
        if value is not None or (at == _WORKSPACE and not anywhere)
    ]
    search = values[_KIND] == WEB_SEARCH
    return [
        use
        for use in uses
        if (use.own[_KIND] == WEB_SEARCH) is search
        and all(
            use.own[at] == values[at] or (either and use.own[at] is None and at in _GIVEN_UP)
            for at in named
        )
    ]


def _detail(line: CostRow) -> Values:
    return line.service_tier, line.inference_geo, line.context_window


def _values(line: CostRow, models: Mapping[str, str]) -> Values | None:
    """Return what a line is for; None for what the usage report does not count."""
    if line.cost_type == _SEARCHES:
        return (line.workspace_id, None, WEB_SEARCH, None, None, None)
    known = charge_kind(line) == _TOKENS or (line.cost_type is None and line.model is not None)
    if not known or (line.token_type is not None and line.token_type not in KINDS):
        return None
    if line.amount_usd < 0 and None in (line.model, line.token_type):
        return None
    return (
        line.workspace_id,
        line.model and models[line.model],
        line.token_type,
        *_detail(line),
    )


def _kind_of(line: CostRow) -> str:
    """Name what a line is for that no use is compared with; without a type, by what it says."""
    if charge_kind(line) == _TOKENS:
        return line.token_type or charge_name(line)
    return line.cost_type or kind_name(line)
