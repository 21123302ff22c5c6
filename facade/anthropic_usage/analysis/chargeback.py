"""The bill, split among those who caused it, to the cent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import attrs

from ..directory import Directory
from ..errors import InvalidQuery
from ..moments import Moment
from ..money import ZERO, add, times, total
from ..rows import CostRow, UsageRow
from .owners import Owner, OwnerMap
from .priced import priced_usage
from .prices import KINDS, WEB_SEARCH, PriceTable
from .source import Source

__all__ = ["BY", "Chargeback", "Line", "Owner", "OwnerMap", "chargeback", "split_cents"]

BY = ("workspace", "api_key", "model")

_CENT = Decimal("0.01")
_CELL = ("model", "token_type", "service_tier", "context_window", "inference_geo", "cost_type")
_NAMES = {
    "web_search": "web search",
    "code_execution": "code execution",
    "session_usage": "session usage",
}
DIRECT = "as billed"
BY_PRICE = "each day's line split by the use priced at list"
BY_TOKENS = "each day's line split by tokens"
BY_SEARCHES = "each day's searches split by their number"


@attrs.frozen(kw_only=True)
class Line:
    """A part of the bill."""

    id: str | None
    """What it was split by; None is the API's null, or that the bill does not say."""
    name: str
    owner: Owner | None
    exact_usd: Decimal
    """The unrounded amount."""
    amount_usd: Decimal
    """Whole cents; those of all lines add up to the bill."""
    direct: bool
    """Whether the bill itself says so; otherwise the amount was allocated."""
    rule: str
    """How it was allocated."""


@attrs.frozen(kw_only=True)
class Chargeback:
    """A range's bill and its parts."""

    by: str
    starting_at: Any
    ending_at: Any
    exact_usd: Decimal
    billed_usd: Decimal
    """The bill in whole cents, rounded half to even."""
    lines: tuple[Line, ...]
    settled: bool
    """Whether every day of the range has its bill."""
    missing: tuple[str, ...] = ()
    """What names could not be looked up."""
    unused: tuple[str, ...] = ()
    """Patterns of the owners' map that match nothing in this bill."""


def chargeback(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    by: str = "workspace",
    owners: OwnerMap | None = None,
    directory: Directory | None = None,
    prices: PriceTable | None = None,
) -> Chargeback:
    """Split the bill of a range by workspace, API key or model.

    The bill names workspaces and models, so these parts are direct. It does not name keys: each of
    its lines is split among the keys that used that very kind of token on that day, in proportion
    to what their use costs by the list. With `owners` the lines are those of the owners. Lines are
    largest first; rounded amounts add up to the rounded bill, by largest remainders.

    Raises InvalidQuery for another `by`, or if no day of the range has closed.
    """
    if by not in BY:
        raise InvalidQuery(f"cannot split by {by!r}: choose {', '.join(BY)}")
    directory = directory or Directory()
    bill = source.cost(starting_at, ending_at, group_by=("workspace_id", "description"))
    if by == "api_key":
        rows = bill.by("day", *_CELL)
        parts = _by_key(source, rows, bill.query, prices or PriceTable.bundled())
    elif by == "model":
        rows = bill.by("model", "cost_type")
        parts = [
            _Part(row.model, row.model or _said(row.cost_type), row.amount_usd, DIRECT)
            for row in rows
        ]
    else:
        rows = bill.by("workspace_id")
        parts = [_Part(row.workspace_id, None, row.amount_usd, DIRECT) for row in rows]
    exact = total(row.amount_usd for row in rows)
    name = {"workspace": directory.workspace, "api_key": directory.api_key}.get(by)
    parts = [
        part if part.name is not None else attrs.evolve(part, name=name(part.id) if name else "-")
        for part in parts
    ]
    lines = _lines(parts, owners)
    billed = exact.quantize(_CENT, ROUND_HALF_EVEN)
    cents = split_cents([line.exact_usd for line in lines], billed)
    lines = [
        attrs.evolve(line, amount_usd=amount) for line, amount in zip(lines, cents, strict=True)
    ]
    settled_until = bill.settled_until or bill.query.ending_at
    return Chargeback(
        by=by,
        starting_at=bill.query.starting_at,
        ending_at=bill.query.ending_at,
        exact_usd=exact,
        billed_usd=billed,
        lines=tuple(lines),
        settled=settled_until >= bill.query.ending_at,
        missing=directory.missing,
        unused=_unused(parts, owners),
    )


def _unused(parts: Iterable[_Part], owners: OwnerMap | None) -> tuple[str, ...]:
    if not owners:
        return ()
    used = {owners.match(part.id, part.name) for part in parts}
    return tuple(pattern for pattern in owners.entries if pattern not in used)


