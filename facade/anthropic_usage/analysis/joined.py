"""The lines of a bill joined with the use that they bill."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs
import msgspec
from anthropic_admin_client.models.usage_group_by import UsageGroupBy

from ..errors import AnthropicUsageError, AuthenticationError
from ..money import ZERO, add, divide, quantize, subtract, times
from ..reports import CostRow, UsageRow
from .allocation import Cell, Claim, allocate
from .priced import PricedUsage, read_priced_usage
from .prices import KINDS, MEASURE_OF, WEB_SEARCH, PriceTable
from .source import Source, optional, reason

__all__ = ["LINE", "Joined", "KeyUse", "Share", "join_keys", "join_models"]

LINE = (
    "workspace_id",
    "model",
    "token_type",
    "service_tier",
    "context_window",
    "inference_geo",
    "cost_type",
    "description",
)
"""What tells a day's lines of a bill apart."""

_JOINED = LINE[:6]
_WORKSPACE, _MODEL, _KIND, _TIER, _WINDOW, _GEO = range(6)
_GIVEN_UP = (_GEO, _WINDOW, _TIER, _KIND, _WORKSPACE)
"""In this order, for a line that fits no use. The model is never."""
_HALF = Decimal("0.5")
_LONG = "200k-1M"
_BILLED = ("standard", "batch", None)
_OF_A_KEY: Final[tuple[UsageGroupBy, ...]] = (
    "api_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
)
_MEASURES = (*MEASURE_OF.items(), (WEB_SEARCH, WEB_SEARCH))


@attrs.frozen
class Share:
    """A part of the bill, and whose use it is for."""

    who: str | None
    amount: Decimal
    kind: str
    """`tokens` or `web_search`."""
    by_price: bool
    """Whether it was split by cost at list, not by a count."""
    loose: bool
    """Whether no use agreed with the line in all that it names."""
    day: dt.date


@attrs.frozen
class Joined:
    """Shares of those whose use was found, and the lines of the bill that fit no use."""

    shares: list[Share]
    rest: list[CostRow]
    missing: tuple[str, ...] = ()
    """What could not be read of the use, and why, in sentences."""
    blind: bool = False
    """Whether that is all of it."""


@attrs.frozen
class _Use:
    """Tokens of a kind, or searches, that the bill can tell from others."""

    values: tuple[str | None, ...]
    who: str | None
    count: Decimal
    cost: Decimal | None
    billed: bool
    step: Decimal = ZERO
    """How much more a token may cost."""


def join_keys(
    source: Source, lines: Sequence[CostRow], span: tuple[Any, Any], prices: PriceTable
) -> Joined:
    """Join a bill's lines, of days and `LINE`, with the API keys whose use they bill."""
    usage = _read(source, span, "api_key_id", prices)
    return _joined(usage, KeyUse.of(source, lines, span, usage, prices).join(lines))


@attrs.frozen
class KeyUse:
    """The use of API keys, to join lines of a bill with."""

    usage: Sequence[UsageRow]
    workspaces: _Workspaces
    prices: PriceTable

    @classmethod
    def of(
        cls,
        source: Source,
        lines: Sequence[CostRow],
        span: tuple[Any, Any],
        usage: Sequence[UsageRow],
        prices: PriceTable,
    ) -> KeyUse:
        """Add the workspaces in which keys were used, where the lines name several."""
        workspaces = _Workspaces({})
        if usage and len({line.workspace_id for line in lines}) > 1:
            workspaces = _Workspaces.read(source, span)
        return cls(usage, workspaces, prices)

    def join(
        self, lines: Sequence[CostRow], key: str | None = None, ends: tuple[int, int] | None = None
    ) -> Joined:
        """Join lines of days and `LINE` with the keys whose use they bill.

        Where use has one of two prices, the bill says how much of it had the higher one, or it is
        weighed by the lower. With `ends`, the use of `key` is weighed by the first of these ends
        of the band (0 or 1), and all other use by the second.
        """
        uses: dict[dt.date, list[_Use]] = defaultdict(list)
        for row in self.usage:
            end = ends and ends[row.api_key_id != key]
            for use in _uses(row, row.api_key_id, self.prices, end):
                uses[row.day] += self.workspaces.parts(row, use)
        return _join(lines, uses, self.prices)


