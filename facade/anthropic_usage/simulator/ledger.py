"""The truth to test against: totals straight from the books, past HTTP, paging and JSON."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from .books import POSITIONS, Books, add_up
from .calendar import MINUTES_PER_DAY, day_of, minute_of
from .claude_code import TOOLS, ClaudeCode, Record
from .events import MEASURES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .bill import CostLine
    from .costs import Costs
    from .organisation import Organisation

FILTERS = {
    "api_key_ids": "api_key_id",
    "workspace_ids": "workspace_id",
    "models": "model",
    "service_tiers": "service_tier",
    "context_window": "context_window",
    "inference_geos": "inference_geo",
    "account_ids": "account_id",
    "service_account_ids": "service_account_id",
    "speeds": "speed",
}
"""The usage report's filters and the dimension that each looks at."""

_RECORD_DIMENSIONS = (
    "date",
    "actor_type",
    "actor",
    "terminal_type",
    "is_remote",
    "customer_type",
    "subscription_type",
)


class Ledger:
    """Sums of what the reports show at this moment."""

    def __init__(
        self, organisation: Organisation, books: Books, costs: Costs, claude_code: ClaudeCode
    ) -> None:
        self._organisation = organisation
        self._books = books
        self._costs = costs
        self._claude_code = claude_code

    def usage(
        self,
        start: datetime | date,
        end: datetime | date,
        *,
        by: Iterable[str] = (),
        **filters: str | Iterable[str],
    ) -> dict[tuple[str | None, ...], dict[str, int]]:
        """Return the measures from `start` up to `end`, in whole minutes, by the dimensions `by`.

        Filters are named as the report's parameters, without brackets. Without `by` there is always
        one entry, under `()`.
        """
        unknown = filters.keys() - FILTERS.keys()
        if unknown:
            raise TypeError(f"no such filter: {', '.join(sorted(unknown))}")
        wanted = {
            POSITIONS[FILTERS[name]]: wanted_values(
                FILTERS[name], [values] if isinstance(values, str) else values, self._organisation
            )
            for name, values in filters.items()
        }
        positions = [POSITIONS[name] for name in by]
        cells = self._books.between(_minute(start), _minute(end), self._books.clock())
        sums = add_up(cells, positions, wanted)
        if not positions and not sums:
            sums[()] = (0, 0, 0, 0, 0, 0)
        return {key: dict(zip(MEASURES, sums[key], strict=True)) for key in sums}

    def cost(
        self, start: datetime | date, end: datetime | date, *, by: Iterable[str] = ()
    ) -> dict[tuple[str | None, ...], Decimal]:
        """Return the exact cents of the complete UTC days from `start` up to `end`.

        `by` takes any of the report's fields: `workspace_id`, `description`, `model`, `token_type`
        and so on. Without it there is always one entry, under `()`.
        """
        names = tuple(by)
        now = self._books.clock()
        last = min(day_of(end), now // 86_400)
        sums: dict[tuple[str | None, ...], Decimal] = {} if names else {(): Decimal(0)}
        for day in range(day_of(start), last):
            for line in self.cost_lines(day, now):
                key = tuple(getattr(line, name) for name in names)
                sums[key] = sums.get(key, Decimal(0)) + line.amount
        return sums

    def cost_lines(self, day: int, now: int) -> list[CostLine]:
        """Return one day's lines as they are visible at second `now`; none before its bill came."""
        if self._costs.pending(day, now):
            return []
        cells = self._books.cells(day * MINUTES_PER_DAY, MINUTES_PER_DAY, now)
        return self._costs.lines(day, cells)

    def billed(self, start: int, stop: int, now: int) -> bool:
        """Say whether no bill of the closed days from `start` up to `stop` is still to come."""
        return not any(self._costs.pending(day, now) for day in range(start, stop))

    def claude_code(
        self,
        start_day: datetime | date,
        end_day: datetime | date,
        *,
        by: Iterable[str] = (),
    ) -> dict[tuple[str | bool | None, ...], dict[str, int]]:
        """Return the sums of the records from `start_day` up to `end_day`.

        `by` takes `date`, `actor_type`, `actor`, `terminal_type`, `is_remote`, `customer_type`,
        `subscription_type`, and `model`, with which only tokens and cost are summed.
        """
        names = tuple(by)
        now = self._books.clock()
        sums: dict[tuple[str | bool | None, ...], dict[str, int]] = {}
        for day in range(day_of(start_day), day_of(end_day)):
            for record in self._claude_code.records(day, now):
                for key, measures in _entries(record, names):
                    total = sums.setdefault(key, dict.fromkeys(measures, 0))
                    for name, value in measures.items():
                        total[name] += value
        return sums


def wanted_values(
    dimension: str, values: Iterable[str], organisation: Organisation
) -> Collection[str | None]:
    """Return what a filter looks for; the default workspace answers to its own id."""
    wanted: set[str | None] = set(values)
    if dimension == "workspace_id":
        default = next(space for space in organisation.workspaces if space.is_default)
        if default.id in wanted:
            wanted.add(None)
    return wanted


def _minute(moment: datetime | date) -> int:
    if isinstance(moment, datetime):
        return minute_of(moment)
    return day_of(moment) * MINUTES_PER_DAY


def _entries(
    record: Record, names: Sequence[str]
) -> list[tuple[tuple[str | bool | None, ...], dict[str, int]]]:
    seat = record.seat
    values: dict[str, str | bool | None] = {
        name: record.date if name == "date" else getattr(seat, name) for name in _RECORD_DIMENSIONS
    }
    by_model = [
        (
            use.model,
            {
                "input_tokens": use.input,
                "output_tokens": use.output,
                "cache_read_tokens": use.cache_read,
                "cache_creation_tokens": use.cache_creation,
                "estimated_cost_cents": use.cents,
            },
        )
        for use in record.models
    ]
    if "model" in names:
        return [
            (tuple({**values, "model": model}[name] for name in names), tokens)
            for model, tokens in by_model
        ]
    measures = {
        "num_sessions": record.num_sessions,
        "lines_added": record.lines_added,
        "lines_removed": record.lines_removed,
        "commits_by_claude_code": record.commits,
        "pull_requests_by_claude_code": record.pull_requests,
    }
    for tool, (accepted, rejected) in zip(TOOLS, record.tools, strict=True):
        measures[f"{tool}_accepted"] = accepted
        measures[f"{tool}_rejected"] = rejected
    for name in (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_creation_tokens",
        "estimated_cost_cents",
    ):
        measures[name] = sum(tokens[name] for _, tokens in by_model)
    return [(tuple(values[name] for name in names), measures)]
