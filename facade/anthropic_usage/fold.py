"""Sums of a report, page by page: one row a group, in constant memory for constant groups."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

import attrs
import msgspec

from .moments import DAY, next_month
from .money import add
from .query import PERIODS, Query
from .rows import ClaudeCodeRow, CostRow, ModelUse, Row, ToolUse, UsageRow, monday
from .wire import (
    CostPage,
    Page,
    UsagePage,
    UsageResult,
    claude_code_row,
    clock,
    usage_results,
)

__all__ = ["Fold"]

_USAGE_MEASURES: Final = tuple(
    operator.attrgetter(path)
    for path in (
        "uncached_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "server_tool_use.web_search_requests",
    )
)
"""In the order of `UsageRow.MEASURES`."""

_CODE_MEASURES: Final = operator.attrgetter(*ClaudeCodeRow.MEASURES)

_UNKNOWN: Final = (None,) * len(ClaudeCodeRow.MEASURES)

_Begin = dt.datetime | dt.date | None
"""Where a group's period begins: a bucket's start, or a day on the clocks of the query's zone."""

_Key = tuple[_Begin, Any]
"""A group: where its period begins, and its value or values of the other dimensions."""


class Fold:
    """Adds up pages by `dimensions`; without any, everything is one group.

    Groups that include a period come in time order, all others largest first: by total tokens,
    amount, or estimated cost. Groups of actors are told apart by `actor_type` too: a person is
    not the API key of the same spelling.
    """

    def __init__(self, query: Query, dimensions: tuple[str, ...] = ()) -> None:
        query.check_fold(dimensions)
        self.query = query
        self.dimensions = dimensions
        self.groups: dict[_Key, Any] = {}
        self._time = {"starting_at", "date", *PERIODS}.intersection(dimensions)
        static = [name for name in dimensions if name not in self._time]
        if "actor" in static:
            static.append("actor_type")
        self._static = tuple(dict.fromkeys(static))
        self._key = _getter(self._static)
        self._period = _finest(self._time)

    def add(self, page: Page) -> None:
        """Add one page."""
        if isinstance(page, UsagePage):
            self._add_usage(page)
        elif isinstance(page, CostPage):
            self._add_cost(page)
        else:
            for record in page.data:
                row = claude_code_row(record)
                assert row.date is not None  # noqa: S101
                begin = self._begin(dt.datetime.combine(row.date, dt.time(), dt.UTC))
                for part in _by_model(row) if "model" in self._static else (row,):
                    self._add_record((begin, self._key(part)), part)

    def rows(self) -> list[Row]:
        """Return the groups as rows with the report's own field names."""
        nothing: dict[_Key, Any] = {} if self.dimensions else {(None, None): None}
        rows = [self._row(key, sums) for key, sums in (self.groups or nothing).items()]
        rows.sort(key=_size, reverse=True)
        if self._period:
            rows.sort(key=_start)
        return rows

    def _add_usage(self, page: UsagePage) -> None:
        groups, key_of = self.groups, self._key
        for bucket in page.data:
            begin = self._begin(bucket.starting_at)
            results = usage_results(bucket, self.query)
            if not results:
                continue
            if not self._static:
                # The whole bucket is one group: columns add up faster than rows.
                sums = groups.setdefault((begin, None), [0, 0, 0, 0, 0, 0])
                for place, measure in enumerate(_USAGE_MEASURES):
                    sums[place] += sum(map(measure, results))
                continue
            add_usage(groups, begin, key_of, results)

    def _add_cost(self, page: CostPage) -> None:
        groups, key_of = self.groups, self._key
        for bucket in page.data:
            begin = self._begin(bucket.starting_at)
            for line in bucket.results:
                key = (begin, key_of(line))
                amount = Decimal(line.amount)
                groups[key] = add(groups[key], amount) if key in groups else amount

    def _add_record(self, key: _Key, row: ClaudeCodeRow) -> None:
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = _CodeSums()
        group.add(row)

    def _begin(self, start: dt.datetime) -> _Begin:
        return None if self._period is None else self._period(clock(self.query, start))

    def _row(self, key: _Key, sums: Any) -> Row:
        begin, values = key
        if len(self._static) == 1:
            values = (values,)
        named = dict(zip(self._static, values or (), strict=True))
        start, end = self._span(begin)
        if isinstance(self.query.row, type) and issubclass(self.query.row, ClaudeCodeRow):
            group = sums or _CodeSums()
            return ClaudeCodeRow(
                date=None if begin is None else start.date(), **named, **group.fields()
            )
        if issubclass(self.query.row, CostRow):
            return CostRow(
                starting_at=start, ending_at=end, amount_cents=sums or Decimal(0), **named
            )
        measures = sums or (0,) * len(UsageRow.MEASURES)
        counts = dict(zip(UsageRow.MEASURES, measures, strict=True))
        return UsageRow(starting_at=start, ending_at=end, **named, **counts)

    def _span(self, begin: _Begin) -> tuple[dt.datetime, dt.datetime]:
        """Return the part of a group's period that the report covers."""
        query = self.query
        first, last = query.starting_at, query.ending_at
        if begin is None:
            return first, last
        if isinstance(begin, dt.datetime):
            return begin, min(query.bucket_end(begin), last)
        if "day" in self._time:
            end = begin + DAY
        else:
            ends = []
            if "week" in self._time:
                ends.append(monday(begin) + 7 * DAY)
            if "month" in self._time:
                ends.append(next_month(begin.replace(day=1)))
            end = min(ends)
        return max(query.midnight(begin), first), min(query.midnight(end), last)


