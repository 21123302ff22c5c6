"""Usage times price against the bill: what differs, and why."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal, localcontext

import attrs
import msgspec

from ..errors import InvalidQuery
from ..moments import DAY, Moment, floor, utc_now
from ..money import ZERO, add, times, total
from ..reports import CostRow, UsageRow
from .priced import priced_usage
from .prices import WEB_SEARCH, Cost, PriceTable, add_costs
from .source import Source

__all__ = ["Cell", "Reconciliation", "Residual", "reconcile"]

_LINE = ("workspace_id", "model", "token_type", "cost_type")
_BESIDE = {"code_execution": "code execution", "session_usage": "session usage"}
_MOSTLY = Decimal("0.9")
_LATE = 2 * DAY
"""A closed day without a bill that is younger than this may still get one."""


@attrs.frozen(kw_only=True)
class Cell:
    """One kind of charge of one workspace on one day, in US dollars."""

    day: dt.date
    workspace_id: str | None
    model: str | None
    kind: str
    """The cost report's `token_type`, or its `cost_type` where that is not `tokens`."""
    billed: Decimal
    low: Decimal
    """What the usage costs by the list, at the least."""
    high: Decimal
    """What the usage costs by the list, at the most."""
    unpriced: bool = False
    """Whether the table has no price for the model on that day."""
    unexplained: Decimal = ZERO
    """What is left of the difference when every named reason is taken off."""


@attrs.frozen(kw_only=True)
class Residual:
    """One reason why the bill is not usage times price, in US dollars."""

    name: str
    amount: Decimal
    note: str