def join_models(
    source: Source, lines: Sequence[CostRow], span: tuple[Any, Any], prices: PriceTable
) -> Joined:
    """Join the lines for tokens with the models, by their canonical names, that they bill."""
    usage = _read(source, span, "workspace_id", prices)
    names = {row.model for row in usage if row.model} | {line.model for line in lines if line.model}
    uses: dict[dt.date, list[_Use]] = defaultdict(list)
    for row in usage:
        who = row.model and prices.canonical(row.model, names)
        for use in _uses(row, who, prices):
            if use.values[_KIND] in KINDS:
                values = (row.workspace_id, *use.values[1:])
                uses[row.day].append(attrs.evolve(use, values=values))
    return _joined(usage, _join(lines, uses, prices))


def _read(source: Source, span: tuple[Any, Any], by: str, prices: PriceTable) -> PricedUsage:
    """Return the use; none, and why, if it was refused or is broken: then no line fits any."""
    usage, error = optional(lambda: read_priced_usage(source, *span, by=by, prices=prices), None)
    if usage is None:
        usage = PricedUsage()
        if error is not None:
            usage.missing = (f"The usage could not be read: {reason(error)}",)
    return usage


def _joined(usage: PricedUsage, joined: Joined) -> Joined:
    return attrs.evolve(joined, missing=usage.missing, blind=not usage and bool(usage.missing))


def _uses(
    row: UsageRow, who: str | None, prices: PriceTable, end: int | None = None
) -> Iterator[_Use]:
    billed = row.service_tier in _BILLED
    at_list = row if billed else msgspec.structs.replace(row, service_tier="standard")
    by_kind = prices.cost(at_list).by_kind
    rates = prices.rates(at_list)
    if prices.all_short(row):
        # Where the length of the prompts is all that is open, too little input answers it.
        as_long = prices.rates(msgspec.structs.replace(at_list, context_window=_LONG))
        rates |= {kind: frozenset({min(rates[kind])}) for kind in rates if len(as_long[kind]) == 1}
    for kind, measure in _MEASURES:
        if count := getattr(row, measure):
            several = sorted(rates.get(kind, ()))
            cost, step = _cost(by_kind.get(kind), end), ZERO
            if several and end is None and len(several) <= 2:
                cost, step = times(several[0], count), subtract(several[-1], several[0])
            yield _Use(
                values=(
                    None,
                    row.model,
                    kind,
                    row.service_tier,
                    row.context_window,
                    row.inference_geo,
                ),
                who=who,
                count=Decimal(count),
                cost=cost,
                billed=billed or kind == WEB_SEARCH,
                step=step,
            )


def _cost(band: tuple[Decimal, Decimal] | None, end: int | None) -> Decimal | None:
    if band is None:
        return None
    return times(add(*band), _HALF) if end is None else band[end]


