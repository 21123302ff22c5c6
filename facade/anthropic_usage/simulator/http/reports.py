"""The three reports: what a query selects, cut into pages."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import attrs
import msgspec

from ..bill import CostLine
from ..books import POSITIONS, Books, Wanted, add_up
from ..calendar import MINUTES_PER_DAY, WIDTHS, day_of, minute_of, timestamp
from ..costs import COST_DIMENSIONS
from ..ledger import FILTERS, Ledger, wanted_values
from ..streams import DIMENSIONS
from . import paging
from .answers import invalid
from .shapes import Bucket, Page, claude_code_record, cost_result, sort_key, usage_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude_code import ClaudeCode
    from ..organisation import Organisation
    from .parameters import Parameters

FAST_MODE_BETA = "fast-mode-2026-02-01"

_LIMITS = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1440)}
_FILTER_VALUES = {
    "service_tiers": (
        "standard",
        "batch",
        "priority",
        "priority_on_demand",
        "flex",
        "flex_discount",
    ),
    "context_window": ("0-200k", "200k-1M"),
    "inference_geos": ("global", "us", "not_available"),
    "speeds": ("standard", "fast"),
}
_BAD_RANGE = "Invalid date range: ending date must be after starting date"


@attrs.frozen
class ReportPage:
    """One page, ready to be made: its identity, its own token, and whether it can still change."""

    key: tuple[object, ...]
    cursor: str
    settled: bool
    make: Callable[[], bytes]


class Reports:
    """Reads report queries and lays out their pages."""

    def __init__(
        self, organisation: Organisation, books: Books, ledger: Ledger, claude_code: ClaudeCode
    ) -> None:
        self._organisation = organisation
        self._books = books
        self._ledger = ledger
        self._claude_code = claude_code

    def usage(self, parameters: Parameters, betas: set[str]) -> ReportPage:
        """Answer `usage_report/messages`."""
        now = self._books.clock()
        starting_at = parameters.required_moment("starting_at")
        ending_at = parameters.moment("ending_at")
        width_name = parameters.choice("bucket_width", WIDTHS) or "1d"
        limit = parameters.limit(*_LIMITS[width_name])
        by = _group_by(parameters, DIMENSIONS)
        filters: Wanted = {}
        for name, dimension in FILTERS.items():
            values = (
                parameters.choices(f"{name}[]", _FILTER_VALUES[name])
                if name in _FILTER_VALUES
                else parameters.many(f"{name}[]")
            )
            if values:
                filters = {
                    **filters,
                    POSITIONS[dimension]: wanted_values(dimension, values, self._organisation),
                }
        page = parameters.text("page")
        parameters.finish()
        speed = "group_by[]" if "speed" in by else "speeds[]"
        if ("speed" in by or POSITIONS["speed"] in filters) and FAST_MODE_BETA not in betas:
            raise invalid(f"{speed}: speed requires the header anthropic-beta: {FAST_MODE_BETA}.")
        if ending_at is not None and ending_at <= starting_at:
            raise invalid(_BAD_RANGE, retry=False)

        width = WIDTHS[width_name]
        start = minute_of(starting_at) // width * width
        # A bucket still running is given as far as it goes if the range covers it; those after it
        # do not exist yet.
        running_until = -(-now // (60 * width)) * width
        asked_until = now // 60 if ending_at is None else minute_of(ending_at)
        end = min(asked_until // width * width, running_until)
        if page is not None:
            start, end = paging.read(page, parameters.fingerprint)
        stop = max(start, min(start + limit * width, end))
        positions = tuple(POSITIONS[name] for name in by)

        def make() -> bytes:
            buckets = []
            for minute in range(start, stop, width):
                sums = add_up(self._books.cells(minute, width, now), positions, filters)
                rows = sorted(sums.items(), key=lambda item: sort_key(item[0]))
                results = [usage_result(by, key, measures) for key, measures in rows]
                buckets.append(Bucket(timestamp(minute), timestamp(minute + width), results))
            return _encode(buckets, stop, end, parameters.fingerprint)

        return ReportPage(
            key=(parameters.fingerprint, start, end),
            cursor=paging.mint(start, end, parameters.fingerprint),
            settled=self._books.settled(stop, now),
            make=make,
        )

    def cost(self, parameters: Parameters) -> ReportPage:
        """Answer `cost_report`."""
        now = self._books.clock()
        starting_at = parameters.required_moment("starting_at")
        ending_at = parameters.moment("ending_at")
        parameters.choice("bucket_width", ("1d",))
        limit = parameters.limit(7, 31)
        by = _group_by(parameters, COST_DIMENSIONS)
        page = parameters.text("page")
        parameters.finish()
        today = now // 86_400
        start = day_of(starting_at)
        end = today if ending_at is None else min(day_of(ending_at), today)
        if end <= start:
            raise invalid(_BAD_RANGE, retry=False)
        if page is not None:
            start, end = paging.read(page, parameters.fingerprint)
        stop = min(start + limit, end)

        def make() -> bytes:
            buckets = [
                Bucket(
                    timestamp(day * MINUTES_PER_DAY),
                    timestamp((day + 1) * MINUTES_PER_DAY),
                    [
                        cost_result(line, by)
                        for line in _merge(self._ledger.cost_lines(day, now), by)
                    ],
                )
                for day in range(start, stop)
            ]
            return _encode(buckets, stop, end, parameters.fingerprint)

        return ReportPage(
            key=(parameters.fingerprint, start, end),
            cursor=paging.mint(start, end, parameters.fingerprint),
            settled=self._books.settled(stop * MINUTES_PER_DAY, now)
            and self._ledger.billed(start, stop, now),
            make=make,
        )

    def claude_code(self, parameters: Parameters) -> ReportPage:
        """Answer `usage_report/claude_code`."""
        now = self._books.clock()
        day = day_of(parameters.required_day("starting_at"))
        limit = parameters.limit(20, 1000)
        page = parameters.text("page")
        parameters.finish()
        start = 0 if page is None else paging.read(page, parameters.fingerprint)[0]
        cursor = paging.mint(start, 0, parameters.fingerprint)

        def make() -> bytes:
            records = self._claude_code.records(day, now)
            stop = min(start + limit, len(records))
            data = [
                claude_code_record(record, self._organisation.id) for record in records[start:stop]
            ]
            has_more = stop < len(records)
            following = paging.mint(stop, 0, parameters.fingerprint) if has_more else None
            return msgspec.json.encode(Page(data, has_more, following))

        return ReportPage(
            key=(parameters.fingerprint, start),
            cursor=cursor,
            settled=self._books.settled((day + 1) * MINUTES_PER_DAY, now),
            make=make,
        )


def _group_by(parameters: Parameters, allowed: tuple[str, ...]) -> tuple[str, ...]:
    values = parameters.choices("group_by[]", allowed)
    if len(values) > 5:
        raise invalid("Cannot specify more than 5 group_by[] dimensions.")
    return tuple(dict.fromkeys(values))


def _merge(lines: list[CostLine], by: tuple[str, ...]) -> list[CostLine]:
    """Add up the lines that the grouping does not tell apart."""
    merged: dict[tuple[str, ...], CostLine] = {}
    for line in lines:
        key = tuple(getattr(line, name) or "" for name in by)
        known = merged.get(key)
        amount = line.amount + (known.amount if known else Decimal(0))
        merged[key] = attrs.evolve(line, amount=amount)
    return [merged[key] for key in sorted(merged)]


def _encode(buckets: list[Bucket], stop: int, end: int, fingerprint: bytes) -> bytes:
    has_more = stop < end
    following = paging.mint(stop, end, fingerprint) if has_more else None
    return msgspec.json.encode(Page(buckets, has_more, following))
