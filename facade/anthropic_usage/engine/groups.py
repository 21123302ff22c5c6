"""Groups: the rows that a report was summed up to, a list that can be written and summed again."""

from __future__ import annotations

import datetime as dt
import html
import os
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeVar

from ..errors import InvalidQuery
from ..fields import PERIODS, Row
from ..fields import columns as arrow
from ..reports import Query
from ..sinks.columns import to_pandas, to_polars, write_parquet
from ..sinks.delimited import CsvSink, NdjsonSink
from ..sinks.plain import plain_value
from .fold import Fold, finest

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = ["Groups", "as_html", "as_text"]

R = TypeVar("R", bound=Row)
Target = str | os.PathLike[str] | IO[str]

_SHOWN: Final = 20
"""How many rows a picture of groups has."""
_FINER: Final = {"day": PERIODS, "week": ("week",), "month": ("month",)}
"""What groups by a period can be summed up to."""


class Groups(list[R]):
    """One row a group: a list that has every `to_...` of a report, and `by()` itself.

    `by()` takes what the groups were made by, and what a day lies in. It asks nothing again.
    """

    def __init__(
        self,
        rows: Iterable[R],
        query: Query,
        dimensions: tuple[str, ...],
        settled_until: dt.datetime | None = None,
    ) -> None:
        super().__init__(rows)
        self.query = query
        self.dimensions = dimensions
        self.settled_until = settled_until
        """Up to here the sums will not change."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that these rows have something in."""
        return self.query.group_columns(self.dimensions)

    def by(self, *dimensions: str | Iterable[str]) -> Groups[R]:
        """Return the same summed up further; raises InvalidQuery for what was not asked."""
        asked = flat(dimensions)
        clock = self.query.kind.fields.clock
        known = dict.fromkeys(self.dimensions)
        for name in self.dimensions:
            known |= dict.fromkeys(PERIODS if name == clock else _FINER.get(name, ()))
        for name in asked:
            if name not in known:
                raise InvalidQuery(
                    f"by({name!r}): these groups are by {', '.join(self.dimensions) or 'nothing'}; "
                    "ask the report"
                )
        fold = Fold(self.query, asked)
        period = finest(set(asked) & {clock, *PERIODS})
        for row in self:
            fold.add_row(row, None if period is None else period(_start(row, clock)))
        return Groups(fold.rows(), self.query, asked, self.settled_until)

    def totals(self) -> R:
        """Return everything as one row."""
        return self.by()[0]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries of JSON values: money and moments are strings."""
        return [{name: plain_value(getattr(row, name)) for name in self.columns} for row in self]

    def to_csv(self, target: Target, *, excel_safe: bool = True) -> None:
        """Write the groups as CSV to a path (which appears when whole) or an open text file."""
        self._write(CsvSink(self.query, target, excel_safe, columns=self.columns))

    def to_ndjson(self, target: Target) -> None:
        """Write the groups as one JSON object a line to a path or an open text file."""
        self._write(NdjsonSink(self.query, target, columns=self.columns))

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table with decimal money. Needs the extra `arrow`."""
        fields = self.query.kind.fields
        return arrow.table(fields, self, self.columns, self.query.timezone or "UTC")

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file with decimal money. Needs the extra `arrow`."""
        write_parquet(self.to_arrow(), path)

    def to_pandas(self, *, money: Literal["decimal", "float"] = "decimal") -> pandas.DataFrame:
        """Return a pandas frame. Needs the extra `pandas`; see `Report.to_pandas`."""
        return to_pandas(self.to_arrow(), money)

    def to_polars(self) -> polars.DataFrame:
        """Return a Polars frame. Needs the extra `polars`."""
        return to_polars(self.to_arrow())

    def _write(self, sink: CsvSink | NdjsonSink) -> None:
        try:
            sink.write(self)
            sink.finish()
        except BaseException:
            sink.abort()
            raise

    def __repr__(self) -> str:
        return as_text(self.columns, self)

    def _repr_html_(self) -> str:
        return as_html(self.columns, self)


def flat(dimensions: Iterable[str | Iterable[str]]) -> tuple[str, ...]:
    """Return names that were given one by one, or several at once."""
    names: list[str] = []
    for given in dimensions:
        names += [given] if isinstance(given, str) else given
    return tuple(dict.fromkeys(names))


def as_text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the first rows as a plain table."""
    cells = _cells(columns, rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = [
        all(
            isinstance(getattr(row, name), int | float) or name.endswith(("_usd", "_cents"))
            for row in rows
        )
        for name in columns
    ]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, *_more(rows)])


def as_html(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the first rows as a table of HTML, every text escaped."""
    head, *body = _cells(columns, rows)
    lines = ["".join(f"<td>{html.escape(text)}</td>" for text in line) for line in body]
    heads = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    made = "".join(f"<tr>{line}</tr>" for line in lines)
    more = "".join(f"<p>{html.escape(text)}</p>" for text in _more(rows))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{made}</tbody></table>{more}"


def _cells(columns: Sequence[str], rows: Sequence[Row]) -> list[list[str]]:
    written = [
        [_written(plain_value(getattr(row, name))) for name in columns] for row in rows[:_SHOWN]
    ]
    return [list(columns), *written]


def _written(value: Any) -> str:
    text = "-" if value is None else f"{len(value)}" if isinstance(value, list) else str(value)
    return "".join(sign if sign.isprintable() else " " for sign in text)[:60]


def _more(rows: Sequence[Row]) -> list[str]:
    return [f"... and {len(rows) - _SHOWN:,} more"] if len(rows) > _SHOWN else []


def _start(row: Row, clock: str) -> dt.datetime:
    begins = getattr(row, clock)
    if isinstance(begins, dt.datetime):
        return begins
    return dt.datetime.combine(begins, dt.time(), dt.UTC)
