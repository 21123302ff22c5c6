"""A row's fields as columns of Arrow and of the lake. Arrow needs the extra `arrow`."""

from __future__ import annotations

import datetime as dt
import functools
import importlib
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ..errors import AnthropicUsageError, MissingExtra
from ..moments import microseconds
from ..money import fixed
from .compiled import compiled, source_of_filler
from .declarations import Field, Fields, Nested, Row, Span

if TYPE_CHECKING:
    import pyarrow

__all__ = ["batch", "lake_columns", "require", "schema", "table"]


_STORED: Final = {
    str: "string",
    int: "int64",
    bool: "bool",
    Decimal: "decimal(38,15)",
    dt.date: "date",
    dt.datetime: "timestamp",
}
"""How a lake keeps values of a type."""


def require(module: str, extra: str) -> Any:
    """Import an optional library; raises MissingExtra that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(
            f"this needs {module.split('.')[0]}: pip install 'anthropic-usage[{extra}]'"
        ) from None


def lake_columns(fields: Fields[Any], dimensions: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return a lake table's columns but for its date: each one's type, and what it holds."""
    named = [fields.all[name] for name in fields.facts(dimensions)]
    return {field.name: (_STORED[field.type], field.said) for field in named}


def schema(fields: Fields[Any], columns: Iterable[str], zone: str = "UTC") -> pyarrow.Schema:
    """Return the Arrow schema of columns: microseconds, whole numbers, decimal money."""
    pa = require("pyarrow", "arrow")
    return pa.schema([(name, _arrow(pa, fields.all[name], zone)) for name in columns])


def table(
    fields: Fields[Any], rows: Iterable[Row], columns: Iterable[str], zone: str = "UTC"
) -> pyarrow.Table:
    """Return rows that are at hand as an Arrow table; periods may be among the columns."""
    pa, held = require("pyarrow", "arrow"), list(rows)
    named = [fields.periods.get(name) or fields.all[name] for name in columns]
    try:
        arrays = [
            pa.array([_cell(row, field) for row in held], _arrow(pa, field, zone))
            for field in named
        ]
    except (pa.ArrowInvalid, OverflowError, ValueError) as error:
        raise AnthropicUsageError(f"a value does not fit its Arrow column: {error}") from None
    return pa.table(arrays, names=[field.name for field in named])


def batch(
    fields: Fields[Any], spans: Iterable[Span], columns: pyarrow.Schema
) -> pyarrow.RecordBatch:
    """Return spans as an Arrow batch; raises AnthropicUsageError for what a column cannot hold.

    Columns come off the results, without a row between, unless one of them is made by Python code.
    """
    pa, names = require("pyarrow", "arrow"), columns.names
    derived = [name for name in names if name in fields.derived]
    try:
        if fields.nested or not all(fields.parts(name) for name in derived):
            rows = [row for span in spans for row in fields.rows(span)]
            arrays = {
                field.name: pa.array(
                    [_cell(row, fields.all[field.name]) for row in rows], field.type
                )
                for field in columns
            }
        else:
            fill = _filler(fields, tuple(name for name in names if name not in derived))
            lists: dict[str, list[Any]] = {name: [] for name in names}
            for span in spans:
                fields.run(fill, span, lists)
            arrays = {name: pa.array(lists[name], columns.field(name).type) for name in names}
            plus = require("pyarrow.compute", "arrow").add_checked
            for name in derived:
                arrays[name] = functools.reduce(plus, (arrays[part] for part in fields.parts(name)))
    except (pa.ArrowInvalid, OverflowError, ValueError) as error:
        raise AnthropicUsageError(f"a value does not fit its Arrow column: {error}") from None
    return pa.record_batch([arrays[name] for name in names], schema=columns)


@functools.cache
def _filler(fields: Fields[Any], names: tuple[str, ...]) -> Any:
    return compiled(source_of_filler(fields, names), fields.scope | {"us": microseconds})


def _arrow(pa: Any, field: Field, zone: str) -> Any:
    if isinstance(field, Nested):
        inner = field.fields
        cells = [(name, _arrow(pa, inner.all[name], zone)) for name in inner.facts()]
        return pa.list_(pa.struct(cells))
    if field.type is Decimal:
        return pa.decimal128(38, _scale(field))
    if field.type is dt.datetime:
        return pa.timestamp("us", tz=zone)
    return pa.date32() if field.type is dt.date else pa.type_for_alias(_STORED[field.type])


def _cell(row: Row, field: Field) -> Any:
    value = getattr(row, field.name)
    if isinstance(field, Nested):
        inner = field.fields
        return [{name: _cell(use, inner.all[name]) for name in inner.facts()} for use in value]
    return fixed(value, _scale(field)) if isinstance(value, Decimal) else value


def _scale(field: Field) -> int:
    """Return the digits behind the point that a column holds: of a cent, or of a dollar."""
    return 20 if field.name.endswith("_usd") else 18
