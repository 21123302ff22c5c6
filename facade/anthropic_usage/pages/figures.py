"""The figures of a report as a page, a terminal and a chat show them: one table of words."""

from __future__ import annotations

from decimal import Decimal

import attrs

from ..analysis.spend import Spend
from ..human import change, count, dollars

__all__ = ["KIND_NAMES", "Figure", "change", "figures", "interval", "share"]

KIND_NAMES = {
    "uncached_input_tokens": "Input, uncached",
    "cache_creation_5m_input_tokens": "Cache writes, 5 minutes",
    "cache_creation_1h_input_tokens": "Cache writes, 1 hour",
    "cache_read_input_tokens": "Cache reads",
    "output_tokens": "Output",
    "web_search_requests": "Web searches",
}


@attrs.frozen(kw_only=True)
class Figure:
    """A figure worth a headline."""

    name: str
    value: str
    exact: str
    note: str


def share(value: float | None) -> str:
    """Write a share."""
    return "-" if value is None else f"{value:.1%}"


def interval(low: Decimal, high: Decimal) -> str:
    """Write an amount that may only be known within bounds."""
    return dollars(low) if low == high else f"{dollars(low)} to {dollars(high)}"


def figures(spend: Spend) -> list[Figure]:
    """Return the headlines of a report."""
    tokens = sum(now for name, (now, _) in spend.tokens.items() if name.endswith("_tokens"))
    days = (spend.billed_until - spend.starting_at).days
    span = "the day before" if days == 1 else f"the {days} days before"
    caching, coding = spend.caching, spend.coding
    return [
        Figure(
            name="Billed",
            value=dollars(spend.billed),
            exact=f"{spend.billed:f}",
            note=_compared(spend, days, span),
        ),
        Figure(
            name="Tokens",
            value=count(tokens),
            exact=str(tokens),
            note="all kinds, billed or not",
        ),
        Figure(
            name="Cache efficiency",
            value=share(caching.efficiency),
            exact=f"{caching.read_tokens}/{caching.input_tokens}",
            note=f"of input was read from the cache; before: {share(caching.before)}",
        ),
        Figure(
            name="Saved by caching",
            value=interval(caching.saved_low, caching.saved_high),
            exact=f"{caching.saved_low:f}",
            note="by list prices, against sending all input afresh",
        ),
        Figure(
            name="Claude Code",
            value="-" if coding.cost_per_person is None else dollars(coding.cost_per_person),
            exact="" if coding.cost_per_person is None else f"{coding.cost_per_person:f}",
            note=f"estimated for each of {coding.people} active developers",
        ),
    ]


def _compared(spend: Spend, days: int, span: str) -> str:
    if not days:
        return "no day has a bill yet"
    if spend.compared_from == spend.starting_at:
        return "in a day" if days == 1 else f"in {days} days"
    return f"{change(spend.billed, spend.before)} against {span} ({dollars(spend.before)})"
