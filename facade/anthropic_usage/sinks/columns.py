"""Arrow tables, Parquet files, and the data frames made of them. Needs the extra `arrow`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InvalidQuery
from ..fields import columns as arrow
from ..fields.columns import require
from ..reports import Page, Query
from .sink import Staged

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = [
    "ArrowSink",
    "ParquetSink",
    "require",
    "schema",
    "to_pandas",
    "to_polars",
    "write_parquet",
]


class ArrowSink:
    """Builds one Arrow table, a record batch a page."""

    def __init__(self, query: Query) -> None:
        self._pyarrow = require("pyarrow", "arrow")
        self.query = query
        self.schema = schema(query)
        self._batches: list[pyarrow.RecordBatch] = []

    def add(self, page: Page[Any]) -> None:
        """Turn one page into columns."""
        self._batches.append(batch(self.query, page, self.schema))

    def finish(self) -> pyarrow.Table:
        """Return the table."""
        return self._pyarrow.Table.from_batches(self._batches, schema=self.schema)

    def abort(self) -> None:
        """Let go of what was read."""
        self._batches.clear()


class ParquetSink:
    """Writes a Parquet file, a row group a page, that appears when it is whole."""

    def __init__(self, query: Query, path: str | os.PathLike[str]) -> None:
        parquet: Any = require("pyarrow.parquet", "arrow")
        self.query = query
        self.schema = schema(query)
        self._staged = Staged(path)
        try:
            self._writer = parquet.ParquetWriter(self._staged.file, self.schema, compression="zstd")
        except BaseException:
            self._staged.discard()
            raise

    def add(self, page: Page[Any]) -> None:
        """Write one page."""
        self._writer.write_batch(batch(self.query, page, self.schema))

    def finish(self) -> None:
        """Give the file its name."""
        try:
            self._writer.close()
        except BaseException:
            self._staged.discard()
            raise
        self._staged.commit()

    def abort(self) -> None:
        """Remove what was staged."""
        # The writer must be closed before its file, or it complains when it is collected.
        with contextlib.suppress(OSError):
            self._writer.close()
        self._staged.discard()


def schema(query: Query) -> pyarrow.Schema:
    """Return the columns of a query's rows: microseconds in its zone, whole tokens, decimals."""
    return arrow.schema(query.kind.fields, query.columns(), query.timezone or "UTC")


def batch(query: Query, page: Page[Any], columns: pyarrow.Schema) -> pyarrow.RecordBatch:
    """Return a page as columns; raises AnthropicUsageError for what a column cannot hold."""
    return arrow.batch(query.kind.fields, query.spans(page), columns)


def write_parquet(table: pyarrow.Table, path: str | os.PathLike[str]) -> None:
    """Write a table that is at hand as a Parquet file."""
    parquet: Any = require("pyarrow.parquet", "arrow")
    with Staged(path) as staged:
        parquet.write_table(table, staged.file, compression="zstd")


def to_pandas(
    table: pyarrow.Table, money: Literal["decimal", "float"] = "decimal"
) -> pandas.DataFrame:
    """Return the table as a pandas frame; money is `Decimal`, or float if that is asked for.

    Raises InvalidQuery for another word.
    """
    if money not in ("decimal", "float"):
        raise InvalidQuery(f"money={money!r} is neither 'decimal' nor 'float'")
    require("pandas", "pandas")
    pa = require("pyarrow", "arrow")
    if money == "float":
        floats = [
            pa.field(field.name, pa.float64()) if pa.types.is_decimal(field.type) else field
            for field in table.schema
        ]
        table = table.cast(pa.schema(floats))
    frame: pandas.DataFrame = table.to_pandas()
    return frame


def to_polars(table: pyarrow.Table) -> polars.DataFrame:
    """Return the table as a Polars frame; money stays decimal."""
    frame: polars.DataFrame = require("polars", "polars").from_arrow(table)
    return frame
