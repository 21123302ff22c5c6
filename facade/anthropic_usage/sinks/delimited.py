"""CSV and NDJSON."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any

from ..query import Query
from ..rows import Row
from ..wire import Page, rows
from .plain import plain_row, plain_value
from .sink import Staged

__all__ = ["CsvSink", "NdjsonSink", "disarm", "write_csv"]

Target = str | os.PathLike[str] | IO[str]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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

    def __init__(self, query: Query, target: Target, excel_safe: bool = True) -> None:
        super().__init__(target)
        self.query = query
        self.rows = 0
        self._columns = query.columns()
        self._excel_safe = excel_safe
        self._writer = csv.writer(self.out, lineterminator="\n")
        self._writer.writerow(self._columns)

    def add(self, page: Page) -> None:
        """Write one page."""
        for row in rows(self.query, page):
            self.rows += 1
            self._writer.writerow(_cells(row, self._columns, self._excel_safe))


class NdjsonSink(_TextSink):
    """One JSON object a line."""

    def __init__(self, query: Query, target: Target) -> None:
        super().__init__(target)
        self.query = query
        self.rows = 0
        self._columns = query.columns()

    def add(self, page: Page) -> None:
        """Write one page."""
        for row in rows(self.query, page):
            self.rows += 1
            self.out.write(json.dumps(plain_row(row, self._columns), ensure_ascii=False) + "\n")


def write_csv(
    table: list[Row],
    columns: tuple[str, ...],
    out: IO[str],
    excel_safe: bool = True,
    more: Sequence[Mapping[str, int]] = (),
) -> None:
    """Write rows that are already at hand, such as groups; `more` is what else is said of each."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*columns, *(more[0] if more else ())))
    for row, said in zip(table, more or [{}] * len(table), strict=True):
        writer.writerow((*_cells(row, columns, excel_safe), *said.values()))


def _cells(row: Row, columns: tuple[str, ...], excel_safe: bool) -> list[Any]:
    texts = (*row.DIMENSIONS, *row.BREAKDOWN)
    return [
        disarm(cell) if excel_safe and name in texts else cell
        for name, cell in ((name, _cell(getattr(row, name))) for name in columns)
    ]


def disarm(cell: Any) -> Any:
    """Keep a spreadsheet from taking a name or a description for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _cell(value: Any) -> Any:
    plain = plain_value(value)
    if isinstance(plain, list | dict):
        return json.dumps(plain, ensure_ascii=False)
    return str(plain).lower() if isinstance(plain, bool) else plain
