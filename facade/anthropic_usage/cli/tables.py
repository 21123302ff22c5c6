"""Reports as tables."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

import attrs

from .. import human
from ..directory import DEFAULT_WORKSPACE, NO_KEY
from ..fields import Row
from ..money import total
from ..reports import PERIODS, ClaudeCodeRow, Query
from ..reports.kind import Figure
from .columns import Column, lay_out

if TYPE_CHECKING:
    Cell = Callable[[Any], Any]

__all__ = ["actor_label", "print_table"]

_NULLS = {
    "workspace_id": DEFAULT_WORKSPACE,
    "api_key_id": NO_KEY,
}
_RIGID = {"date", *PERIODS}


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
    return labels + [
        Column(
            figure.heading,
            [_figure(figure, row) for row in rows],
            _figure(figure, totals),
            True,
            gives_way=figure.gives_way,
        )
        for figure in query.kind.figures()
    ]


def _labels(query: Query, by: tuple[str, ...] | None) -> list[tuple[str, Cell]]:
    """Return the columns that say what a row is about."""
    dimensions = query.dimensions if by is None else by
    if by is None:
        # A description says in words what the dimensions that come with it say one by one.
        source = query.kind.fields.source
        dimensions = tuple(n for n in dimensions if n == source(n) or source(n) not in dimensions)
    labels: list[tuple[str, Cell]] = []
    if by is None:
        labels.append(_time(query))
    for name in dimensions:
        if name in (*PERIODS, "date"):
            labels.append((name, operator.attrgetter(name)))
        elif name == "starting_at":
            labels.append(_time(query))
        elif name != "currency" or by is not None:
            labels.append((query.kind.fields.headings[name], _dimension(query, name)))
    return labels


def _time(query: Query) -> tuple[str, Cell]:
    clock = query.kind.fields.all[query.kind.fields.clock]
    if clock.type is dt.date:
        return clock.name, lambda row: str(getattr(row, clock.name))
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


def _figure(figure: Figure, row: Row) -> str:
    """Write a number; "-" where the API does not say it."""
    values = [getattr(row, name) for name in figure.of]
    if any(value is None for value in values):
        return "-"
    if figure.share:
        return human.percent(values[0], sum(values))
    if isinstance(values[0], Decimal):
        return human.dollars(total(values))
    return human.count(sum(values))
