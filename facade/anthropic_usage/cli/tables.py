"""Reports as tables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import attrs

from .. import human
from ..directory import DEFAULT_WORKSPACE, NO_KEY
from ..query import PERIODS, Query
from ..rows import ClaudeCodeRow, CostRow, Row, UsageRow
from .columns import Column, lay_out

if TYPE_CHECKING:
    Cell = Callable[[Any], Any]

__all__ = ["actor_label", "print_table"]

_NULLS = {
    "workspace_id": DEFAULT_WORKSPACE,
    "api_key_id": NO_KEY,
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
_RIGID = {"date", *PERIODS}

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
_USAGE_GIVES_WAY = ("searches", "cache write", "cache read")
_COST: list[tuple[str, Cell]] = [("amount", lambda row: human.dollars(row.amount_usd))]
_CLAUDE_CODE: list[tuple[str, Cell]] = [
    ("sessions", lambda row: _known(row.num_sessions)),
    ("lines +", lambda row: _known(row.lines_added)),
    ("lines -", lambda row: _known(row.lines_removed)),
    ("commits", lambda row: _known(row.commits_by_claude_code)),
    ("PRs", lambda row: _known(row.pull_requests_by_claude_code)),
    ("accepted", lambda row: _acceptance(row)),
    (
        "tokens",
        lambda row: human.count(
            row.input_tokens + row.output_tokens + row.cache_read_tokens + row.cache_creation_tokens
        ),
    ),
    ("est. cost", lambda row: human.dollars(row.estimated_cost_usd)),
]
_CLAUDE_CODE_GIVES_WAY = ("tokens", "lines -", "PRs", "accepted", "commits")


def print_table(
    query: Query,
    rows: Sequence[Row],
    totals: Row,
    by: tuple[str, ...] | None,
    out: IO[str],
    title: str | None = None,
    names: Mapping[str, str] | None = None,
    days: Sequence[object] | None = None,
) -> tuple[str, ...]:
    """Print rows and their totals; `by` is what they were folded by, None if they were not.

    `names` are shown instead of the ids they belong to, `days` says how many days of its period
    each row holds. Returns the headings of the columns that were left out because the terminal is
    too narrow for them; where there is none, nothing is.
    """
    columns = _columns(query, rows, totals, by, names or {})
    if days is not None:
        place = sum(not column.right for column in columns)
        columns.insert(place, Column("days", [str(said) for said in days], rigid=True))
    if len(rows) < 2:
        columns = [attrs.evolve(column, total="") for column in columns]
    return lay_out(columns, out, title)


def _columns(
    query: Query,
    rows: Sequence[Row],
    totals: Row,
    by: tuple[str, ...] | None,
    names: Mapping[str, str],
) -> list[Column]:
    labels = [
        Column(
            heading,
            [names.get(text, text) for text in map(str, map(cell, rows))],
            "" if place else "total",
            rigid=heading in _RIGID or heading.startswith("from ("),
        )
        for place, (heading, cell) in enumerate(_labels(query, by))
    ]
    measures, giving_way = _measures(query.row)
    return labels + [
        Column(
            heading,
            [cell(row) for row in rows],
            cell(totals),
            True,
            gives_way=giving_way.index(heading) if heading in giving_way else None,
        )
        for heading, cell in measures
    ]


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
        elif name != "currency" or by is not None:
            labels.append((_HEADINGS.get(name, name), _dimension(query, name)))
    return labels


def _time(query: Query) -> tuple[str, Cell]:
    if issubclass(query.row, ClaudeCodeRow):
        return "date", lambda row: str(row.date)
    if query.width.days or query.timezone is None:
        heading = "date" if query.width.days else "from (UTC)"
        return heading, lambda row: human.moment(row.starting_at, query.width)
    # Where clocks go back an hour comes twice: only the offset tells which is which.
    return f"from ({query.timezone})", lambda row: f"{row.starting_at:%Y-%m-%d %H:%M%z}"


def _dimension(query: Query, name: str) -> Cell:
    if name == "actor":
        return actor_label
    null = _NULLS.get(name, "-")

    def cell(row: Row) -> str:
        value = getattr(row, name)
        if value is None:
            return null
        return ("yes" if value else "no") if isinstance(value, bool) else human.clean(value)

    return cell


def actor_label(row: ClaudeCodeRow) -> str:
    """Write who it was: a person's address as it is, and of all others what they are."""
    name = "-" if row.actor is None else human.clean(row.actor)
    if row.actor_type == "user_actor":
        return name
    kind = {"api_actor": "API key", None: "kind not said"}.get(row.actor_type, row.actor_type)
    return f"{name} ({human.clean(kind)})"


def _measures(row: type[Row]) -> tuple[list[tuple[str, Cell]], tuple[str, ...]]:
    """Return the measures' columns, and which of them give way first."""
    if issubclass(row, UsageRow):
        return _USAGE, _USAGE_GIVES_WAY
    return (_COST, ()) if issubclass(row, CostRow) else (_CLAUDE_CODE, _CLAUDE_CODE_GIVES_WAY)


def _acceptance(row: ClaudeCodeRow) -> str:
    if row.accepted is None or row.rejected is None:
        return "-"
    return human.percent(row.accepted, row.accepted + row.rejected)


def _known(number: int | None) -> str:
    """Write a count; "-" where the API does not say it."""
    return "-" if number is None else human.count(number)
