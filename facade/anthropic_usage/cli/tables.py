"""Reports as tables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..query import PERIODS, Query
from ..rows import ClaudeCodeRow, CostRow, Row, UsageRow
from . import human

if TYPE_CHECKING:
    Cell = Callable[[Any], Any]

__all__ = ["print_table"]

_NULLS = {
    "workspace_id": "(default workspace)",
    "api_key_id": "(no key: Console)",
}
_HEADINGS = {
    "api_key_id": "api key",
    "workspace_id": "workspace",
    "service_tier": "tier",
    "context_window": "context",
    "inference_geo": "geo",
    "account_id": "account",
    "service_account_id": "service account",
    "cost_type": "type",
    "token_type": "token type",
    "organization_id": "organization",
    "actor_type": "kind",
    "customer_type": "customer",
    "subscription_type": "subscription",
    "terminal_type": "terminal",
    "is_remote": "remote",
}
_PIPED_WIDTH = 400
"""Wide enough that nothing is cut where no terminal sets the width."""

_USAGE: list[tuple[str, Cell]] = [
    ("input", lambda row: human.count(row.uncached_input_tokens)),
    (
        "cache write",
        lambda row: human.count(
            row.cache_creation_5m_input_tokens + row.cache_creation_1h_input_tokens
        ),
    ),
    ("cache read", lambda row: human.count(row.cache_read_input_tokens)),
    ("output", lambda row: human.count(row.output_tokens)),
    ("total tokens", lambda row: human.count(row.total_tokens)),
    ("searches", lambda row: human.count(row.web_search_requests)),
]
_COST: list[tuple[str, Cell]] = [("amount", lambda row: human.dollars(row.amount_usd))]
_TOOLS = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
_CLAUDE_CODE: list[tuple[str, Cell]] = [
    ("sessions", lambda row: human.count(row.num_sessions)),
    ("lines +", lambda row: human.count(row.lines_added)),
    ("lines -", lambda row: human.count(row.lines_removed)),
    ("commits", lambda row: human.count(row.commits_by_claude_code)),
    ("PRs", lambda row: human.count(row.pull_requests_by_claude_code)),
    ("accepted", lambda row: _acceptance(row)),
    (
        "tokens",
        lambda row: human.count(
            row.input_tokens + row.output_tokens + row.cache_read_tokens + row.cache_creation_tokens
        ),
    ),
    ("est. cost", lambda row: human.dollars(row.estimated_cost_usd)),
]


def print_table(
    query: Query,
    rows: Sequence[Row],
    totals: Row,
    by: tuple[str, ...] | None,
    out: IO[str],
    title: str | None = None,
) -> None:
    """Print rows and their totals; `by` is what they were folded by, None if they were not."""
    tty = out.isatty()
    console = Console(
        file=out, width=None if tty else _PIPED_WIDTH, highlight=False, soft_wrap=False
    )
    labels = _labels(query, by)
    measures = _measures(query.row)
    table = Table(
        box=box.SIMPLE_HEAD,
        show_footer=bool(labels) and len(rows) > 1,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for place, (heading, _) in enumerate(labels):
        table.add_column(heading, "total" if place == 0 else "", overflow="fold")
    for heading, cell in measures:
        table.add_column(heading, cell(totals), justify="right", no_wrap=True)
    for row in rows:
        cells = [str(cell(row)) for _, cell in (*labels, *measures)]
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _labels(query: Query, by: tuple[str, ...] | None) -> list[tuple[str, Cell]]:
    """Return the columns that say what a row is about."""
    dimensions = query.dimensions if by is None else by
    if by is None and issubclass(query.row, CostRow) and "description" in dimensions:
        # The description says in words what the six dimensions that come with it say one by one.
        dimensions = tuple(name for name in ("workspace_id", "description") if name in dimensions)
    labels: list[tuple[str, Cell]] = []
    if by is None:
        labels.append(_time(query))
    for name in dimensions:
        if name in (*PERIODS, "date"):
            labels.append((name, operator.attrgetter(name)))
        elif name == "starting_at":
            labels.append(_time(query))
        elif name != "currency":
            labels.append((_HEADINGS.get(name, name), _dimension(query, name)))
    return labels


def _time(query: Query) -> tuple[str, Cell]:
    if issubclass(query.row, ClaudeCodeRow):
        return "date", lambda row: str(row.date)
    heading = "date" if query.width.days else "from (UTC)"
    return heading, lambda row: human.moment(row.starting_at, query.width)


def _dimension(query: Query, name: str) -> Cell:
    null = _NULLS.get(name, "-")

    def cell(row: Row) -> str:
        value = getattr(row, name)
        if value is None:
            return null
        return ("yes" if value else "no") if isinstance(value, bool) else human.clean(value)

    return cell


def _measures(row: type[Row]) -> list[tuple[str, Cell]]:
    if issubclass(row, UsageRow):
        return _USAGE
    return _COST if issubclass(row, CostRow) else _CLAUDE_CODE


def _acceptance(row: ClaudeCodeRow) -> str:
    accepted: int = sum(getattr(row, f"{tool}_accepted") for tool in _TOOLS)
    rejected: int = sum(getattr(row, f"{tool}_rejected") for tool in _TOOLS)
    return human.percent(accepted, accepted + rejected)
