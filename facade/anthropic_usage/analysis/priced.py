"""Usage in the detail that prices need: by day, tier, context window, place and speed."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import msgspec

from ..moments import Moment
from ..reports import UsageRow
from .prices import PriceTable
from .source import UsageSource, optional, reason

__all__ = ["PRICED_BY", "PricedUsage", "priced_usage", "read_priced_usage"]

PRICED_BY = ("model", "service_tier", "context_window", "inference_geo")
"""The dimensions that decide a price; a fifth is free to say whose use it was."""


class PricedUsage(list[UsageRow]):
    """Rows of use, and what could not be read of them."""

    missing: tuple[str, ...] = ()
    """Sentences on what could not be read."""


_measures = operator.attrgetter(*UsageRow.MEASURES)


def priced_usage(
    source: UsageSource,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    by: str | None = None,
    prices: PriceTable | None = None,
) -> list[UsageRow]:
    """Return the rows of `read_priced_usage`."""
    return read_priced_usage(source, starting_at, ending_at, by=by, prices=prices)


def read_priced_usage(
    source: UsageSource,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    by: str | None = None,
    prices: PriceTable | None = None,
) -> PricedUsage:
    """Return use by day, by `by` and by all that decides its price, in time order.

    The API takes five dimensions, so the sixth, speed, comes from a second report of fast use
    alone, asked only if a model's price depends on it. Should that fail, `speed` stays None, the
    cost of such a row is an interval, and `missing` says why.
    """
    prices = prices or PriceTable.bundled()
    dimensions = (*(() if by is None else (by,)), *PRICED_BY)
    report = source.usage(starting_at, ending_at, group_by=dimensions)
    rows = PricedUsage(report.by("day", *dimensions))
    if not any(prices.may_be_fast(row.model, row.day) for row in rows):
        return rows
    fast_only, error = optional(
        lambda: source.usage(
            report.query.starting_at,
            report.query.ending_at,
            group_by=dimensions,
            speeds="fast",
        ).by("day", *dimensions),
        None,
    )
    if fast_only is None:
        if error is not None:
            rows.missing = (f"Which use was of the fast mode could not be read: {reason(error)}",)
        return rows
    key_of = operator.attrgetter("starting_at", *dimensions)
    fast = {key_of(row): row for row in fast_only}
    return PricedUsage(part for row in rows for part in _split(row, fast.get(key_of(row))))


def _split(row: UsageRow, fast: UsageRow | None) -> Iterable[UsageRow]:
    """Return the standard and the fast part of a row."""
    if fast is None:
        return [msgspec.structs.replace(row, speed="standard")]
    rest = [every - part for every, part in zip(_measures(row), _measures(fast), strict=True)]
    if min(rest) < 0:
        # Use grew between the two readings; which part is fast cannot be said.
        return [row]
    standard = dict(zip(UsageRow.MEASURES, rest, strict=True))
    parts = [msgspec.structs.replace(fast, speed="fast")]
    if any(rest):
        parts.insert(0, msgspec.structs.replace(row, speed="standard", **standard))
    return parts