def split_cents(exact: Iterable[Decimal], whole: Decimal) -> list[Decimal]:
    """Round amounts to cents that add up to `whole`, by largest remainders, the first of equals."""
    amounts = list(exact)
    rounded = [amount.quantize(_CENT, ROUND_FLOOR) for amount in amounts]
    missing = int(add(whole, -total(rounded)).scaleb(2))
    remainders = [add(amount, -cents) for amount, cents in zip(amounts, rounded, strict=True)]
    order = sorted(range(len(amounts)), key=lambda place: (-remainders[place], place))
    for place in order[: max(missing, 0)]:
        rounded[place] = add(rounded[place], _CENT)
    # The whole may have been rounded down below the floors' sum: never by more than a cent a part.
    for place in reversed(order[len(order) + min(missing, 0) :]):
        rounded[place] = add(rounded[place], -_CENT)
    return rounded


@attrs.frozen
class _Part:
    """An amount before names and owners are settled."""

    id: str | None
    name: str | None
    amount: Decimal
    rule: str


def _lines(parts: Iterable[_Part], owners: OwnerMap | None) -> list[Line]:
    """Sum parts up to lines: one an owner if there are owners, else one an id."""
    sums: dict[Any, Decimal] = {}
    about: dict[Any, tuple[_Part, Owner | None]] = {}
    rules: dict[Any, dict[str, None]] = defaultdict(dict)
    for part in parts:
        owner = owners.owner(part.id, part.name) if owners else None
        key: Any = owner if owners else (part.id, part.name)
        sums[key] = add(sums.get(key, ZERO), part.amount)
        about.setdefault(key, (part, owner))
        rules[key][part.rule] = None
    lines = []
    for key, amount in sums.items():
        part, owner = about[key]
        named = (owner.team if owner else "unmapped") if owners else str(part.name)
        lines.append(
            Line(
                id=None if owners else part.id,
                name=named,
                owner=owner,
                exact_usd=amount,
                amount_usd=ZERO,
                direct=set(rules[key]) == {DIRECT},
                rule="; ".join(sorted(rules[key])),
            )
        )
    return sorted(lines, key=lambda line: (-line.exact_usd, line.name))


def _by_key(source: Source, rows: Iterable[CostRow], query: Any, prices: PriceTable) -> list[_Part]:
    """Split the bill's lines among keys."""
    usage = priced_usage(source, query.starting_at, query.ending_at, by="api_key_id", prices=prices)
    tokens: dict[Any, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))
    priced: dict[Any, dict[str | None, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    searches: dict[Any, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))
    for row in usage:
        searches[row.day][row.api_key_id] += row.web_search_requests
        cost = prices.cost(row)
        for kind in KINDS:
            count = _count(row, kind)
            if not count:
                continue
            tier, window, geo = row.service_tier, row.context_window, row.inference_geo
            key = (row.day, row.model, kind, tier, window, geo)
            tokens[key][row.api_key_id] += count
            low, high = cost.by_kind.get(kind, (ZERO, ZERO))
            priced[key][row.api_key_id] = add(
                priced[key][row.api_key_id], times(add(low, high), Decimal("0.5"))
            )
    parts: list[_Part] = []
    for line in rows:
        cell: Any = (
            line.day,
            line.model,
            line.token_type,
            line.service_tier,
            line.context_window,
            line.inference_geo,
        )
        weights: Mapping[str | None, Decimal | int]
        if line.cost_type == "web_search":
            weights, rule = searches[line.day], BY_SEARCHES
        elif all(priced[cell].values()):
            weights, rule = priced[cell], BY_PRICE
        else:
            weights, rule = tokens[cell], BY_TOKENS
        if sum(weights.values()):
            shares = _shares(line.amount_usd, weights)
            parts += [_Part(key_id, None, share, rule) for key_id, share in shares.items()]
        else:
            parts.append(
                _Part(None, f"{_said(line.cost_type)} (no key known)", line.amount_usd, DIRECT)
            )
    return parts


def _shares(
    amount: Decimal, weights: Mapping[str | None, Decimal | int]
) -> dict[str | None, Decimal]:
    """Split an amount by weights; the shares add up to it exactly, the largest takes the rest."""
    fine = Decimal(1).scaleb(-20)
    with localcontext(prec=100):
        whole = sum(map(Decimal, weights.values()))
        shares = {
            who: (amount * Decimal(weight) / whole).quantize(fine)
            for who, weight in weights.items()
            if weight
        }
    largest = max(shares, key=lambda who: (shares[who], str(who)))
    shares[largest] = add(shares[largest], add(amount, -total(shares.values())))
    return shares


def _count(row: UsageRow, kind: str) -> int:
    counts: dict[str, Callable[[UsageRow], int]] = {
        KINDS[0]: lambda row: row.uncached_input_tokens,
        KINDS[1]: lambda row: row.cache_creation_5m_input_tokens,
        KINDS[2]: lambda row: row.cache_creation_1h_input_tokens,
        KINDS[3]: lambda row: row.cache_read_input_tokens,
        KINDS[4]: lambda row: row.output_tokens,
        WEB_SEARCH: lambda row: row.web_search_requests,
    }
    return counts[kind](row)


def _said(cost_type: str | None) -> str:
    return _NAMES.get(cost_type or "", cost_type or "other")
