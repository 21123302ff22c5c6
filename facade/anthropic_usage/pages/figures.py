"""The figures of a report as a page, a terminal and a chat show them: one table of words."""

from __future__ import annotations

from decimal import Decimal

import attrs

from ..analysis.spend import Spend
from ..human import change, count, dollars
from ..moments import DAY
from .team import estimated

__all__ = [
    "KIND_NAMES",
    "Figure",
    "amount",
    "change",
    "figures",
    "interval",
    "share",
    "span",
]

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


def amount(value: Decimal | None) -> str:
    """Write dollars; what is not known is "-"."""
    return "-" if value is None else dollars(value)


def interval(low: Decimal | None, high: Decimal | None) -> str:
    """Write an amount that may only be known within bounds, or not at all."""
    if low is None or high is None:
        return "unknown"
    return dollars(low) if low == high else f"{dollars(low)} to {dollars(high)}"


def span(spend: Spend) -> str:
    """Write the range, and how much of it has a bill if that is not all."""
    days = (spend.ending_at - spend.starting_at) // DAY
    said = f"{spend.starting_at:%Y-%m-%d} to {spend.ending_at - DAY:%Y-%m-%d}"
    if spend.billed is None:
        return f"{said} (the bill could not be read)"
    if spend.whole:
        return said
    if not spend.billed_days:
        return f"{said} (none of {days} days has a bill yet)"
    return (
        f"{said} ({spend.billed_days} of {days} days, up to {spend.billed_until - DAY:%Y-%m-%d}, "
        "have a bill)"
    )


def figures(spend: Spend) -> list[Figure]:
    """Return the headlines of a report; of what could not be read there is none."""
    made = [
        Figure(
            name="Billed",
            value=amount(spend.billed if spend.billed_days else None),
            exact="" if spend.billed is None else f"{spend.billed:f}",
            note=_compared(spend),
        )
    ]
    if (caching := spend.caching) is not None:
        tokens = sum(now for name, (now, _) in spend.tokens.items() if name.endswith("_tokens"))
        before = "" if spend.before is None else f"; before: {share(caching.before)}"
        unpriced = (
            f"; {count(caching.unpriced_tokens)} tokens have no price"
            if caching.unpriced_tokens
            else ""
        )
        made += [
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
                note=f"of input was read from the cache{before}",
            ),
            Figure(
                name="Saved by caching",
                value=interval(caching.saved_low, caching.saved_high),
                exact="" if caching.saved_low is None else f"{caching.saved_low:f}",
                note=f"by list prices, against sending all input afresh{unpriced}",
            ),
        ]
    if (coding := spend.coding) is not None:
        made.append(
            Figure(
                name="Claude Code",
                value=amount(coding.estimated_api),
                exact=f"{coding.estimated_api:f}",
                note=estimated(coding.who),
            )
        )
    return made


def _compared(spend: Spend) -> str:
    days = spend.billed_days
    if spend.billed is None:
        return "the bill could not be read"
    if not days:
        return "no day has a bill yet"
    if spend.before is None:
        return "in a day" if days == 1 else f"in {days} days"
    before = "the day before" if days == 1 else f"the {days} days before"
    return f"{change(spend.billed, spend.before)} against {before} ({dollars(spend.before)})"