@attrs.frozen(kw_only=True)
class Reconciliation:
    """The bill of a range, taken apart: `list_cost` and all residuals add up to `billed`."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    """The end of the last day that has a bill."""
    billed: Decimal
    list_cost: Decimal
    """The usage at list prices, of all service tiers, in the cheapest reading of each row."""
    residuals: tuple[Residual, ...]
    cells: tuple[Cell, ...]
    not_compared: tuple[Residual, ...] = ()
    """What the bill does not have yet; no part of the sums."""

    @property
    def unexplained(self) -> Decimal:
        """What no reason accounts for."""
        return next(item.amount for item in self.residuals if item.name == "unexplained")


def reconcile(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    prices: PriceTable | None = None,
) -> Reconciliation:
    """Compare the cost report with usage at list prices, by day, workspace, model and token kind.

    Only days with a bill are compared; the rest is `not_compared`. Raises InvalidQuery if no day of
    the range has closed.
    """
    prices = prices or PriceTable.bundled()
    bill = source.cost(starting_at, ending_at, group_by=("workspace_id", "description"))
    lines = bill.by("day", *_LINE)
    usage = priced_usage(
        source, bill.query.starting_at, ending_at, by="workspace_id", prices=prices
    )
    closed = _closed(bill.settled_until, bill.query.ending_at, lines, usage)
    if closed <= bill.query.starting_at:
        raise InvalidQuery("no day of this range has a bill yet; start earlier")
    open_rows = [row for row in usage if row.starting_at >= closed]
    usage = [row for row in usage if row.starting_at < closed]

    cells = _cells(lines, usage, prices)
    ratio = _ratio(cells)
    named: dict[str, list[Decimal]] = defaultdict(list)
    done = [_explain(cell, ratio, named) for cell in cells]
    beside = _outside_the_bill(usage, prices)
    list_cost = total(
        [*(cell.low for cell in cells), *(amount for _, amount, _ in beside.values())]
    )
    unpriced = sorted({str(cell.model) for cell in cells if cell.unpriced})
    notes = {
        "web search": "billed searches that the usage report does not count, or the reverse",
        "code execution": "container time; the usage report does not count it",
        "session usage": "session time of managed agents; the usage report does not count it",
        "price band": "usage rows do not say which of two prices applied",
        "unpriced": f"no list price for {', '.join(unpriced)}" if unpriced else "",
        "discount": f"every line is {_percent(ratio)} of the list",
        "unexplained": "",
    }
    residuals = [
        Residual(
            name=f"{tier.replace('_', ' ')} tier",
            amount=-amount,
            note=f"{tokens:,} tokens that the cost report never bills",
        )
        for tier, (tokens, amount, _) in sorted(beside.items())
    ]
    for name, note in notes.items():
        amount = total(named[name])
        if amount or name == "unexplained":
            residuals.append(Residual(name=name, amount=amount, note=note))
    return Reconciliation(
        starting_at=bill.query.starting_at,
        ending_at=closed,
        billed=total(row.amount_usd for row in lines),
        list_cost=list_cost,
        residuals=tuple(residuals),
        cells=tuple(done),
        not_compared=_unsettled(open_rows, prices),
    )


def _closed(
    settled_until: dt.datetime | None,
    ending_at: dt.datetime,
    lines: Iterable[CostRow],
    usage: Iterable[UsageRow],
) -> dt.datetime:
    """Return the end of the last day whose bill is there."""
    closed = floor(min(settled_until or ending_at, ending_at), DAY)
    billed = {row.starting_at for row in lines}
    used = {row.starting_at for row in usage}
    now = utc_now()
    while (last := closed - DAY) in used and last not in billed and closed > now - _LATE:
        closed = last
    return closed


def _cells(lines: Iterable[CostRow], usage: Iterable[UsageRow], prices: PriceTable) -> list[Cell]:
    """Put the bill's lines and the usage's cost side by side."""
    billed: dict[tuple[dt.date, str | None, str | None, str], Decimal] = {}
    for line in lines:
        kind = line.token_type or line.cost_type or "other"
        kind = WEB_SEARCH if line.cost_type == "web_search" else kind
        key = (line.day, line.workspace_id, line.model, kind)
        billed[key] = add(billed.get(key, ZERO), line.amount_usd)
    expected: dict[tuple[dt.date, str | None, str | None, str], tuple[Decimal, Decimal]] = {}
    for row in usage:
        for kind, (low, high) in prices.cost(row).by_kind.items():
            model = None if kind == WEB_SEARCH else row.model
            key = (row.day, row.workspace_id, model, kind)
            known = expected.get(key, (ZERO, ZERO))
            expected[key] = add(known[0], low), add(known[1], high)
    cells = []
    for key in sorted({*billed, *expected}, key=lambda key: (key[0], *map(str, key[1:]))):
        day, workspace_id, model, kind = key
        low, high = expected.get(key, (ZERO, ZERO))
        cells.append(
            Cell(
                day=day,
                workspace_id=workspace_id,
                model=model,
                kind=kind,
                billed=billed.get(key, ZERO),
                low=low,
                high=high,
                unpriced=model is not None and prices.price_of(model, day) is None,
            )
        )
    return cells


def _ratio(cells: Iterable[Cell]) -> Decimal:
    """Return the share of the list price at which all is billed; 1 if there is no such share.

    It must be the same to eight digits for nine tenths of what is priced exactly, and below 1.
    """
    by_ratio: dict[Decimal, Decimal] = defaultdict(lambda: ZERO)
    priced = ZERO
    for cell in cells:
        if cell.low == cell.high and cell.low > 0 and cell.billed > 0:
            ratio = round(cell.billed / cell.low, 8)
            by_ratio[ratio] = add(by_ratio[ratio], cell.low)
            priced = add(priced, cell.low)
    if not by_ratio:
        return Decimal(1)
    ratio = max(by_ratio, key=lambda ratio: by_ratio[ratio])
    return ratio if ratio < 1 and by_ratio[ratio] >= times(priced, _MOSTLY) else Decimal(1)


def _explain(cell: Cell, ratio: Decimal, named: dict[str, list[Decimal]]) -> Cell:
    """Name the reasons for one difference; returns the cell with what is left."""
    if cell.kind in _BESIDE:
        named[_BESIDE[cell.kind]].append(cell.billed)
        return cell
    if cell.unpriced:
        named["unpriced"].append(add(cell.billed, -cell.low))
        return cell
    low, high = times(cell.low, ratio), times(cell.high, ratio)
    left = add(cell.billed, -low)
    named["discount"].append(add(low, -cell.low))
    if low < high:
        band = min(max(left, ZERO), add(high, -low))
        named["price band"].append(band)
        left = add(left, -band)
    if cell.kind == WEB_SEARCH:
        named["web search"].append(left)
        return cell
    named["unexplained"].append(left)
    return attrs.evolve(cell, unexplained=left)


def _outside_the_bill(
    usage: Iterable[UsageRow], prices: PriceTable
) -> dict[str, tuple[int, Decimal, Decimal]]:
    """Return what is not billed by the token, by tier: its tokens and their cost by the list."""
    tiers: dict[str, list[Cost]] = defaultdict(list)
    tokens: dict[str, int] = defaultdict(int)
    for row in usage:
        cost = prices.cost(row)
        if cost.unbilled_tokens and row.service_tier:
            tokens[row.service_tier] += cost.unbilled_tokens
            tiers[row.service_tier].append(prices.cost(_as_standard(row)))
    sums = {tier: add_costs(costs) for tier, costs in tiers.items()}
    return {tier: (tokens[tier], cost.low, cost.high) for tier, cost in sums.items()}


def _as_standard(row: UsageRow) -> UsageRow:
    """Return a row as if it had been served at the standard tier."""
    return msgspec.structs.replace(row, service_tier="standard", web_search_requests=0)


def _unsettled(rows: Iterable[UsageRow], prices: PriceTable) -> tuple[Residual, ...]:
    cost = add_costs(prices.cost(row) for row in rows)
    if not cost.by_kind:
        return ()
    note = "used on days that have no bill yet, at list prices"
    return (Residual(name="unsettled", amount=cost.low, note=note),)


def _percent(ratio: Decimal) -> str:
    with localcontext() as context:
        context.prec = 12
        return f"{(ratio * 100).normalize():f} %"
