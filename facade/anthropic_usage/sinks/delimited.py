"""CSV and NDJSON."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from ..fields import Row
from ..outside import cell, disarm
from ..reports import Page, Query
from .plain import dumps, plain_row, plain_value
from .sink import Staged

__all__ = ["CsvSink", "NdjsonSink", "csv_writer", "disarm", "write_csv"]

Target = str | os.PathLike[str] | IO[str]


class _TextSink:
    """Writes to a file that appears when it is whole, or to an open text stream as it comes."""

    def __init__(self, target: Target) -> None:
        self._staged: Staged | None = None
        if isinstance(target, str | os.PathLike):
            self._staged = Staged(target)
            self.out: IO[str] = io.TextIOWrapper(self._staged.file, encoding="utf-8", newline="")
        else:
            self.out = target

    def finish(self) -> None:
        """Give the file its name."""
        try:
            self.out.flush()
        except BaseException:
            self.abort()
            raise
        if self._staged is not None:
            self._staged.commit()

    def abort(self) -> None:
        """Remove what was staged; what a stream was sent cannot be taken back."""
        if self._staged is not None:
            with contextlib.suppress(OSError, ValueError):
                self.out.detach()  # type: ignore[attr-defined]
            self._staged.discard()


class CsvSink(_TextSink):
    """One line a row, a header first; moments in RFC 3339, money in plain digits."""

    def __init__(
        self,
        query: Query,
        target: Target,
        excel_safe: bool = True,
        columns: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(target)
        self.query = query
        self.rows = 0
        self._columns = columns or query.columns()
        self._texts = _texts(query.row)
        self._excel_safe = excel_safe
        self._writer = csv_writer(self.out)
        self._writer.writerow(self._columns)

    def add(self, page: Page[Any]) -> None:
        """Write one page."""
        self.write(self.query.rows(page))

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows."""
        for row in rows:
            self.rows += 1
            self._writer.writerow(_cells(row, self._columns, self._texts, self._excel_safe))


class NdjsonSink(_TextSink):
    """One JSON object a line."""

    def __init__(
        self, query: Query, target: Target, columns: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(target)
        self.query = query
        self.rows = 0
        self._columns = columns or query.columns()

    def add(self, page: Page[Any]) -> None:
        """Write one page."""
        self.write(self.query.rows(page))

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows."""
        for row in rows:
            self.rows += 1
            self.out.write(f"{dumps(plain_row(row, self._columns))}\n")


def write_csv(
    table: list[Row],
    columns: tuple[str, ...],
    out: IO[str],
    excel_safe: bool = True,
    more: Sequence[Mapping[str, int]] = (),
) -> None:
    """Write rows that are already at hand, such as groups; `more` is what else is said of each."""
    writer = csv_writer(out)
    writer.writerow((*columns, *(more[0] if more else ())))
    for row, said in zip(table, more or [{}] * len(table), strict=True):
        cells = _cells(row, columns, _texts(type(row)), excel_safe)
        writer.writerow((*cells, *said.values()))


def _texts(row: type[Row]) -> frozenset[str]:
    return frozenset((*row.DIMENSIONS, *row.BREAKDOWN))


def _cells(
    row: Row, columns: tuple[str, ...], texts: frozenset[str], excel_safe: bool
) -> list[Any]:
    return [
        (disarm if excel_safe else cell)(value) if name in texts else value
        for name, value in ((name, _cell(getattr(row, name))) for name in columns)
    ]


def csv_writer(out: IO[str]) -> Any:
    """Return a `csv.writer` that ends lines with a line feed, and quotes every kind of line end."""
    return csv.writer(_Lines(out), lineterminator="\r\n")


class _Lines:
    """A text stream that lines are written to; what stands between them is a line feed."""

    def __init__(self, out: IO[str]) -> None:
        self._write = out.write

    def write(self, line: str) -> None:
        self._write(f"{line[:-2]}\n")


def _cell(value: Any) -> Any:
    plain = plain_value(value)
    if isinstance(plain, list | dict):
        return cell(dumps(plain))
    return str(plain).lower() if isinstance(plain, bool) else plain