class _Workspaces:
    """In which workspaces keys were used.

    A report has five dimensions at most, and a price needs four beside the key; so the workspace
    comes from a second report, without the place of inference.
    """

    def __init__(self, rows: Mapping[tuple[Any, ...], Mapping[str | None, UsageRow]]) -> None:
        self._rows = rows

    @classmethod
    def read(cls, source: Source, span: tuple[Any, Any]) -> _Workspaces:
        """Read them; without them, lines are not joined on the workspace."""
        try:
            usage = source.usage(*span, group_by=_OF_A_KEY).by("day", *_OF_A_KEY)
        except AuthenticationError:
            raise
        except AnthropicUsageError:
            # A lake keeps no such reading, and a source may refuse it: the join does without.
            return cls({})
        rows: dict[tuple[Any, ...], dict[str | None, UsageRow]] = defaultdict(dict)
        for row in usage:
            rows[cls._key(row)][row.workspace_id] = row
        return cls(rows)

    @staticmethod
    def _key(row: UsageRow) -> tuple[Any, ...]:
        return (row.day, row.api_key_id, row.model, row.service_tier, row.context_window)

    def parts(self, row: UsageRow, use: _Use) -> Iterator[_Use]:
        """Yield a use by workspace; in several, in proportion to what was used in each."""
        kind = use.values[_KIND]
        measure = MEASURE_OF.get(str(kind), WEB_SEARCH)
        counts = {
            workspace: getattr(there, measure)
            for workspace, there in self._rows.get(self._key(row), {}).items()
            if getattr(there, measure)
        }
        if not counts:
            yield use
            return
        whole = sum(counts.values())
        for workspace, count in counts.items():
            values = (workspace, *use.values[1:])
            if len(counts) == 1:
                yield attrs.evolve(use, values=values)
            else:
                part = quantize(divide(count, whole), 30)
                cost = None if use.cost is None else times(use.cost, part)
                yield attrs.evolve(use, values=values, count=times(use.count, part), cost=cost)


def _join(
    lines: Sequence[CostRow], uses: Mapping[dt.date, list[_Use]], prices: PriceTable
) -> Joined:
    every = [use for those in uses.values() for use in those]
    names = {line.model for line in lines} | {use.values[_MODEL] for use in every}
    models = {name: prices.canonical(name, filter(None, names)) for name in names if name}
    # What one side lacks in the whole answer is not joined on.
    absent = [
        at
        for at in (_WORKSPACE, _TIER, _WINDOW, _GEO)
        if not any(use.values[at] for use in every)
        or not any(getattr(line, _JOINED[at]) for line in lines)
    ]

    summed = any(len({use.values[at] for use in every}) > 1 for at in absent)

    def values_of(values: Iterable[str | None]) -> tuple[str | None, ...]:
        kept = [None if at in absent else value for at, value in enumerate(values)]
        kept[_MODEL] = models.get(kept[_MODEL] or "", kept[_MODEL])
        return tuple(kept)

    by_day: dict[tuple[dt.date, str], list[CostRow]] = defaultdict(list)
    rest: list[CostRow] = []
    for line in lines:
        kind = _kind(line)
        if kind is None:
            rest.append(line)
        else:
            by_day[line.day, kind].append(line)
    claims: list[dict[int, Claim]] = []
    cells: list[dict[tuple[tuple[str | None, ...], bool], Cell]] = []
    for (day, kind), of_it in by_day.items():
        claims.append(
            {
                id(line): Claim(line.amount_usd, values_of(getattr(line, name) for name in _JOINED))
                for line in of_it
            }
        )
        cells.append({})
        for use in uses.get(day, ()):
            if (use.values[_KIND] == WEB_SEARCH) is (kind == "web_search"):
                values = values_of(use.values)
                # Where no line names a tier, what is known to be billed still stands apart.
                cell = cells[-1].setdefault((values, use.billed), Cell(values, use.billed))
                cell.put(use.who, use.count, use.cost, use.step)
    days = [
        (list(said.values()), list(there.values()))
        for said, there in zip(claims, cells, strict=True)
    ]
    results = allocate(days, _GIVEN_UP, keep=(_WORKSPACE,), summed=summed)
    shares: list[Share] = []
    for ((day, kind), of_it), said, (fits, lost) in zip(
        by_day.items(), claims, results, strict=True
    ):
        shares += [Share(fit.who, fit.amount, kind, fit.by_price, fit.loose, day) for fit in fits]
        gone = set(map(id, lost))
        rest += [line for line in of_it if id(said[id(line)]) in gone]
    return Joined(shares, rest)


def _kind(line: CostRow) -> str | None:
    """Return what use a line is for; None for what the usage report does not count."""
    if line.cost_type == "web_search":
        return "web_search"
    named = line.token_type in KINDS or (line.cost_type is None and line.model is not None)
    return "tokens" if line.cost_type == "tokens" or named else None
