"""Arrow tables, Parquet files, and the data frames made of them. Needs the extra `arrow`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ..errors import AnthropicUsageError, MissingExtra
from ..moments import microseconds
from ..money import fixed
from ..query import Query
from ..rows import Row, UsageRow
from ..wire import Page, UsagePage, rows, usage_results
from .sink import Staged

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = ["ArrowSink", "ParquetSink", "require", "schema", "to_pandas", "to_polars"]

CENTS_SCALE: Final = 18
"""Digits behind the point of a cent that a decimal column holds; dollars take two more."""

_PATHS: Final = {
    **{name: operator.attrgetter(name) for name in UsageRow.DIMENSIONS},
    "uncached_input_tokens": operator.attrgetter("uncached_input_tokens"),
    "cache_creation_5m_input_tokens": operator.attrgetter(
        "cache_creation.ephemeral_5m_input_tokens"
    ),
    "cache_creation_1h_input_tokens": operator.attrgetter(
        "cache_creation.ephemeral_1h_input_tokens"
    ),
    "cache_read_input_tokens": operator.attrgetter("cache_read_input_tokens"),
    "output_tokens": operator.attrgetter("output_tokens"),
    "web_search_requests": operator.attrgetter("server_tool_use.web_search_requests"),
}
_INPUT: Final = (
    "uncached_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_read_input_tokens",
)

_KINDS: Final = {
    "starting_at": "moment",
    "ending_at": "moment",
    "date": "date",
    "is_remote": "bool",
    "amount_cents": "cents",
    "amount_usd": "dollars",
    "estimated_cost_usd": "dollars",
    "models": "models",
}


class ArrowSink:
    """Builds one Arrow table, a record batch a page."""

    def __init__(self, query: Query) -> None:
        self._pyarrow = require("pyarrow", "arrow")
        self.query = query
        self.schema = schema(query)
        self._batches: list[pyarrow.RecordBatch] = []

    def add(self, page: Page) -> None:
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

    def add(self, page: Page) -> None:
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
    return require("pyarrow", "arrow").schema(
        [(name, _type(name, query)) for name in query.columns()]
    )


def batch(query: Query, page: Page, columns: pyarrow.Schema) -> pyarrow.RecordBatch:
    """Return a page as columns; raises AnthropicUsageError for what a column cannot hold."""
    pa = require("pyarrow", "arrow")
    try:
        if isinstance(page, UsagePage):
            arrays = _usage_arrays(query, page, columns)
        else:
            table: list[Row] = list(rows(query, page))
            arrays = [
                pa.array([_cell(getattr(row, field.name), field.name) for row in table], field.type)
                for field in columns
            ]
    except (pa.ArrowInvalid, OverflowError, ValueError) as error:
        raise AnthropicUsageError(f"a value does not fit its Arrow column: {error}") from None
    return pa.record_batch(arrays, schema=columns)


def _usage_arrays(query: Query, page: UsagePage, columns: pyarrow.Schema) -> list[pyarrow.Array]:
    """Read columns off the decoded results, without a row object between: twice as fast."""
    pa = require("pyarrow", "arrow")
    values: dict[str, list[Any]] = {name: [] for name in columns.names}
    for bucket in page.data:
        results = usage_results(bucket, query)
        for name, moment in (("starting_at", bucket.starting_at), ("ending_at", bucket.ending_at)):
            values[name].extend([microseconds(moment)] * len(results))
        for name in values.keys() & _PATHS.keys():
            values[name].extend(map(_PATHS[name], results))
    add = require("pyarrow.compute", "arrow").add_checked
    arrays = {
        field.name: pa.array(values[field.name], type=field.type)
        for field in columns
        if field.name not in UsageRow.DERIVED
    }
    arrays["input_tokens"] = functools.reduce(add, (arrays[name] for name in _INPUT))
    arrays["total_tokens"] = add(arrays["input_tokens"], arrays["output_tokens"])
    return [arrays[field.name] for field in columns]


def to_pandas(table: pyarrow.Table) -> pandas.DataFrame:
    """Return the table as a pandas frame; money stays `Decimal`."""
    require("pandas", "pandas")
    frame: pandas.DataFrame = table.to_pandas()
    return frame


def to_polars(table: pyarrow.Table) -> polars.DataFrame:
    """Return the table as a Polars frame; money stays decimal."""
    frame: polars.DataFrame = require("polars", "polars").from_arrow(table)
    return frame


def require(module: str, extra: str) -> Any:
    """Import an optional library; raises MissingExtra that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(
            f"this needs {module.split('.')[0]}: pip install 'anthropic-usage[{extra}]'"
        ) from None


def _type(name: str, query: Query) -> pyarrow.DataType:
    pa = require("pyarrow", "arrow")
    kind = _KINDS.get(name) or ("text" if name in query.row.DIMENSIONS else "count")
    types = {
        "moment": lambda: pa.timestamp("us", tz=query.timezone or "UTC"),
        "date": pa.date32,
        "bool": pa.bool_,
        "text": pa.string,
        "count": pa.int64,
        "cents": lambda: pa.decimal128(38, CENTS_SCALE),
        "dollars": lambda: pa.decimal128(38, CENTS_SCALE + 2),
        "models": lambda: pa.list_(
            pa.struct(
                [
                    ("model", pa.string()),
                    ("input_tokens", pa.int64()),
                    ("output_tokens", pa.int64()),
                    ("cache_read_tokens", pa.int64()),
                    ("cache_creation_tokens", pa.int64()),
                    ("estimated_cost_usd", pa.decimal128(38, CENTS_SCALE + 2)),
                ]
            )
        ),
    }
    return types[kind]()


def _cell(value: Any, name: str) -> Any:
    if isinstance(value, Decimal):
        return fixed(value, CENTS_SCALE + (2 if _KINDS[name] == "dollars" else 0))
    if isinstance(value, tuple):
        counts = ("model", "input_tokens", "output_tokens", "cache_read_tokens")
        return [
            {
                **{name: getattr(use, name) for name in (*counts, "cache_creation_tokens")},
                "estimated_cost_usd": fixed(use.estimated_cost_usd, CENTS_SCALE + 2),
            }
            for use in value
        ]
    return value
