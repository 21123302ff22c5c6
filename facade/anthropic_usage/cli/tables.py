"""Reports as tables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import attrs
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import human
from ..query import PERIODS, Query
from ..rows import ClaudeCodeRow, CostRow, Row, UsageRow

if TYPE_CHECKING:
    Cell = Callable[[Any], Any]

__all__ = ["TableColumn", "actor_label", "print_fitted", "print_table"]

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
_RIGID = {"date", "from (UTC)", *PERIODS}
_NO_LIMIT = 100_000
"""The width where no terminal sets one: nothing is cut or broken in a pipe."""
_NARROWEST = 12
"""Narrower than this, a name says nothing."""
_GAP = 3
_TIGHT_GAP = 2

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
    each row holds. Returns the headings of the columns that
    were left out because the terminal is too narrow for them; where there is none, nothing is.
    """
    columns = _columns(query, rows, totals, by, names or {})
    if days is not None:
        place = sum(not column.measure for column in columns)
        columns.insert(
            place, TableColumn(heading="days", cells=[str(said) for said in days], total="")
        )
    return print_fitted(columns, out, title, footer=len(rows) > 1)


def print_fitted(
    columns: Sequence[TableColumn], out: IO[str], title: str | None = None, *, footer: bool = False
) -> tuple[str, ...]:
    """Print columns, as many as there is room for; returns the headings of those left out."""
    tty = out.isatty()
    console = Console(file=out, width=None if tty else _NO_LIMIT, highlight=False)
    shown, stacked = _fit(columns, console.width)
    table = Table(
        box=box.SIMPLE,
        show_edge=False,
        show_footer=footer,
        pad_edge=False,
        collapse_padding=stacked,
    )
    for column in shown:
        table.add_column(
            column.stacked_heading if stacked else column.heading,
            column.total,
            justify="right" if column.measure else "left",
            no_wrap=column.rigid,
            min_width=column.narrowest,
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, cells))
    # Numbers are never cut short: below this the terminal itself breaks the lines.
    console.width = max(console.width, _width(shown, stacked, narrowest=True))
    with console.capture() as capture:
        if title:
            console.print(Text(title, style="bold"))
        console.print(table)
    text = capture.get()
    out.write(text if tty else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    return tuple(column.heading for column in columns if column not in shown)


@attrs.frozen(kw_only=True)
class TableColumn:
    """One column, every cell written out."""

    heading: str
    cells: Sequence[str]
    total: str
    measure: bool = False
    rigid: bool = True
    """Whether a cell must stay on one line: all but names and ids."""
    dispensable: int | None = None
    """The order in which columns give way on a narrow terminal; None for those that stay."""

    @property
    def stacked_heading(self) -> str:
        """The heading in two lines: a measure's words one above the other."""
        two = self.measure and " " in self.heading
        return self.heading.replace(" ", "\n") if two else f"\n{self.heading}"

    def width(self, stacked: bool) -> int:
        """Return how wide it is without breaking a cell."""
        heading = self.stacked_heading if stacked else self.heading
        return max(cell_len(text) for text in (*heading.split("\n"), *self.cells, self.total))

    @property
    def narrowest(self) -> int:
        """How narrow it may get."""
        width = self.width(stacked=True)
        return width if self.rigid else min(width, _NARROWEST)


def _columns(
    query: Query,
    rows: Sequence[Row],
    totals: Row,
    by: tuple[str, ...] | None,
    names: Mapping[str, str],
) -> list[TableColumn]:
    labels = [
        TableColumn(
            heading=heading,
            cells=[names.get(text, text) for text in map(str, map(cell, rows))],
            total="" if place else "total",
            rigid=heading in _RIGID,
        )
        for place, (heading, cell) in enumerate(_labels(query, by))
    ]
    measures, giving_way = _measures(query.row)
    return labels + [
        TableColumn(
            heading=heading,
            cells=[cell(row) for row in rows],
            total=cell(totals),
            measure=True,
            dispensable=giving_way.index(heading) if heading in giving_way else None,
        )
        for heading, cell in measures
    ]


def _fit(columns: Sequence[TableColumn], room: int) -> tuple[Sequence[TableColumn], bool]:
    """Return the columns that fit, and whether their headings are stacked.

    First the headings' words go one above the other, then the least telling measures go, and only
    then are names and ids broken over several lines.
    """
    if _width(columns, stacked=False) <= room:
        return columns, False
    shown = columns
    while _width(shown, stacked=True) > room:
        candidates = [column for column in shown if column.dispensable is not None]
        if not candidates:
            break
        first = min(candidates, key=operator.attrgetter("dispensable"))
        shown = [column for column in shown if column is not first]
    return shown, True


def _width(columns: Sequence[TableColumn], stacked: bool, narrowest: bool = False) -> int:
    gap = _TIGHT_GAP if stacked else _GAP
    widths = (column.narrowest if narrowest else column.width(stacked) for column in columns)
    return sum(widths) + gap * (len(columns) - 1)


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
    heading = "date" if query.width.days else "from (UTC)"
    return heading, lambda row: human.moment(row.starting_at, query.width)


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