@attrs.define
class _CodeSums:
    """Running sums of Claude Code records."""

    measures: tuple[int | None, ...] = (0,) * len(ClaudeCodeRow.MEASURES)
    models: dict[str, ModelUse] = attrs.field(factory=dict)
    other_tools: dict[str, ToolUse] = attrs.field(factory=dict)

    def add(self, row: ClaudeCodeRow) -> None:
        if row.model is None:
            self.measures = tuple(map(operator.add, self.measures, _CODE_MEASURES(row)))
        else:
            self.measures = _UNKNOWN
        for use in row.models:
            known = self.models.get(use.model)
            self.models[use.model] = use if known is None else known.plus(use)
        for tool in row.other_tools:
            before = self.other_tools.get(
                tool.tool, ToolUse(tool=tool.tool, accepted=0, rejected=0)
            )
            self.other_tools[tool.tool] = ToolUse(
                tool=tool.tool,
                accepted=before.accepted + tool.accepted,
                rejected=before.rejected + tool.rejected,
            )

    def fields(self) -> dict[str, Any]:
        models = sorted(self.models.values(), key=lambda use: use.model)
        models.sort(key=lambda use: use.estimated_cost_cents, reverse=True)
        return {
            **dict(zip(ClaudeCodeRow.MEASURES, self.measures, strict=True)),
            "models": tuple(models),
            "other_tools": tuple(self.other_tools[name] for name in sorted(self.other_tools)),
        }


def add_usage(
    groups: dict[_Key, Any],
    begin: _Begin,
    key_of: Callable[[UsageResult], Any],
    results: Iterable[UsageResult],
) -> None:
    """Add results to their groups: sums in the order of `UsageRow.MEASURES`."""
    # Written out, not looped over the measures: this runs once a row, millions of times.
    for result in results:
        key = (begin, key_of(result))
        sums = groups.get(key)
        if sums is None:
            sums = groups[key] = [0, 0, 0, 0, 0, 0]
        cache = result.cache_creation
        sums[0] += result.uncached_input_tokens
        sums[1] += cache.ephemeral_5m_input_tokens
        sums[2] += cache.ephemeral_1h_input_tokens
        sums[3] += result.cache_read_input_tokens
        sums[4] += result.output_tokens
        sums[5] += result.server_tool_use.web_search_requests


def _by_model(row: ClaudeCodeRow) -> Iterable[ClaudeCodeRow]:
    """Return a row's parts by model; sessions, lines and proposals are of no model in particular.

    Were they repeated in each part, their sums would count them as often as there are models.
    """
    unknown: dict[str, Any] = dict(zip(ClaudeCodeRow.MEASURES, _UNKNOWN, strict=True))
    return [
        msgspec.structs.replace(row, **unknown, model=use.model, models=(use,), other_tools=())
        for use in row.models
    ]


def _getter(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return what reads `names` off an object: nothing, one value, or a tuple of several."""
    return operator.attrgetter(*names) if names else lambda item: None


def _finest(time: Iterable[str]) -> Callable[[dt.datetime], dt.datetime | dt.date] | None:
    """Return what maps a bucket's start to the start of its finest period asked for."""
    wanted = set(time)
    if wanted & {"starting_at", "date"}:
        return lambda moment: moment
    if "day" in wanted:
        return lambda moment: moment.date()
    if "week" in wanted and "month" in wanted:
        return lambda moment: max(monday(moment.date()), _first(moment))
    if "week" in wanted:
        return lambda moment: monday(moment.date())
    return _first if "month" in wanted else None


def _first(moment: dt.datetime) -> dt.date:
    return moment.date().replace(day=1)


def _size(row: Row) -> Any:
    if isinstance(row, UsageRow):
        return row.total_tokens
    if isinstance(row, CostRow):
        return row.amount_cents
    assert isinstance(row, ClaudeCodeRow)  # noqa: S101
    return row.estimated_cost_usd


def _start(row: Row) -> Any:
    return row.date if isinstance(row, ClaudeCodeRow) else getattr(row, "starting_at", None)
